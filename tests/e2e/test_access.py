"""Who may call the management API: signatures, and the IAM policies of docs/deploy.md."""

import json
import re
import unittest

import deployment

SAMPLES = sorted((deployment.ROOT / "events/http-api").glob("*.json"))


def request(sample, key):
    """The method, path below the API's and body of a sample event, for another key."""
    event = json.loads(re.sub(r"gaia_\w{26}(_\w{26})?", key, sample.read_text()))
    body = json.loads(event["body"]) if event.get("body") else None
    return event["requestContext"]["http"]["method"], event["rawPath"].partition("api_keys")[2].rstrip("/"), body


class Access(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.keys = deployment.keys()
        cls.policies = deployment.documented_policies(cls.keys)
        cls.manager = deployment.user(cls.keys.emulator, "manages", cls.policies[0])

    def stored(self):
        return [item for item in self.keys.items() if item["service"] == {"S": "gaia"}]

    def denied(self, response, before):
        """By the gateway, and nothing changed."""
        self.assertEqual((response.status, '"detail"' in response.text), (403, False), response.text)
        self.assertCountEqual(self.stored(), before)

    def assertAllows(self, caller, allowed):
        """Of the requests to all endpoints, with and without a slash at the end, those for which `allowed` holds are done."""
        for sample in SAMPLES:
            for slash in ("", "/"):
                key = self.keys.create(permissions="read")
                (method, path, body), before = request(sample, key), self.stored()
                response = self.keys.send(method, path + slash, body, caller=caller)
                with self.subTest(f"{method} {path}{slash}"):
                    if allowed(method, path):
                        response.expect(200)
                    else:
                        self.denied(response, before)

    def test_no_right(self):
        other_api = json.loads(json.dumps(self.policies[0]).replace(self.keys.outputs["ApiArn"], "arn:aws:execute-api:*:*:other"))
        stranger = deployment.user(self.keys.emulator, "stranger", other_api)
        for caller in (None, (self.manager[0], "another secret"), stranger):
            self.assertAllows(caller, lambda method, path: False)

    def test_who_manages_keys(self):
        self.assertAllows(self.manager, lambda method, path: True)
        # The policies name one API, so no other service opens with them.
        dynamodb = self.keys.emulator.client("dynamodb", *self.manager)
        with self.assertRaisesRegex(dynamodb.exceptions.ClientError, "AccessDenied"):
            dynamodb.scan(TableName=self.keys.outputs["TableName"])

    def test_who_only_looks_and_who_only_checks_keys(self):
        users = [deployment.user(self.keys.emulator, name, policy) for name, policy in zip(("l", "v"), self.policies[1:])]
        self.assertAllows(users[0], lambda method, path: method == "GET")
        self.assertAllows(users[1], lambda method, path: path == "/verify")
