"""The authorizer with other settings than the default, and a table that doesn't respond."""

import socket
import unittest

import emulator as emulators
from deployment import Stack, templates
from protected import APIS, HTTP, IDENTITY_SOURCES, REST, REST_IDENTITY_SOURCES, Case, denied_to_authorizer, example

HEADER = "x-api-key"


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
        key = self.create(permissions="read")
        with denied_to_authorizer(self.keys, "dynamodb:PutItem"):
            self.assertEqual(self.status(HTTP, key), 200)
        (entry,) = self.keys.log("AuthorizerLogGroup", message="usage not recorded", key_id=key[:31])
        self.assertIn("AccessDenied", entry["error"])

        self.keys.deploy(TrackUsage="false")
        before = self.uses()
        self.assertEqual([self.status(api, key) for api in APIS], [200, 200])
        self.assertEqual(self.uses(), before)
        self.assertEqual(len(self.keys.log("AuthorizerLogGroup", message="usage not recorded")), 1)
        dynamodb = self.keys.as_role("AuthorizerFunctionRole", "dynamodb")
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
