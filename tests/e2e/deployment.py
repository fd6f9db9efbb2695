"""The templates as stacks of the emulator; `keys()` and `protected()` are those that test files share."""

import functools
import json
import unittest

import account
import emulator as emulators
from emulator import ADMINISTRATOR, REGION, ROOT, templates  # noqa: F401 (for the tests)
from account import BINARY, Failed, document  # noqa: F401
from local import blocks

SHARED = ("gaia-api-keys", "protected-api")


class Stack(account.Stack):
    """A stack that exists. Unless it is shared, it goes with its test file."""

    def __init__(self, name, text, **parameters):
        self.emulator = emulators.shared()
        super().__init__(self.emulator, name, text)
        if name not in SHARED:
            unittest.addModuleCleanup(self.delete)
        self.deploy(**parameters)

    def delete(self):
        assert super().delete() == "DELETE_COMPLETE"

    def items(self, table=None):
        """The items of its table, or of another, as boto3's client returns them."""
        name = table or self.outputs["TableName"]
        pages = self.emulator.client("dynamodb").get_paginator("scan").paginate(TableName=name, ConsistentRead=True)
        return list(pages.search("Items[]"))

    def log(self, output, **fields):
        """The log entries of a log group (the name of its output) that have these fields."""
        logs = self.emulator.client("logs")
        events = logs.filter_log_events(logGroupName=self.outputs[output])["events"]
        entries = [json.loads(event["message"]) for event in events if event["message"].startswith("{")]
        return [entry for entry in entries if all(entry.get(name) == value for name, value in fields.items())]

    def local_url(self):
        """The management API's URL for a client that can't be made to connect to the emulator: by path in place of host."""
        return f"{self.emulator.url}/_aws/execute-api/{self.outputs['ApiArn'].split(':')[-1]}/$default"


def edited(text, *edits):
    """A template with the second text in place of the first of each edit, which must be there once."""
    for old, new in edits:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def documented_policies(keys):
    """The IAM policies of docs/deploy.md, for this API: to manage keys, to look only, and to check keys only."""
    example = "arn:aws:execute-api:eu-central-1:111122223333:abc123"
    found = [json.loads(block.replace(example, keys.outputs["ApiArn"])) for block in blocks("docs/deploy.md", "json")]
    manage, look, verify = (policy for policy in found if "execute-api" in json.dumps(policy))
    return manage, look, verify


def user(emulator, name, *policies):
    """Makes an IAM user with these policies (documents); its access key and secret."""
    iam = emulator.client("iam")
    iam.create_user(UserName=name)
    for number, policy in enumerate(policies):
        iam.put_user_policy(UserName=name, PolicyName=f"policy{number}", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


@functools.cache
def keys():
    """template.yaml with its default parameters, in the emulator that all test files share."""
    return Stack(SHARED[0], templates.MAIN)


@functools.cache
def protected():
    """examples/protected-api/template.yaml beside it."""
    keys()
    return Stack(SHARED[1], templates.EXAMPLE)
