"""Two people change one key at the same time: neither undoes what the other was told is done."""

import datetime
import itertools
import json
import unittest

from command import Case
from local import KEYS, Gateway


def now():
    return datetime.datetime.now(datetime.timezone.utc)


class TwoOperators(Case):
    """The other one's change falls between what the command reads and what it writes, or while its response is lost."""

    def setUp(self):
        super().setUp()
        self.key = self.local.create({"permissions": "write", "n": 1})
        self.id = self.key[:31]

    def config(self):
        return json.loads(self.items()[self.id])

    def other(self, **fields):
        """The other one sets fields, and the service says that it is done."""
        status, answer = self.local.send("PUT", f"{KEYS}/{self.id}", {"config": self.config() | fields})
        self.assertEqual((status, answer["result"]), (200, "updated"))

    def other_rotates(self):
        status, answer = self.local.send("POST", f"{KEYS}/{self.id}/rotate", {"grace_seconds": 0})
        self.assertEqual((status, answer["result"]), (200, "rotated"))

    def meanwhile(self, faults, *command, status=0):
        """What the command tells. Some faults befall it after it has read the key; a function is the other one's change."""
        with Gateway(self.local, checks=False) as gateway:
            gateway.faults = [None, *faults]
            told = self.run_command(*command, address=gateway.address, status=status)[1]
            self.assertEqual(gateway.faults, [])
        self.requests = [(method, status) for method, _, status in gateway.requests]
        return told

    def test_neither_undoes_the_other(self):
        """Each command beside each change: before its first attempt arrives, and after that was carried out."""
        disable = lambda: self.other(enabled=False)
        restrict = lambda: self.other(allowed_ips=["192.0.2.1"])
        commands = {
            "name": (["update", self.id, "--name", "x"], {"name": "x"}),
            "expires": (["update", self.id, "--expires", "2099-01-01"], {"expires_at": "2099-01-01T00:00:00Z"}),
            "read": (["update", self.id, "--permissions", "read"], {"permissions": "read"}),
            "disable": (["disable", self.id], {"enabled": False}),
        }
        others = {"disables": (disable, {"enabled": False}), "restricts": (restrict, {"allowed_ips": ["192.0.2.1"]})}
        for name, said, before in itertools.product(commands, others, ([], ["done, then lost"], ["done, then 503"])):
            with self.subTest(name, other=said, before=before):
                self.local.send("PUT", f"{KEYS}/{self.id}", {"config": {"permissions": "write", "n": 1}})
                (command, own), (change, theirs) = commands[name], others[said]
                self.meanwhile([*before, change], *command)
                self.assertEqual(self.config(), {"permissions": "write", "n": 1} | own | theirs)

    def test_a_rotation_stays(self):
        """The old key is denied at once, whatever was begun before."""
        for command in (["update", self.id, "--name", "x"], ["update", self.id, "--permissions", "read"], ["disable", self.id]):
            self.key = self.local.create({"permissions": "write"})
            command[1] = self.id = self.key[:31]
            self.meanwhile([self.other_rotates], *command)
            self.assertLessEqual(datetime.datetime.fromisoformat(self.config()["expires_at"].replace("Z", "+00:00")), now())
            self.assertFalse(self.json("verify", stdin=self.key, status=1)["valid"])

    def test_no_restriction_is_undone(self):
        """A change of the field that the other one restricted meanwhile is not made anew."""
        for config, command, faults in [
            ({}, ["update", "--expires", "2099-01-01"], [self.other_rotates]),
            ({}, ["update", "--permissions", "write"], [lambda: self.other(permissions="read")]),
            ({"allowed_ips": ["10.0.0.0/8"]}, ["update", "--clear-allowed-ips"], [lambda: self.other(allowed_ips=["10.0.0.1"])]),
            ({}, ["enable"], [lambda: self.other(enabled=False)]),
            # The first attempt enabled it, and then somebody disabled it again.
            ({"enabled": False}, ["enable"], ["done, then lost", lambda: self.other(enabled=False)]),
            ({"permissions": "read"}, ["update", "--permissions", "write"], ["done, then 503", lambda: self.other(permissions="read")]),
        ]:
            with self.subTest(command):
                self.key = self.local.create({"permissions": "write"} | config)
                self.id = self.key[:31]
                seen = []
                *before, change = faults
                told = self.meanwhile([*before, lambda: (change(), seen.append(self.config()))], command[0], self.id, *command[1:], status=1)
                self.assertEqual(told, f"gaia-keys: somebody else changed this key meanwhile: check `gaia-keys get {self.id}`, then run the command again\n")
                self.assertEqual(self.config(), seen[0])

    def test_what_others_change_elsewhere_is_no_obstacle(self):
        self.meanwhile([lambda: self.other(n=2)], "update", self.id, "--expires", "2099-01-01", "--permissions", "read")
        self.assertEqual(self.config(), {"permissions": "read", "n": 2, "expires_at": "2099-01-01T00:00:00Z"})

    def test_a_lost_response_is_no_second_change(self):
        for fault in ("done, then lost", "done, then 503"):
            self.local.send("PUT", f"{KEYS}/{self.id}", {"config": {}})
            self.meanwhile([fault], "disable", self.id)
            self.assertEqual(self.requests[-3:], [("PUT", 412), ("GET", 200), ("GET", 200)])
            self.assertEqual(self.config(), {"enabled": False})

    def test_somebody_who_never_stops(self):
        counter = itertools.count()
        with Gateway(self.local, checks=False) as gateway:
            forward = gateway.forward

            def busy(local, method, *request):
                if method in ("PUT", "DELETE", "POST"):
                    self.other(n=next(counter))
                return forward(local, method, *request)

            gateway.forward = busy
            for command in (["update", "--name", "x"], ["disable"], ["delete", "--yes"], ["rotate", "--grace", "0"]):
                gateway.requests.clear()
                told = self.error(command[0], self.id, *command[1:], address=gateway.address, status=1)
                self.assertEqual(told, "gaia-keys: others keep changing this key: try again\n")
                self.assertEqual([status for *_, status in gateway.requests].count(412), 5)
        self.assertEqual(self.config(), {"permissions": "write", "n": 19})

    def test_a_key_that_changes_before_it_is_deleted_or_rotated(self):
        restrict = lambda: self.other(allowed_ips=["192.0.2.1"])
        with Gateway(self.local, checks=False) as gateway:
            gateway.faults = [None, restrict]
            made = self.json("rotate", self.id, "--grace", "7d", address=gateway.address)
        self.assertEqual(json.loads(self.items()[made["key_id"]])["allowed_ips"], ["192.0.2.1"], "the new key is restricted too")
        told = self.meanwhile([restrict], "delete", self.id, "--yes")
        self.assertEqual(told, f"{self.id} was deleted\n")
        self.assertNotIn(self.id, self.items())

    def test_a_key_that_is_deleted_meanwhile(self):
        gone = lambda: self.local.send("DELETE", f"{KEYS}/delete/{self.id}")
        for command in (["update", "--name", "x"], ["disable"], ["rotate", "--grace", "0"]):
            self.id = self.local.create({})[:31]
            self.assertEqual(self.meanwhile([gone], command[0], self.id, *command[1:], status=1), "gaia-keys: no such key\n")
            self.assertNotIn(self.id, self.items())

    def test_deleted_only_if_it_was_there(self):
        """A 429 or 5xx before the 404 doesn't make a key that never existed one that was deleted."""
        for fault in ("throttled", "done, then 503", "done, then lost"):
            with Gateway(self.local, checks=False) as gateway:
                gateway.faults = [fault]
                said = self.error("delete", "gaia_01ARZ3NDEKTSV4RRFFQ69G5FAW", "--yes", address=gateway.address, status=1)
            self.assertEqual(said, "gaia-keys: no such key\n")
            key_id = self.local.create({})[:31]
            self.assertEqual(self.meanwhile([fault], "delete", key_id, "--yes"), f"{key_id} was deleted\n")
            self.assertNotIn(key_id, self.items())

    def test_update_beside_disable(self):
        """Both commands as two people start them, 30 times: whoever is told that the key is disabled can rely on it."""
        for number in range(30):
            key_id = self.local.create({"permissions": "read", "n": number})[:31]
            update = self.start("update", key_id, "--name", "x", "--config", '{"team": "search"}')
            disable = self.start("disable", key_id)
            for process in (update, disable):
                told = process.communicate(timeout=60)[1]
                self.assertEqual((process.returncode, told), (0, ""))
            expected = {"permissions": "read", "n": number, "enabled": False, "name": "x", "team": "search"}
            self.assertEqual(json.loads(self.items()[key_id]), expected)


if __name__ == "__main__":
    unittest.main()
