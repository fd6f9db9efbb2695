"""Who may call the management API: signatures, and the IAM policies of docs/deploy.md."""

import datetime
import json
import re
import unittest
from unittest import mock

import botocore.auth

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
        cls.manages, cls.looks, cls.verifies = deployment.documented_policies(cls.keys)
        cls.manager = cls.user("manages", cls.manages)

    @classmethod
    def user(cls, name, *policies):
        return deployment.user(cls.keys.emulator, name, *policies)

    def stored(self):
        return sorted((json.dumps(item) for item in self.keys.items() if item["service"] == {"S": "gaia"}))

    def assertAllows(self, caller, allowed=lambda method, path: False):
        """Of the requests to all endpoints, with and without a slash at the end, those for which `allowed` holds are done. All
        others are denied by the gateway, and change nothing."""
        for sample in SAMPLES:
            for slash in ("", "/"):
                key = self.keys.send("POST", "/", {"config": {"permissions": "read"}}).expect(200)["api_key"]
                method, path, body = request(sample, key)
                before = self.stored()
                response = self.keys.send(method, path + slash, body, caller=caller)
                with self.subTest(f"{method} {path}{slash}"):
                    self.assertEqual(response.status, 200 if allowed(method, path) else 403, response.text)
                    if response.status == 403:
                        self.assertNotIn('"detail"', response.text)  # the gateway's response, not the function's
                        self.assertEqual(self.stored(), before)

    def test_unsigned(self):
        self.assertAllows(None)

    def test_no_right(self):
        arn = self.keys.outputs["ApiArn"]
        other_api = json.loads(json.dumps(self.manages).replace(arn, arn[:-8] + "00000000"))
        for caller in ((self.manager[0], "another secret"), self.user("nobody"), self.user("stranger", other_api)):
            self.assertAllows(caller)

    def test_tampered(self):
        """Or signed too long ago."""

        def body(request):
            request.data = request.data.replace(b"read", b"all!")

        def path(request):
            request.url = request.url.replace("api_keys/", "api_keys/verify/")

        def query(request):
            request.url += "?details=true"

        before, config = self.stored(), {"config": {"permissions": "read"}}
        for tamper in (body, path, query):
            response = self.keys.send("POST", "/", config, caller=self.manager, tamper=tamper)
            self.assertEqual(response.status, 403, response.text)
        old = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=20)
        with mock.patch.object(botocore.auth, "get_current_datetime", lambda *_, **__: old):
            self.assertEqual(self.keys.send("POST", "/", config, caller=self.manager).status, 403)
        self.assertEqual(self.stored(), before)

    def test_who_manages_keys(self):
        self.assertAllows(self.manager, lambda method, path: True)
        # The policies name one API, so no other service opens with them.
        dynamodb = self.keys.emulator.client("dynamodb", self.manager)
        with self.assertRaisesRegex(dynamodb.exceptions.ClientError, "AccessDenied"):
            dynamodb.scan(TableName=self.keys.outputs["TableName"])

    def test_who_only_looks(self):
        self.assertAllows(self.user("looks", self.looks), lambda method, path: method == "GET")

    def test_who_only_checks_keys(self):
        self.assertAllows(self.user("verifies", self.verifies), lambda method, path: path == "/verify")


if __name__ == "__main__":
    unittest.main()
