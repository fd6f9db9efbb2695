"""What tests/e2e can't show of the templates, as the emulator lacks it.

A check takes a template's text; edits.yaml has edits of that text which it must notice. Needs aws-sam-translator (part of
aws-sam-cli), no network and no AWS account.
"""

import functools
import graphlib
import json
import pathlib
import re
import unittest

import jmespath

from jwt_template import jwt_template
from stack import EXAMPLE, MAIN, MONITORING, ROOT, Stack, as_list, monitoring, routes, yaml_parse

HERE = pathlib.Path(__file__).parent
ACTIONS = json.loads((HERE / "actions.json").read_text())
EDITS = yaml_parse((HERE / "edits.yaml").read_text())
EXPECTED = yaml_parse((HERE / "expected.yaml").read_text())
FUNCTIONS = {"api": "ApiFunction", "authorizer": "AuthorizerFunction"}
# Of the access logs' variables, those that hold neither path, query, header nor text made of them.
HARMLESS_VARIABLES = {
    *("authorizer.claims.sub", "authorizer.key_id", "error.responseType", "httpMethod", "identity.sourceIp", "identity.userArn"),
    *("integrationLatency", "requestId", "requestTime", "responseLatency", "responseLength", "routeKey", "status"),
    "resourcePath",  # REST: the route's pattern
}


def same(found, expected, what=""):
    assert found == expected, f"{what}\n  found:    {found}\n  expected: {expected}"


def resolved(text, template, values, parameters={}, keys={}):
    """Resources come to what expected.yaml says."""
    if template == "MAIN":
        stack = Stack(text, **parameters)
    else:
        stack = monitoring(text, Stack(MAIN, **keys), **parameters)
    found = {"Outputs": stack.outputs, "Rejected": stack.rejected()}
    found["Template"] = stack.template
    for name, resource in sorted(stack.resources.items()):
        found[name] = resource | resource.get("Properties", {})
        found[name] |= {key: json.loads(found[name][key]) for key in ("DashboardBody", "RuleBody") if key in found[name]}
        found.setdefault(resource["Type"], []).append(found[name])
    for path, value in values.items():
        same(jmespath.search(path, found), value, path)


CHECKS = [
    (name, functools.partial(resolved, **expected), {"MAIN": MAIN, "MONITORING": MONITORING}[expected["template"]])
    for name, expected in EXPECTED.items()
]


def check(*texts):
    """Registers a check of templates' texts."""

    def register(function):
        CHECKS.extend((function.__name__, function, text) for text in texts)
        return function

    return register


@check(MAIN)
def routes_with_limits_exist(text):
    stack = Stack(text)
    same(set(stack["ApiApiGatewayDefaultStage"]["RouteSettings"]) - set(routes(stack["Api"]["Body"])), set())


@check(MAIN, jwt_template(MAIN), EXAMPLE)
def access_logs(text):
    """They are JSON in one line, without a variable that may hold a key. Those of protected APIs name the key's ID."""
    stack, ids = Stack(text), []
    for stage in (stack.of_type("AWS::ApiGatewayV2::Stage") | stack.of_type("AWS::ApiGateway::Stage")).values():
        format = (stage.get("AccessLogSettings") or stage["AccessLogSetting"])["Format"]
        variables = set(re.findall(r"\$context\.([A-Za-z0-9_.]+)", format))
        same(variables - HARMLESS_VARIABLES, set())
        assert "\n" not in format, format
        ids.append(json.loads(format).get("key_id"))
    assert ids in ([None], ["$context.authorizer.key_id"] * 2), ids


@check(MAIN)
def roles(text):
    """The actions are those of actions.json, which the code is held to. tests/e2e tries what the roles allow."""
    stack = Stack(text)
    for function, name in FUNCTIONS.items():
        policies = stack[f"{name}Role"]["Policies"]
        statements = [s for policy in policies for s in policy["PolicyDocument"]["Statement"]]
        actions = [action for statement in statements for action in as_list(statement["Action"])]
        assert not any("*" in action for action in actions), actions
        same({a for a in actions if a.startswith(("dynamodb:", "kms:"))}, set(ACTIONS[function]), name)
    administer, _ = stack["KmsKey"]["KeyPolicy"]["Statement"]
    for action in administer["Action"]:
        assert not re.search(r"\*|Mac$|Grant$|Sign|Encrypt|Decrypt|Derive", action.replace("RevokeGrant", "")), action


@check(MAIN)
def settings_publish_versions(text):
    """A changed setting must become a new version: the alias would otherwise keep the old one.

    The version's logical id follows the code and the template's text; its description must change with every parameter
    that changes the function's configuration, as CloudFormation replaces a version whose description changes.
    """
    stack = Stack(text)
    declared = stack.template["Parameters"]
    # The longest settings, while the root key is replaced.
    long = {
        "ExistingTableName": "x" * 49,  # what `gaia-keys restore` makes is no longer
        "KmsKeyId": "1" * 36,
        "SecondaryKmsKeyId": "2" * 36,
        "KeyHeader": "x" * 20,
        "DefaultUsagePlanKey": "x" * 40,
        "ReadRoutes": "x" * declared["ReadRoutes"]["MaxLength"],
    }
    others = {  # than the defaults
        name: max({*parameter.get("AllowedValues", ["9"])} - {parameter["Default"]})
        for name, parameter in declared.items()
    } | long
    defaults = stack.parameters
    for function in FUNCTIONS.values():
        resource = stack.template["Resources"][function]["Properties"]
        configuration = {name: value for name, value in resource.items() if name not in ("Tags", "Role")}
        version, = (r for name, r in stack.template["Resources"].items() if name.startswith(f"{function}Version"))
        # A version that a rollback left behind would keep Lambda from publishing the same release again.
        same(version["DeletionPolicy"], "Delete", function)

        def with_parameters(parameters):
            stack.parameters = parameters
            return stack.resolve([configuration, version["Properties"]["Description"]])

        for start, changes in ((defaults, others), (defaults | others, defaults)):
            before = with_parameters(start)
            for name in declared:
                after = with_parameters(start | {name: changes[name]})
                changed = after[0] != before[0] and name != "ServiceName"  # which never changes
                same(after[1] != before[1], changed, name)
        _, description = with_parameters(defaults | long)
        assert len(description) <= 256, description
    edited = text.replace("KEY_DISCLOSURE: !Ref KeyDisclosure", "KEY_DISCLOSURE: id")
    edited = edited.replace("Timeout: 8", "Timeout: 9")
    versions = [set(Stack(each).of_type("AWS::Lambda::Version")) for each in (text, edited)]
    same(versions[0] & versions[1], set(), "versions that did not change")


@check(MAIN)
def read_routes_that_no_function_reads(text):
    """CloudFormation rejects them. Otherwise no function would start after the deployment."""
    pattern = Stack(text).template["Parameters"]["ReadRoutes"]["AllowedPattern"]
    for value in ("", "POST /es/api/v1/search/*", "PUT /a,DELETE /b_c-d.e~f, PATCH /%20:@+="):
        assert re.search(pattern, value), value
    for value in ("GET /a", "post /a", "POST a", "POST /a b", "POST /a,", "POST /a;PUT /b", "POST /é", "POST /a/../b"):
        assert not re.search(pattern, value), value


@check(MAIN, EXAMPLE)
def no_cycles(text):
    """CloudFormation rejects resources that depend on each other in a circle; cfn-lint doesn't find all of them."""
    texts = {name: json.dumps(resource) for name, resource in Stack(text).template["Resources"].items()}
    graph = {
        # Of Ref, Fn::GetAtt and DependsOn; of Fn::Sub.
        name: [other for other in texts if other != name and re.search(rf'"{other}"[^:]|\${{{other}[.}}]', resource)]
        for name, resource in texts.items()
    }
    graphlib.TopologicalSorter(graph).prepare()


@check(MONITORING)
def errors_of_the_table(text):
    dimensions = "Metrics[].MetricStat.Metric.Dimensions[] | [?Name == 'Operation'].Value"
    operations = jmespath.search(dimensions, monitoring(text)["TableErrorsAlarm"])
    called = {a.removeprefix("dynamodb:") for a in ACTIONS["api"] + ACTIONS["authorizer"] if a.startswith("dynamodb:")}
    same(sorted(operations), sorted(called | {"TransactWriteItems"}))


@check(MAIN + MONITORING)
def what_is_searched_for_is_logged(text):
    """Metric filters, saved queries and widgets: with another text, an alarm never fires. The documents' commands too."""
    source = "".join(path.read_text() for path in (ROOT / "src").rglob("*.rs"))
    text += "".join(path.read_text() for path in (ROOT / "docs").glob("*.md"))
    found = set(re.findall(r"""(?:\$\.|filter )message = ["']([^"']+)["']""", text))
    same({message for message in found if not re.search(rf'"{re.escape(message)}"\s*\)', source)}, set(), "no log entry has it")


class Template(unittest.TestCase):
    def test_holds(self):
        for name, check, text in CHECKS:
            with self.subTest(name):
                check(text)

    def test_every_check_can_fail(self):
        self.assertEqual(set(EDITS), {name for name, _, _ in CHECKS})
        first = {name: (check, text) for name, check, text in reversed(CHECKS)}
        for name, edits in EDITS.items():
            check, text = first[name]
            for old, new in edits:
                with self.subTest(name, broken=f"{old.strip()!r} -> {new.strip()!r}"):
                    self.assertIn(old, text)
                    with self.assertRaises((AssertionError, KeyError, ValueError)):
                        check(text.replace(old, new))

    def test_terraform(self):
        """What the example sets and reads exists. `just terraform` checks the rest."""
        text = "".join(path.read_text() for path in (ROOT / "examples/terraform").glob("*.tf"))
        self.assertLessEqual(set(re.findall(r"\.keys\.outputs\[\"(\w+)\"\]", text)), set(Stack(MAIN).outputs))
        stacks = re.findall(r'resource "aws_cloudformation_stack" .*?^  parameters = \{\n(.*?)^  \}$', text, flags=re.MULTILINE | re.DOTALL)
        for parameters, stack in zip(stacks, (Stack(MAIN), monitoring()), strict=True):
            self.assertLessEqual(set(re.findall(r"^ +(\w+) += ", parameters, flags=re.MULTILINE)), set(stack.parameters))
