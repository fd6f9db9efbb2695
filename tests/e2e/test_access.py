"""Who may call the management API: signatures, and the IAM policies of docs/deploy.md."""

import datetime
import json
import unittest
import unittest.mock

import botocore.auth

import deployment

ROUTES = {
    "GET /": None,
    "POST /": {"config": {}},
    "GET /{key}": None,
    "PUT /{key}": {"config": {"permissions": "write"}},
    "POST /{key}/rotate": {"grace_seconds": 600},
    "POST /verify": {"api_key": "{key}"},
    "DELETE /delete/{key}": None,  # the last, as the others need the key
}


class Access(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.keys = deployment.keys()
        cls.policies = deployment.documented_policies(cls.keys)
        names = ("manages", "looks", "verifies")
        cls.callers = {
            name: deployment.user(cls.keys.emulator, name, policy) for name, policy in zip(names, cls.policies)
        }

    def requests(self):
        """A request to each route, with and without a slash at the end, and a key for it."""
        for slash in ("", "/"):
            key = self.keys.send("POST", "/", {"config": {"permissions": "read"}}).expect(200)["api_key"]
            for route, body in ROUTES.items():
                method, path = route.split()
                path = path.replace("{key}", key).rstrip("/") + slash
                yield method, path, {"api_key": key} if method == "POST" and "verify" in path else body

    def stored(self):
        items = [item for item in self.keys.items() if item["service"] == {"S": "gaia"}]
        return sorted(items, key=lambda item: item["id"]["S"])

    def assertDenied(self, **options):
        """No route takes such a request, and it changes nothing."""
        for method, path, body in self.requests():
            before = self.stored()
            response = self.keys.send(method, path, body, **options)
            with self.subTest(f"{method} {path[:8]}"):
                self.assertEqual(response.status, 403, response.text)
                self.assertNotIn('"detail"', response.text)  # the gateway's response, not the function's
                self.assertEqual(self.stored(), before)

    def test_unsigned(self):
        self.assertDenied(caller=None)

    def test_wrongly_signed(self):
        self.assertDenied(caller=(self.callers["manages"][0], "another secret"))

    def test_unknown_access_key(self):
        self.assertDenied(caller=("AKIAEXAMPLEEXAMPLE00", self.callers["manages"][1]))

    def test_no_policy(self):
        self.assertDenied(caller=deployment.user(self.keys.emulator, "nobody"))

    def test_a_policy_for_another_api(self):
        arn = self.keys.outputs["ApiArn"]
        other = json.loads(json.dumps(self.policies[0]).replace(arn, arn[:-8] + "00000000"))
        self.assertDenied(caller=deployment.user(self.keys.emulator, "stranger", other))

    def test_a_deactivated_access_key(self):
        iam = self.keys.emulator.client("iam")
        caller = deployment.user(self.keys.emulator, "former", self.policies[0])
        self.keys.send("GET", "/", caller=caller).expect(200)
        iam.update_access_key(UserName="former", AccessKeyId=caller[0], Status="Inactive")
        self.assertDenied(caller=caller)

    def changed(self, change, method="POST", path="/", body=None):
        caller = self.callers["manages"]
        before = self.stored()
        response = self.keys.send(method, path, body or {"config": {}}, caller=caller, change=change)
        self.assertEqual(response.status, 403, response.text)
        self.assertEqual(self.stored(), before)

    def test_tampered(self):
        def body(request):
            request.data = request.data.replace(b"read", b"all!")

        def path(request):
            request.url = request.url.replace("api_keys/", "api_keys/verify/")

        def query(request):
            request.url += "?details=true"

        def date(request):
            request.headers.replace_header("X-Amz-Date", "20300101T000000Z")

        self.changed(body, body={"config": {"permissions": "read"}})
        self.changed(path)
        self.changed(query, method="GET")
        self.changed(date)

    def test_signed_too_long_ago(self):
        caller = self.callers["manages"]
        old = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=20)
        with unittest.mock.patch.object(botocore.auth, "get_current_datetime", lambda *_, **__: old):
            self.assertEqual(self.keys.send("GET", "/", caller=caller).status, 403)

    def assertAllows(self, name, allowed):
        """Requests to the routes for which `allowed` holds reach the function and are done; all others are denied."""
        for method, path, body in self.requests():
            with self.subTest(f"{name}: {method} {path[:8]}"):
                before = self.stored()
                response = self.keys.send(method, path, body, caller=self.callers[name])
                if allowed(method, path):
                    self.assertEqual(response.status, 200, response.text)
                else:
                    self.assertEqual(response.status, 403, response.text)
                    self.assertEqual(self.stored(), before)

    def test_who_manages_keys(self):
        self.assertAllows("manages", lambda method, path: True)

    def test_who_only_looks(self):
        self.assertAllows("looks", lambda method, path: method == "GET")

    def test_who_only_checks_keys(self):
        self.assertAllows("verifies", lambda method, path: path.strip("/") == "verify")

    def test_who_looks_can_do_nothing_else_in_the_account(self):
        """The policies name one API, so no other service opens with them."""
        dynamodb = self.keys.emulator.client("dynamodb", *self.callers["manages"])
        with self.assertRaises(dynamodb.exceptions.ClientError) as caught:
            dynamodb.scan(TableName=self.keys.outputs["TableName"])
        self.assertEqual(caught.exception.response["Error"]["Code"], "AccessDeniedException")


if __name__ == "__main__":
    unittest.main()
