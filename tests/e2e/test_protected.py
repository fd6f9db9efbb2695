"""The protected APIs of the example: what opens them, every reason of a denial, what is passed on, failures."""

import datetime
import json
import unittest

import deployment
import emulator as emulators
from deployment import Stack, templates
from protected import APIS, HTTP, REST, REST_IDENTITY_SOURCES, Case, denied_to_authorizer, example, in_seconds


class Decisions(Case):
    """Whatever the format of the authorizer's events."""

    def test_what_keys_open(self):
        cases = [
            ({"permissions": "read"}, {"GET": 200, "POST": 403}),
            ({"permissions": "write"}, {"GET": 200, "POST": 200}),
            ({"permissions": "read", "expires_at": in_seconds(600)}, {"GET": 200}),
            ({"routes": ["GET /items/1"]}, {"GET /1": 200, "GET /12": 403, "GET": 403, "POST /1": 403}),
            ({"routes": ["POST /items", "GET /items/*"]}, {"GET /1": 200, "GET /a..b": 403, "GET": 403, "POST": 200, "POST /1": 403}),
            ({"routes": ["GET /*/x"]}, {"GET /1": 403}),
        ]
        for api in APIS:
            for config, requests in cases:
                key = self.create(**config)
                for request, expected in requests.items():
                    method, _, path = request.partition(" ")
                    with self.subTest(f"{api} {config} {request}"):
                        self.assertEqual(self.status(api, key, method, path), expected)
                denied = list(requests.values()).count(403)
                self.denials(denied, key_id=key[:31], reason="route" if "routes" in config else "permission")

    def test_what_is_passed_on(self):
        for config in ({"permissions": "write", "team": "é", "n": 1.0}, {"routes": ["GET /items"]}):
            key = self.create(**config)
            for api in APIS:
                with self.subTest(f"{api} {config}"):
                    passed_on = self.ask(api, key).expect(200)
                    self.assertEqual(json.loads(passed_on.pop("config")), config)
                    self.assertEqual(passed_on, {"key_id": key[:31], "service": "gaia", "permissions": config.get("permissions")})

    def test_addresses(self):
        """A TOKEN event has no address: there the policy's condition denies, and nothing is logged."""
        for api, logs in zip(APIS, self.logs_addresses):
            key = self.create(permissions="read", allowed_ips=["192.0.2.0/24", "2001:db8::/32"])
            addresses = {"192.0.2.7": 200, "192.0.3.7": 403, "2001:db8::7": 200, "2001:db9::7": 403, None: 403}
            with self.subTest(api):
                self.assertEqual({address: self.status(api, key, address=address) for address in addresses}, addresses)
                self.denials(3 * logs, key_id=key[:31])


class Protected(Decisions):
    """As the example has it: payload 2.0, and REQUEST."""

    logs_addresses = [True, True]

    @classmethod
    def setUpClass(cls):
        cls.keys = deployment.keys()
        cls.protected = Stack("protected", example(), cls.keys.emulator)

    def test_reasons(self):
        """Each is a 403, and one log entry with the reason, the key's ID, the caller's address and the API; no log has a secret."""
        yesterday = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)
        read = self.create(permissions="read")
        forged = read[:32] + ("0" if read[32] != "0" else "1") + read[33:]
        deleted = self.create(permissions="write")
        self.delete(deleted)
        cases = [
            ("invalid", forged),
            ("invalid", read + "x"),
            ("not_found", deleted),
            ("disabled", self.create(permissions="write", enabled=False)),
            ("expired", self.create(permissions="write", expires_at=yesterday.isoformat())),
            ("source_ip", self.create(permissions="write", allowed_ips=["192.0.2.0/24"])),
            ("permission", read),
            ("permission", self.create(team="a")),
            ("route", self.create(routes=["GET /items"])),
        ]
        for number, (reason, key) in enumerate(cases):
            fields = {"reason": reason, "key_id": None if reason == "invalid" else key[:31], "source_ip": f"198.51.100.{number}"}
            for count, api in enumerate(APIS, start=1):
                self.assertEqual(self.status(api, read), 200)
                with self.subTest(f"{api} {reason} {number}"):
                    self.assertEqual(self.status(api, key, "POST", address=fields["source_ip"]), 403)
                    host = self.protected.outputs[api].split("//")[1].split(".")[0]
                    self.assertIn(f":{host}/", self.denials(count, **fields)[-1]["api"])
        logs = self.keys.emulator.client("logs")
        texts = [
            event["message"]
            for group in logs.describe_log_groups()["logGroups"]
            for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"])
            for event in page["events"]
        ]
        self.assertGreater(len(texts), 2 * len(cases))
        for _, key in cases:
            self.assertEqual([text for text in texts if key[32:58] in text], [])

    def test_without_a_key(self):
        """An HTTP API asks no authorizer. A REST API does, unless it has a cache."""
        before = len(self.keys.log("AuthorizerLogGroup", message="denied"))
        self.assertEqual([self.status(HTTP, None), self.status(REST, None)], [401, 403])
        self.denials(before + 1)
        self.assertEqual([self.status(api, "none") for api in APIS], [403, 403])

    def test_a_failure_never_opens(self):
        key, broken = self.create(permissions="write"), self.create(permissions="write")
        self.keys.emulator.client("dynamodb").update_item(
            TableName=self.keys.outputs["TableName"],
            Key={"service": {"S": "gaia"}, "id": {"S": broken[5:31]}},
            UpdateExpression="SET config = :broken",
            ExpressionAttributeValues={":broken": {"S": '{"permissions": "write", "enabled": 1}'}},
        )
        for api in APIS:
            with self.subTest(api):
                self.assertEqual(self.status(api, broken), 500)
                with denied_to_authorizer(self.keys, "dynamodb:GetItem"):
                    self.assertEqual(self.status(api, key), 500)
                self.assertEqual(self.status(api, key), 200)
        failed = self.keys.log("AuthorizerLogGroup", message="request failed")
        self.assertTrue(any("AccessDenied" in entry["cause"] for entry in failed), failed)

    def test_usage(self):
        """A check that opens is use; one that doesn't isn't."""
        for api in APIS:
            with self.subTest(api):
                used, denied = self.create(permissions="read"), self.create(permissions="read")
                self.assertEqual([self.status(api, used), self.status(api, denied, "POST")], [200, 403])
                times = [self.keys.send("GET", f"/{key[:31]}").expect(200)["last_used_at"] for key in (used, denied)]
                self.assertRegex(times[0], r"^\d{4}-\d\d-\d\dT\d\d:00:00")
                self.assertIsNone(times[1])


class OtherFormats(Decisions):
    """Payload 1.0 and TOKEN."""

    logs_addresses = [True, False]

    @classmethod
    def setUpClass(cls):
        text = example(
            ('AuthorizerPayloadFormatVersion: "2.0"', 'AuthorizerPayloadFormatVersion: "1.0"'),
            ("FunctionPayloadType: REQUEST # TOKEN events hold no source address", "FunctionPayloadType: TOKEN"),
            (REST_IDENTITY_SOURCES, "Header: Authorization\n"),
        )
        cls.keys = Stack("formats", templates.MAIN, emulators.shared())
        cls.protected = Stack("formats-api", text, emulators.shared(), KeysStack="formats")

    def test_without_a_key(self):
        self.assertEqual([self.status(api, key) for api in APIS for key in (None, "none")], [401, 403, 401, 403])


del Decisions  # unittest would run it by itself

if __name__ == "__main__":
    unittest.main()
