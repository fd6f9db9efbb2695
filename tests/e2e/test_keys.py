"""The life of a key through the HTTP API, as an IAM user; what the table and the log hold of it."""

import json
import unittest

import deployment


class LifeOfAKey(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.keys = deployment.keys()
        cls.caller = deployment.user(cls.keys.emulator, "operator", deployment.documented_policies(cls.keys)[0])
        cls.arn = cls.keys.emulator.client("sts", cls.caller).get_caller_identity()["Arn"]

    def send(self, *request, status=200, **options):
        return self.keys.send(*request, caller=self.caller, **options).expect(status)

    def create(self, config, **options):
        return self.send("POST", "/", {"config": config}, **options)["api_key"]

    def item(self, key, partition="gaia"):
        """The plain attributes of a key's item in one of the table's partitions, or none."""
        items = [{name: next(iter(value.values())) for name, value in item.items()} for item in self.keys.items()]
        return next((item for item in items if (item["service"], item["id"]) == (partition, key[5:31])), None)

    def verify(self, key, **asked):
        return self.send("POST", "/verify", {"api_key": key} | asked)

    def audit(self, key):
        return self.keys.log("ApiLogGroup", message="audit", key_id=key[:31])

    def test_create(self):
        config, options = {"permissions": "read", "team": "süd"}, {"headers": {"idempotency-key": "once"}}
        key = self.create(config, **options)
        self.assertEqual(self.create(config, **options), key)
        item = self.item(key)
        self.assertEqual((json.loads(item["config"]), item["created_by"]), (config, self.arn))
        entries = [(entry["action"], entry["actor"], entry["source_ip"]) for entry in self.audit(key)]
        self.assertEqual(entries, [("create", self.arn, "127.0.0.1"), ("retry", self.arn, "127.0.0.1")])

    def test_get_and_list(self):
        key = self.create({"permissions": "write", "name": "list me"})
        found = self.send("GET", f"/{key[:31]}")
        self.assertEqual((found["api_key"], found["created_by"]), (key, self.arn))
        self.assertIn({"api_key": key, "config": found["config"]}, self.send("GET", "/"))
        self.assertIn(found, self.send("GET", "/?details=true&limit=1000"))

    def test_verify_records_use(self):
        key = self.create({"permissions": "read"})
        self.assertEqual(self.verify(key), {"valid": True, "key_id": key[:31], "config": {"permissions": "read"}})
        used = self.item(key, "gaia#use")["last_used_at"]
        self.assertRegex(used, r"T\d\d:00:00Z$")
        self.assertEqual(self.send("GET", f"/{key}")["last_used_at"], used)

    def test_update(self):
        key = self.create({"permissions": "read"})
        self.assertEqual(self.send("PUT", f"/{key}", {"config": {"enabled": False}})["result"], "updated")
        item = self.item(key)
        self.assertEqual((json.loads(item["config"]), item["updated_by"]), ({"enabled": False}, self.arn))
        self.assertEqual(self.verify(key), {"valid": False, "reason": "disabled"})
        self.assertEqual(self.audit(key)[-1]["action"], "update")

    def test_a_repeated_rotation_gets_the_same_key(self):
        old = self.create({"permissions": "read"})
        request = ("POST", f"/{old[:31]}/rotate", {"grace_seconds": 600})
        response = self.send(*request, headers={"idempotency-key": "again"})
        self.assertEqual(self.send(*request, headers={"idempotency-key": "again"}), response)
        new = response["api_key"]
        self.assertEqual((self.item(old)["rotated_to"], self.item(new)["rotated_from"]), (new[5:31], old[5:31]))
        self.assertTrue(self.verify(old)["valid"] and self.verify(new)["valid"])
        self.assertEqual([entry["action"] for entry in self.audit(old)], ["create", "rotate", "retry"])

    def test_delete(self):
        key = self.create({"permissions": "read"})
        self.assertEqual(self.send("DELETE", f"/delete/{key}"), {"api_key": key, "result": "deleted"})
        self.assertIsNone(self.item(key))
        self.assertEqual(self.verify(key), {"valid": False, "reason": "not_found"})
        self.assertEqual(self.audit(key)[-1]["action"], "delete")

    def test_unknown_paths_and_methods_are_the_functions_own(self):
        self.assertEqual(self.send("GET", "_of_others", status=404), {"detail": "Not Found"})
        self.assertEqual(self.keys.send("PATCH", "/", {}, caller=self.caller).headers["allow"], "GET, POST")

    def test_a_denial_is_logged_and_neither_table_nor_log_holds_a_secret(self):
        key = self.create({"permissions": "read"})
        self.assertEqual(self.verify(key, permission="write"), {"valid": False, "reason": "permission"})
        (denied,) = self.keys.log("ApiLogGroup", message="denied", key_id=key[:31])
        self.assertEqual(denied["reason"], "permission")
        logs = self.keys.emulator.client("logs").filter_log_events(logGroupName=self.keys.outputs["ApiLogGroup"])
        self.assertNotIn(key[32:], json.dumps([logs["events"], self.keys.items()]))


if __name__ == "__main__":
    unittest.main()
