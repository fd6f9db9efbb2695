"""The life of a key through the HTTP API, as an IAM user; what the table and the log hold of it."""

import json
import unittest

import deployment


class LifeOfAKey(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.keys = deployment.keys()
        cls.caller = deployment.user(cls.keys.emulator, "operator", deployment.documented_policies(cls.keys)[0])
        cls.arn = cls.keys.emulator.client("sts", *cls.caller).get_caller_identity()["Arn"]

    def send(self, *request, status=200, **options):
        return self.keys.send(*request, caller=self.caller, **options).expect(status)

    def item(self, key, partition="gaia"):
        """The plain attributes of a key's item in one of the table's partitions, or none."""
        items = [{name: next(iter(value.values())) for name, value in item.items()} for item in self.keys.items()]
        return next((item for item in items if (item["service"], item["id"]) == (partition, key[5:31])), None)

    def verify(self, key, **asked):
        response = self.send("POST", "/verify", {"api_key": key} | asked)
        return response.get("reason") or response["config"]

    def test_from_create_to_delete(self):
        """Creates and rotations are repeated: with an Idempotency-Key, the second gets the same key."""
        config, once = {"permissions": "read", "team": "süd"}, {"headers": {"idempotency-key": "once"}}
        (key,) = {self.send("POST", "/", {"config": config}, **once)["api_key"] for _ in range(2)}
        self.assertEqual((json.loads(self.item(key)["config"]), self.item(key)["created_by"]), (config, self.arn))
        self.assertEqual([self.verify(key), self.verify(key, permission="write")], [config, "permission"])
        found = self.send("GET", f"/{key[:31]}")
        self.assertEqual((found["api_key"], found["created_by"]), (key, self.arn))
        self.assertEqual(found["last_used_at"], self.item(key, "gaia#use")["last_used_at"])
        self.assertIn({"api_key": key, "config": config}, self.send("GET", "/"))
        self.assertIn(found, self.send("GET", "/?details=true&limit=1000"))

        rotation = ("POST", f"/{key[:31]}/rotate", {"grace_seconds": 600})
        (new,) = {self.send(*rotation, **once)["api_key"] for _ in range(2)}
        self.assertEqual((self.item(key)["rotated_to"], self.item(new)["rotated_from"]), (new[5:31], key[5:31]))
        self.assertEqual(self.send("PUT", f"/{new}", {"config": {"enabled": False}})["result"], "updated")
        self.assertEqual((self.verify(new), self.item(new)["updated_by"]), ("disabled", self.arn))
        self.assertEqual(self.send("DELETE", f"/delete/{key}"), {"api_key": key, "result": "deleted"})
        self.assertEqual((self.item(key), self.verify(key)), (None, "not_found"))

        logged = [self.keys.log("ApiLogGroup", key_id=each[:31]) for each in (key, new)]
        messages = [[entry.get("action") or entry["reason"] for entry in entries] for entries in logged]
        self.assertEqual(messages[0], ["create", "retry", "permission", "rotate", "retry", "delete", "not_found"])
        self.assertEqual(messages[1], ["update", "disabled"])
        self.assertLessEqual({entry["actor"] for entries in logged for entry in entries if "action" in entry}, {self.arn})
        logs = self.keys.emulator.client("logs").filter_log_events(logGroupName=self.keys.outputs["ApiLogGroup"])
        for each in (key, new):
            self.assertNotIn(each[32:], json.dumps([logs["events"], self.keys.items()]))

    def test_unknown_paths_and_methods_are_the_functions_own(self):
        self.assertEqual(self.send("GET", "_of_others", status=404), {"detail": "Not Found"})
        self.assertEqual(self.keys.send("PATCH", "/", {}, caller=self.caller).headers["allow"], "GET, POST")
