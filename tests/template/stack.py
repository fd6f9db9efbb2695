"""A template as CloudFormation would see it: after the SAM transform, with its parameters and conditions resolved.

Works offline. References to resources become `<LogicalId>` and `<LogicalId.Attribute>`.
"""

import logging
import os
import pathlib
import re
import types

os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")  # the transform asks boto3 for a Region, and no more
logging.getLogger("samtranslator").setLevel(logging.ERROR)  # it warns of metrics that are AWS's own business

from samtranslator.internal.managed_policies import get_bundled_managed_policy_map
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
MAIN = (ROOT / "template.yaml").read_text()
MONITORING = (ROOT / "stacks/monitoring.yaml").read_text()
EXAMPLE = (ROOT / "examples/protected-api/template.yaml").read_text()

PSEUDO = {
    "AWS::AccountId": "111122223333",
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::StackName": "keys",
    "AWS::URLSuffix": "amazonaws.com",
}
LOG_GROUP_ARN = "arn:aws:logs:us-east-1:111122223333:log-group:"
NO_VALUE = object()
# The names that SAM may turn into ARNs, from the list that comes with it instead of from IAM.
MANAGED_POLICIES = types.SimpleNamespace(load=lambda: get_bundled_managed_policy_map("aws"))


def monitoring(text=MONITORING, keys=None, **parameters):
    """stacks/monitoring.yaml beside the keys' stack, whose list it reads."""
    return Stack(text, Monitored=(keys or Stack(MAIN))["Monitored"]["Value"], **parameters)


class Stack:
    def __init__(self, text, **parameters):
        source = yaml_parse(text.replace("CodeUri: ./\n", "CodeUri: s3://bucket/code\n"))  # as `sam package` does
        self.template = transform(source, dict(parameters), MANAGED_POLICIES)
        self.parameters = {name: p.get("Default") for name, p in self.template.get("Parameters", {}).items()} | parameters
        self.resources = {
            name: self.resolve(resource)
            for name, resource in self.template["Resources"].items()
            if self.holds(resource.get("Condition"))
        }
        self.outputs = self.resolve(self.template.get("Outputs", {}))

    def __getitem__(self, name):
        return self.resources[name]["Properties"]

    def of_type(self, kind):
        return {name: r["Properties"] for name, r in self.resources.items() if r["Type"] == kind}

    def holds(self, condition):
        return condition is None or self.resolve(self.template["Conditions"][condition])

    def rejected(self):
        """What CloudFormation says of parameters that the template's Rules reject."""
        return [
            assertion["AssertDescription"]
            for rule in self.template.get("Rules", {}).values()
            if self.resolve(rule.get("RuleCondition", True))
            for assertion in rule["Assertions"]
            if not self.resolve(assertion["Assert"])
        ]

    def reference(self, name, attribute=None):
        if name == "AWS::NoValue":
            return NO_VALUE
        if name in PSEUDO:
            return PSEUDO[name]
        if name in self.parameters:
            value, kind = self.parameters[name], self.template["Parameters"][name]["Type"]
            # Of an SSM parameter, `value` is what it holds.
            return value.split(",") if "List" in kind else value
        resource = self.template["Resources"][name]
        assert self.holds(resource.get("Condition")), f"{name} is referred to, but does not exist"
        if (resource["Type"], attribute) == ("AWS::Logs::LogGroup", "Arn"):
            # CloudFormation's value ends in `:*`, which IAM policies want and EventBridge targets must not have.
            return f"{LOG_GROUP_ARN}<{name}>:*"
        return f"<{name}.{attribute}>" if attribute else f"<{name}>"

    def substitute(self, text, variables):
        known = {name: str(value) for name, value in self.resolve(variables).items()}
        value = lambda found: known[found[1]] if found[1] in known else str(self.reference(*found[1].split(".", 1)))
        return re.sub(r"\$\{([A-Za-z0-9_:.]+)\}", value, text)

    def resolve(self, node):
        if isinstance(node, list):
            return [value for value in map(self.resolve, node) if value is not NO_VALUE]
        if not isinstance(node, dict):
            return node
        match list(node.items()):
            case [("Ref", name)]:
                return self.reference(name)
            case [("Fn::GetAtt", value)]:
                return self.reference(*(value if isinstance(value, list) else value.split(".", 1)))
            case [("Fn::If", [condition, yes, no])]:
                return self.resolve(yes if self.holds(condition) else no)
            case [("Fn::Equals", [one, other])]:
                return str(self.resolve(one)) == str(self.resolve(other))
            case [("Fn::Not", [condition])]:
                return not self.resolve(condition)
            case [("Fn::Join", [separator, values])]:
                return separator.join(self.resolve(values))
            case [("Fn::Select", [index, values])]:
                values = self.resolve(values)  # not a list: the parts of another stack's ARN, which isn't known here
                return values[int(index)] if isinstance(values, list) else f"<part {index} of {values}>"
            case [("Fn::ImportValue", name)]:
                return f"<import {self.resolve(name)}>"
            case [("Fn::FindInMap", place)]:
                name, first, second = self.resolve(place)
                return self.template["Mappings"][name][first][second]
            case [("Fn::Sub", value)]:
                return self.substitute(*(value if isinstance(value, list) else (value, {})))
        resolved = {key: self.resolve(value) for key, value in node.items()}
        return {key: value for key, value in resolved.items() if value is not NO_VALUE}


def routes(body):
    """The routes of an OpenAPI body: `METHOD /path` or `$default` to the operation."""
    return {
        path if path == "$default" else f"{method.removeprefix('x-amazon-apigateway-').upper()} {path}": operation
        for path, methods in body["paths"].items()
        for method, operation in methods.items()
    }


def as_list(value):
    return value if isinstance(value, list) else [value]
