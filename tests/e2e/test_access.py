"""Who may call the management API: signatures, and the IAM policies of docs/deploy.md."""

import datetime
import json
import re
import unittest
import unittest.mock

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
        cls.policies = deployment.documented_policies(cls.keys)
        names = ("manages", "looks", "verifies")
        cls.callers = {name: deployment.user(cls.keys.emulator, name, policy) for name, policy in zip(names, cls.policies)}

    def stored(self):
        items = [item for item in self.keys.items() if item["service"] == {"S": "gaia"}]
        return sorted(items, key=lambda item: item["id"]["S"])

    def assertAllows(self, allowed, **options):
        """Of the requests to all endpoints, with and without a slash at the end, those for which `allowed` holds are done. All
        others are denied by the gateway, and change nothing."""
        for sample in SAMPLES:
            for slash in ("", "/"):
                key = self.keys.send("POST", "/", {"config": {"permissions": "read"}}).expect(200)["api_key"]
                method, path, body = request(sample, key)
                before = self.stored()
                response = self.keys.send(method, path + slash, body, **options)
                with self.subTest(f"{method} {path}{slash}"):
                    if allowed(method, path):
                        self.assertEqual(response.status, 200, response.text)
                    else:
                        self.assertEqual(response.status, 403, response.text)
                        self.assertNotIn('"detail"', response.text)  # the gateway's response, not the function's
                        self.assertEqual(self.stored(), before)

    def assertDenied(self, **options):
        self.assertAllows(lambda method, path: False, **options)

    def test_unsigned(self):
        self.assertDenied(caller=None)

    def test_no_right(self):
        access_key, secret = self.callers["manages"]
        arn = self.keys.outputs["ApiArn"]
        other_api = json.loads(json.dumps(self.policies[0]).replace(arn, arn[:-8] + "00000000"))
        self.assertDenied(caller=(access_key, "another secret"))
        self.assertDenied(caller=("AKIAEXAMPLEEXAMPLE00", secret))
        self.assertDenied(caller=deployment.user(self.keys.emulator, "nobody"))
        self.assertDenied(caller=deployment.user(self.keys.emulator, "stranger", other_api))

    def test_a_deactivated_access_key(self):
        iam = self.keys.emulator.client("iam")
        caller = deployment.user(self.keys.emulator, "former", self.policies[0])
        self.keys.send("GET", "/", caller=caller).expect(200)
        iam.update_access_key(UserName="former", AccessKeyId=caller[0], Status="Inactive")
        self.assertDenied(caller=caller)

    def test_tampered(self):
        def body(request):
            request.data = request.data.replace(b"read", b"all!")

        def path(request):
            request.url = request.url.replace("api_keys/", "api_keys/verify/")

        def query(request):
            request.url += "?details=true"

        def date(request):
            request.headers.replace_header("X-Amz-Date", "20300101T000000Z")

        before = self.stored()
        for change, method in ((body, "POST"), (path, "POST"), (query, "GET"), (date, "POST")):
            config = {"config": {"permissions": "read"}}
            response = self.keys.send(method, "/", config, caller=self.callers["manages"], change=change)
            self.assertEqual(response.status, 403, response.text)
        self.assertEqual(self.stored(), before)

    def test_signed_too_long_ago(self):
        old = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=20)
        with unittest.mock.patch.object(botocore.auth, "get_current_datetime", lambda *_, **__: old):
            self.assertEqual(self.keys.send("GET", "/", caller=self.callers["manages"]).status, 403)

    def test_who_manages_keys(self):
        self.assertAllows(lambda method, path: True, caller=self.callers["manages"])
        # The policies name one API, so no other service opens with them.
        dynamodb = self.keys.emulator.client("dynamodb", *self.callers["manages"])
        with self.assertRaisesRegex(dynamodb.exceptions.ClientError, "AccessDenied"):
            dynamodb.scan(TableName=self.keys.outputs["TableName"])

    def test_who_only_looks(self):
        self.assertAllows(lambda method, path: method == "GET", caller=self.callers["looks"])

    def test_who_only_checks_keys(self):
        self.assertAllows(lambda method, path: path.strip("/") == "verify", caller=self.callers["verifies"])


if __name__ == "__main__":
    unittest.main()
