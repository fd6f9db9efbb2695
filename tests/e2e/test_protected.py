"""The protected APIs of the example as it stands: what opens them, every reason of a denial, what is passed on, failures."""

import datetime
import json
import unittest

import deployment
from deployment import Stack
from protected import APIS, HTTP, REST, Case, denied_to_authorizer, example


class Protected(Case):
    @classmethod
    def setUpClass(cls):
        cls.keys = deployment.keys()
        cls.protected = Stack("protected", example(), cls.keys.emulator)

    def test_what_permissions_open(self):
        keys = {permission: self.create(permissions=permission) for permission in ("read", "write")}
        for api in APIS:
            for permission, method, expected in (
                ("read", "GET", 200), ("read", "POST", 403), ("write", "GET", 200), ("write", "POST", 200)
            ):
                with self.subTest(f"{api} {permission} {method}"):
                    self.assertEqual(self.status(api, keys[permission], method), expected)

    def test_what_routes_open(self):
        one, items, other = (
            self.create(routes=routes) for routes in (["GET /items/1"], ["POST /items", "GET /items/*"], ["GET /*/x"])
        )
        for api in APIS:
            for key, method, path, expected in (
                (one, "GET", "/1", 200),
                (one, "GET", "/12", 403),
                (one, "GET", "", 403),
                (one, "POST", "/1", 403),
                (items, "GET", "/1", 200),
                (items, "GET", "/a..b", 403),
                (items, "GET", "", 403),
                (items, "POST", "", 200),
                (items, "POST", "/1", 403),
                (other, "GET", "/1", 403),
            ):
                with self.subTest(f"{api} {method} {path}"):
                    self.assertEqual(self.status(api, key, method, path), expected)

    def test_what_is_passed_on(self):
        for config in ({"permissions": "write", "team": "é", "n": 1.0}, {"routes": ["GET /items"]}):
            key = self.create(**config)
            for api in APIS:
                with self.subTest(f"{api} {config}"):
                    passed_on = self.ask(api, key).expect(200)
                    self.assertEqual(json.loads(passed_on.pop("config")), config)
                    self.assertEqual(
                        passed_on, {"key_id": key[:31], "service": "gaia", "permissions": config.get("permissions")}
                    )

    def test_reasons(self):
        """Each is a 403, and one log entry with the reason, the key's ID, the caller's address and the API; no log has a secret."""
        yesterday = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)
        read = self.create(permissions="read")
        forged = read[:32] + ("0" if read[32] != "0" else "1") + read[33:]
        deleted = self.create(permissions="write")
        self.delete(deleted)
        cases = [
            ("invalid", forged, {"key_id": None}),
            ("invalid", read + "x", {"key_id": None}),
            ("not_found", deleted, {}),
            ("disabled", self.create(permissions="write", enabled=False), {}),
            ("expired", self.create(permissions="write", expires_at=yesterday.isoformat()), {}),
            ("source_ip", self.create(permissions="write", allowed_ips=["192.0.2.0/24"]), {}),
            ("permission", read, {}),
            ("permission", self.create(team="a"), {}),
            ("route", self.create(routes=["GET /items"]), {}),
        ]
        for number, (reason, key, fields) in enumerate(cases):
            fields = {"reason": reason, "key_id": key[:31], "source_ip": f"198.51.100.{number}"} | fields
            for api in APIS:
                self.assertEqual(self.status(api, read), 200)
                with self.subTest(f"{api} {reason} {number}"):
                    self.assertEqual(self.status(api, key, "POST", address=fields["source_ip"]), 403)
                    host = self.protected.outputs[api].split("//")[1].split(".")[0]
                    entries = self.denials(1 + APIS.index(api), **fields)
                    self.assertIn(f":{host}/", entries[-1]["api"])
        logs = self.keys.emulator.client("logs")
        texts = [
            event["message"]
            for group in logs.describe_log_groups()["logGroups"]
            for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"])
            for event in page["events"]
        ]
        self.assertGreater(len(texts), 2 * len(cases))
        for _, key, _ in cases:
            self.assertEqual([text for text in texts if key[32:58] in text], [])

    def test_addresses(self):
        key = self.create(permissions="read", allowed_ips=["192.0.2.0/24", "2001:db8::/32"])
        for api in APIS:
            for address, expected in (
                ("192.0.2.7", 200), ("192.0.3.7", 403), ("2001:db8::7", 200), ("2001:db9::7", 403), (None, 403)
            ):
                with self.subTest(f"{api} {address}"):
                    self.assertEqual(self.status(api, key, address=address), expected)

    def test_without_a_key(self):
        """An HTTP API asks no authorizer. A REST API does, unless it has a cache."""
        before = len(self.keys.log("AuthorizerLogGroup", message="denied"))
        self.assertEqual(self.status(HTTP, None), 401)
        self.assertEqual(self.status(REST, None), 403)
        self.denials(before + 1)
        for api in APIS:
            with self.subTest(api):
                self.assertEqual(self.status(api, "none"), 403)

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


if __name__ == "__main__":
    unittest.main()
