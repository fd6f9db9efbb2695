"""Requests to the protected APIs, and variants of examples/protected-api/template.yaml."""

import contextlib
import datetime
import json
import time
import unittest
import urllib.parse

import deployment
from deployment import templates

HTTP, REST = APIS = ("HttpApiUrl", "RestApiUrl")
IDENTITY_SOURCES = "Headers: [Authorization] # KeyHeader of that stack, and no other: the cache is keyed by it"
REST_IDENTITY_SOURCES = "Headers: [Authorization]\n"


def example(*changes):
    """The example with more routes, and a backend that also shows the config, changed by pairs of old and new text."""
    routes = "".join(
        f"        {name}: {{ Type: {kind}, Properties: {{ {ref}: !Ref {api}, Method: {method}, Path: '/items/{{id}}' }} }}\n"
        for name, kind, ref, api, method in (
            ("HttpOne", "HttpApi", "ApiId", "HttpApi", "GET"),
            ("HttpWriteOne", "HttpApi", "ApiId", "HttpApi", "POST"),
            ("RestOne", "Api", "RestApiId", "RestApi", "GET"),
            ("RestWriteOne", "Api", "RestApiId", "RestApi", "POST"),
        )
    )
    text = templates.EXAMPLE
    for old, new in (
        ('"permissions")}', '"permissions", "config")}'),
        ("      Events:\n", f"      Events:\n{routes}"),
        *changes,
    ):
        assert text.count(old) == 1, f"{text.count(old)} times in the example: {old}"
        text = text.replace(old, new)
    return text


def in_seconds(seconds):
    """A time, rounded down to the second."""
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@contextlib.contextmanager
def denied_to_authorizer(keys, action):
    """The authorizer's role may not do this for a while."""
    iam, role = keys.emulator.client("iam"), keys.resource("AuthorizerFunctionRole")
    statement = {"Effect": "Deny", "Action": action, "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": statement})
    iam.put_role_policy(RoleName=role, PolicyName="denied", PolicyDocument=document)
    try:
        yield
    finally:
        iam.delete_role_policy(RoleName=role, PolicyName="denied")


class Case(unittest.TestCase):
    header = "authorization"

    def create(self, **config):
        return self.keys.send("POST", "/", {"config": config}).expect(200)["api_key"]

    def update(self, key, **config):
        self.keys.send("PUT", f"/{key[:31]}", {"config": config}).expect(200)

    def delete(self, key):
        self.keys.send("DELETE", f"/delete/{key[:31]}").expect(200)

    def ask(self, api, key, method="GET", path="", address=None, stack=None):
        """A request to `/items` and what `path` adds; `address` is the caller's."""
        stack = stack or self.protected
        url = stack.outputs[api]
        headers = {} if key is None else {self.header: f"Search {key}" if self.header == "authorization" else key}
        if address:
            headers["x-forwarded-for"] = address
        path = urllib.parse.urlsplit(url).path + path
        return deployment.send(stack.emulator, url, method, path, caller=None, headers=headers)

    def status(self, *arguments, **options):
        return self.ask(*arguments, **options).status

    def denials(self, count, **fields):
        """Waits until the authorizer's log has so many denials with these fields."""
        for _ in range(40):
            found = self.keys.log("AuthorizerLogGroup", message="denied", **fields)
            if len(found) >= count:
                break
            time.sleep(0.05)
        self.assertEqual(len(found), count, fields)
        return found

    def in_turn(self, requests, **config):
        """With a cache, each key is asked for the first request, then for the others, twice; a new key in reverse order."""
        for api in APIS:
            for order in (requests, requests[::-1]):
                key = self.create(**config)
                for method, path, expected in order * 2:
                    with self.subTest(f"{api} {config}: {method} {path}, first {order[0][:2]}"):
                        self.assertEqual(self.status(api, key, method, path), expected)
                self.delete(key)  # the cache goes on with what it has
                self.assertEqual(self.status(api, key, *order[0][:2]), order[0][2])
