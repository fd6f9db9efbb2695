"""The authorizer with other settings than the default, other formats of its events, and a table that doesn't respond."""

import socket
import unittest

import emulator as emulators
from deployment import Stack, templates
from protected import APIS, HTTP, IDENTITY_SOURCES, REST, REST_IDENTITY_SOURCES, Case, denied_to_authorizer, example, in_seconds

HEADER = "x-api-key"
FORMAT_2 = 'AuthorizerPayloadFormatVersion: "2.0"'
REQUEST = "FunctionPayloadType: REQUEST # TOKEN events hold no source address"


class Formats(Case):
    """Payload 1.0 and TOKEN, in place of 2.0 and REQUEST, with the default settings."""

    @classmethod
    def setUpClass(cls):
        emulator = emulators.shared()
        text = example(
            (FORMAT_2, 'AuthorizerPayloadFormatVersion: "1.0"'),
            (REQUEST, "FunctionPayloadType: TOKEN"),
            (REST_IDENTITY_SOURCES, "Header: Authorization\n"),
        )
        cls.keys = Stack("formats", templates.MAIN, emulator)
        cls.protected = Stack("formats-api", text, emulator, KeysStack="formats")

    def test_decisions(self):
        read, routes = self.create(permissions="read"), self.create(routes=["GET /items/*", "POST /items"])
        expiring = self.create(permissions="read", expires_at=in_seconds(600))
        for api in APIS:
            for key, method, path, expected in (
                (None, "GET", "", 401),
                ("none", "GET", "", 403),
                (read, "GET", "", 200),
                (read, "POST", "", 403),
                (expiring, "GET", "", 200),
                (routes, "GET", "", 403),
                (routes, "GET", "/1", 200),
                (routes, "GET", "/a..b", 403),
                (routes, "POST", "", 200),
                (routes, "POST", "/1", 403),
            ):
                with self.subTest(f"{api} {method} {path} {(key or '')[:31]}"):
                    self.assertEqual(self.status(api, key, method, path), expected)
            for key, reason, count in ((read, "permission", 1), (routes, "route", 3)):
                self.denials(count * (1 + APIS.index(api)), key_id=key[:31], reason=reason)

    def test_what_is_passed_on(self):
        key = self.create(permissions="read")
        for api in APIS:
            passed_on = self.ask(api, key).expect(200)
            self.assertEqual([passed_on[name] for name in ("key_id", "service", "permissions")], [key[:31], "gaia", "read"])

    def test_addresses(self):
        """A TOKEN event has no address: there the policy's condition denies, and nothing is logged."""
        for api, logged in ((HTTP, 1), (REST, 0)):
            with self.subTest(api):
                key = self.create(permissions="read", allowed_ips=["192.0.2.0/24"])
                self.assertEqual(self.status(api, key, address="192.0.2.7"), 200)
                self.assertEqual(self.status(api, key, address="198.51.100.7"), 403)
                self.denials(logged, key_id=key[:31])


class Settings(Case):
    header = HEADER

    @classmethod
    def setUpClass(cls):
        emulator = emulators.shared()
        cls.keys = Stack(
            "settings-of-authorizer",
            templates.MAIN,
            emulator,
            KeyHeader=HEADER,
            ReadRoutes="POST /items, PUT /items/*",
            ServiceName="other.1",
        )
        text = example((IDENTITY_SOURCES, "Headers: [X-Api-Key]"), (REST_IDENTITY_SOURCES, "Headers: [X-Api-Key]\n"))
        cls.protected = Stack("settings-api", text, emulator, KeysStack="settings-of-authorizer")

    def test_the_header(self):
        """It holds the bare key, and `Authorization` isn't read."""
        key = self.create(permissions="read")
        for api, expected in ((HTTP, 401), (REST, 403)):
            with self.subTest(api):
                self.assertEqual(self.ask(api, key).expect(200)["service"], "other.1")
                self.assertEqual(self.status(api, f"Search {key}"), 403)
                self.header = "authorization"
                try:
                    self.assertEqual(self.status(api, key), expected)
                finally:
                    self.header = HEADER

    def test_read_routes(self):
        read, nothing = self.create(permissions="read"), self.create(team="a")
        for api in APIS:
            for key, method, path, expected in (
                (read, "POST", "", 200), (read, "POST", "/1", 403), (read, "GET", "/1", 200), (nothing, "POST", "", 403)
            ):
                with self.subTest(f"{api} {method} {path}"):
                    self.assertEqual(self.status(api, key, method, path), expected)

    def test_use_that_cannot_be_recorded(self):
        """The key opens all the same. With TrackUsage=false nothing is recorded, and the role may write nothing."""
        key, client = self.create(permissions="read"), self.keys.emulator.client
        with denied_to_authorizer(self.keys, "dynamodb:PutItem"):
            self.assertEqual(self.status(HTTP, key), 200)
        (entry,) = self.keys.log("AuthorizerLogGroup", message="usage not recorded", key_id=key[:31])
        self.assertIn("AccessDenied", entry["error"])

        self.keys.deploy(TrackUsage="false")
        before = self.uses()
        self.assertEqual([self.status(api, key) for api in APIS], [200, 200])
        self.assertEqual(self.uses(), before)
        self.assertEqual(len(self.keys.log("AuthorizerLogGroup", message="usage not recorded")), 1)
        role = client("iam").get_role(RoleName=self.keys.resource("AuthorizerFunctionRole"))["Role"]["Arn"]
        session = client("sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
        dynamodb = client("dynamodb", session["AccessKeyId"], session["SecretAccessKey"], session["SessionToken"])
        item = {"service": {"S": "other.1#use"}, "id": {"S": key[5:31]}}
        with self.assertRaisesRegex(dynamodb.exceptions.ClientError, "AccessDenied"):
            dynamodb.put_item(TableName=self.keys.outputs["TableName"], Item=item)
        self.keys.deploy(TrackUsage="true")
        dynamodb.put_item(TableName=self.keys.outputs["TableName"], Item=item)

    def uses(self):
        return [item for item in self.keys.items() if item["service"]["S"].endswith("#use")]


class TableAway(Case):
    """DynamoDB that doesn't respond, or can't be reached, behind KMS that does."""

    def test_never_opens(self):
        emulator = emulators.shared()
        self.keys = Stack("away", templates.MAIN, emulator)
        self.protected = Stack("away-api", example(), emulator, KeysStack="away")
        key = self.create(permissions="write")
        self.assertEqual([self.status(api, key) for api in APIS], [200, 200])
        line = "        AWS_ENDPOINT_URL_DYNAMODB: !Ref AWS::NoValue\n"
        self.assertEqual(templates.MAIN.count(line), 1)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            self.keys.deploy(templates.MAIN.replace(line, line.replace("!Ref AWS::NoValue", url)))
            self.assertEqual(self.status(HTTP, key), 500)
        self.assertEqual([self.status(api, key) for api in APIS], [500, 500])
        self.assertEqual([self.status(api, key + "x") for api in APIS], [403, 403])  # forged: asks no table
        failed = self.keys.log("AuthorizerLogGroup", message="request failed")
        self.assertEqual(len(failed), 3, failed)
        self.assertTrue(all(entry["level"] == "ERROR" for entry in failed), failed)


if __name__ == "__main__":
    unittest.main()
