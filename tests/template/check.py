"""What the checks of the templates share.

A check is a function of a template's text, and comes with edits of that text which it must notice.
"""

import json
import pathlib

CHECKS = []

ACTIONS = json.loads((pathlib.Path(__file__).parent / "actions.json").read_text())
TABLE_ARN = "arn:aws:dynamodb:us-east-1:111122223333:table/"
KEY_ARN = "arn:aws:kms:us-east-1:111122223333:key/"
KEY_IDS = [f"mrk-{n:032}" for n in (1, 2, 3)]
# Everything that a deployment can adopt or set, and what only then exists.
ADOPTED = {
    "ServiceName": "billing",
    "ExistingTableName": "old-table",
    "KmsKeyId": KEY_IDS[0],
    "SecondaryKmsKeyId": KEY_IDS[1],
    "TableKmsKeyArn": KEY_ARN + KEY_IDS[2],
    "KeyDisclosure": "id",
    "KeyHeader": "x-api-key",
    "ReadRoutes": "POST /search/*",
    "SimpleResponses": "true",
    "TrackUsage": "false",
}
# Of the access logs' variables, those that hold neither path, query, header nor text made of them.
HARMLESS_VARIABLES = {
    "authorizer.claims.sub",
    "authorizer.key_id",
    "error.responseType",
    "httpMethod",
    "identity.sourceIp",
    "identity.userArn",
    "integrationLatency",
    "requestId",
    "requestTime",
    "resourcePath",  # REST: the route's pattern
    "responseLatency",
    "responseLength",
    "routeKey",
    "status",
}


def check(text, *broken):
    """Registers a check of a template's text; each of `broken` is an edit, old and new, that makes it fail."""

    def register(function):
        CHECKS.append((function, text, broken))
        return function

    return register


def same(found, expected, what=""):
    assert found == expected, f"{what}\n  found:    {found}\n  expected: {expected}"


def as_list(value):
    return value if isinstance(value, list) else [value]


def statements(role):
    return [s for policy in role.get("Policies", []) for s in policy["PolicyDocument"]["Statement"]]
