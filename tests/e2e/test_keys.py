"""The life of a key through the HTTP API, as an IAM user; what the table and the log hold of it."""

import datetime
import json
import unittest

import deployment


class LifeOfAKey(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.keys = deployment.keys()
        cls.caller = deployment.user(cls.keys.emulator, "operator", deployment.documented_policies(cls.keys)[0])
        sts = cls.keys.emulator.client("sts", *cls.caller)
        cls.arn = sts.get_caller_identity()["Arn"]

    def send(self, *request, status=200, **options):
        return self.keys.send(*request, caller=self.caller, **options).expect(status)

    def create(self, config):
        return self.send("POST", "/", {"config": config})["api_key"]

    def item(self, key, partition="gaia"):
        """The plain attributes of a key's item in one of the table's partitions, or none."""
        for item in self.keys.items():
            if (item["service"], item["id"]) == ({"S": partition}, {"S": key[5:31]}):
                return {name: next(iter(value.values())) for name, value in item.items()}
        return None

    def verify(self, key, **asked):
        return self.send("POST", "/verify", {"api_key": key} | asked)

    def audit(self, key):
        return self.keys.log("ApiLogGroup", message="audit", key_id=key[:31])

    def test_create(self):
        key = self.create({"permissions": "read", "team": "süd"})
        self.assertRegex(key, r"^gaia_[0-9A-HJKMNP-TV-Z]{26}_[0-9A-HJKMNP-TV-Z]{26}$")
        item = self.item(key)
        self.assertEqual(json.loads(item["config"]), {"permissions": "read", "team": "süd"})
        self.assertEqual(item["created_by"], self.arn)
        self.assertNotIn(key[32:], json.dumps(self.keys.items()))
        (entry,) = self.audit(key)
        self.assertEqual(
            {name: entry.get(name) for name in ("action", "actor", "source_ip", "permissions", "enabled")},
            {"action": "create", "actor": self.arn, "source_ip": "127.0.0.1", "permissions": "read", "enabled": True},
        )

    def test_get_and_list(self):
        config = {"permissions": "write", "name": "list me"}
        key = self.create(config)
        found = self.send("GET", f"/{key[:31]}")
        self.assertEqual((found["api_key"], found["config"], found["created_by"]), (key, config, self.arn))
        listed = {entry["api_key"]: entry["config"] for entry in self.send("GET", "/")}
        self.assertEqual(listed[key], config)
        detailed = {entry["api_key"]: entry for entry in self.send("GET", "/?details=true&limit=1000")}
        self.assertEqual(detailed[key]["created_by"], self.arn)

    def test_verify_records_use(self):
        key = self.create({"permissions": "read"})
        self.assertIsNone(self.item(key, "gaia#use"))
        before = datetime.datetime.now(datetime.timezone.utc)
        self.assertEqual(self.verify(key), {"valid": True, "key_id": key[:31], "config": {"permissions": "read"}})
        used = self.item(key, "gaia#use")["last_used_at"]
        after = datetime.datetime.now(datetime.timezone.utc)
        self.assertIn(used, {moment.strftime("%Y-%m-%dT%H:00:00Z") for moment in (before, after)})
        self.assertEqual(self.send("GET", f"/{key}")["last_used_at"], used)

    def test_update(self):
        key = self.create({"permissions": "read"})
        before = self.item(key)
        self.assertEqual(self.send("PUT", f"/{key}", {"config": {"enabled": False}}), {"api_key": key, "result": "updated"})
        after = self.item(key)
        self.assertEqual((json.loads(after["config"]), after["updated_by"]), ({"enabled": False}, self.arn))
        self.assertNotEqual(after["change_id"], before["change_id"])
        self.assertEqual(self.verify(key), {"valid": False, "reason": "disabled"})
        entry = self.audit(key)[-1]
        self.assertEqual((entry["action"], entry["permissions_before"], entry["enabled"]), ("update", "read", False))

    def test_a_repeated_rotation_gets_the_same_key(self):
        old = self.create({"permissions": "read"})
        request = ("POST", f"/{old[:31]}/rotate", {"grace_seconds": 600})
        response = self.send(*request, headers={"idempotency-key": "once"})
        self.assertEqual(self.send(*request, headers={"idempotency-key": "once"}), response)
        new = response["api_key"]
        self.assertEqual((response["result"], response["rotated_from"]), ("rotated", old[:31]))
        self.assertEqual((self.item(old)["rotated_to"], self.item(new)["rotated_from"]), (new[5:31], old[5:31]))
        self.assertEqual(json.loads(self.item(old)["config"])["expires_at"], response["rotated_from_expires_at"])
        self.assertIn("ttl", self.item(old))
        self.assertTrue(self.verify(old)["valid"] and self.verify(new)["valid"])
        actions = [(entry["action"], entry.get("rotated_to")) for entry in self.audit(old)]
        self.assertEqual(actions, [("create", None), ("rotate", new[:31]), ("retry", new[:31])])

    def test_a_repeated_create_gets_the_same_key(self):
        """The record of an Idempotency-Key is in a partition of its own, which the role must admit too."""
        options = {"headers": {"idempotency-key": "once"}}
        first = self.send("POST", "/", {"config": {}}, **options)
        self.assertEqual(self.send("POST", "/", {"config": {}}, **options), first)
        records = [item for item in self.keys.items() if item["service"] == {"S": "gaia#idem"}]
        self.assertGreaterEqual(len(records), 1)
        self.assertEqual([entry["action"] for entry in self.audit(first["api_key"])], ["create", "retry"])

    def test_delete(self):
        key = self.create({"permissions": "read"})
        self.assertEqual(self.send("DELETE", f"/delete/{key}"), {"api_key": key, "result": "deleted"})
        self.assertIsNone(self.item(key))
        self.assertEqual(self.verify(key), {"valid": False, "reason": "not_found"})
        self.assertEqual(self.send("GET", f"/{key}", status=404), {"detail": "API key not found"})
        self.assertEqual(self.audit(key)[-1]["action"], "delete")

    def test_unknown_paths_and_methods_are_the_functions_own(self):
        self.assertEqual(self.send("GET", "_of_others", status=404), {"detail": "Not Found"})
        self.assertEqual(self.keys.send("PATCH", "/", {}, caller=self.caller).headers["allow"], "GET, POST")

    def test_a_denial_is_logged_and_no_log_entry_holds_a_secret(self):
        key = self.create({"permissions": "read"})
        self.assertEqual(self.verify(key, permission="write"), {"valid": False, "reason": "permission"})
        (denied,) = self.keys.log("ApiLogGroup", message="denied", key_id=key[:31])
        self.assertEqual(denied["reason"], "permission")
        logs = self.keys.emulator.client("logs")
        events = logs.filter_log_events(logGroupName=self.keys.outputs["ApiLogGroup"])["events"]
        self.assertIn(key[:31], json.dumps(events))
        self.assertNotIn(key[32:], json.dumps(events))


if __name__ == "__main__":
    unittest.main()
