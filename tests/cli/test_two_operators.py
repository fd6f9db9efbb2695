"""Two people change one key at the same time: neither undoes what the other was told is done."""

import datetime
import itertools

from command import Case
from local import KEYS


class TwoOperators(Case):
    """The other one's change falls between what the command reads and what it writes, or while its response is lost."""

    def new(self, **config):
        key = self.local.create({"permissions": "write", "n": 1} | config)
        self.id = key[:31]
        return key

    def other(self, **fields):
        """The other one sets fields, and the service says that it is done."""
        answer = self.local.send("PUT", f"{KEYS}/{self.id}", {"config": self.config(self.id) | fields})
        self.assertEqual((answer[0], answer[1]["result"]), (200, "updated"))
        self.left = self.config(self.id)

    def other_rotates(self):
        self.assertEqual(self.local.send("POST", f"{KEYS}/{self.id}/rotate", {"grace_seconds": 0})[0], 200)
        self.left = self.config(self.id)

    def meanwhile(self, faults, command, *options, status=0):
        """What the command tells. Some faults befall it after it has read the key; a function is the other one's change."""
        with self.gateway(None, *faults, checks=False) as gateway:
            told = self.run_command(command, self.id, *options, status=status)[1]
            self.assertEqual(gateway.faults, [])
        self.requests = [(method, status) for method, _, status in gateway.requests]
        return told

    def test_neither_undoes_the_other(self):
        """Each command beside each change: before its first attempt arrives, and after that was carried out."""
        commands = (
            (["update", "--name", "x"], {"name": "x"}),
            (["update", "--expires", "2099-01-01"], {"expires_at": "2099-01-01T00:00:00Z"}),
            (["update", "--permissions", "read"], {"permissions": "read"}),
            (["disable"], {"enabled": False}),
        )
        others = ({"enabled": False}, {"allowed_ips": ["192.0.2.1"]}, {"n": 2})
        for (command, own), theirs, before in itertools.product(commands, others, ([], ["done, then lost"], ["done, then 503"])):
            with self.subTest(command, other=theirs, before=before):
                self.new()
                self.meanwhile([*before, lambda: self.other(**theirs)], *command)
                self.assertEqual(self.config(self.id), {"permissions": "write", "n": 1} | own | theirs)

    def test_no_restriction_is_undone(self):
        """A change of the field that the other one restricted meanwhile is not made anew. What is rotated stays so."""
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
                self.new(**config)
                told = self.meanwhile(faults, *command, status=1)
                check = f"check `gaia-keys get {self.id}`, then run the command again"
                self.assertEqual(told, f"gaia-keys: somebody else changed this key meanwhile: {check}\n")
                self.assertEqual(self.config(self.id), self.left)
        for command in (["update", "--name", "x"], ["update", "--permissions", "read"], ["disable"]):
            key = self.new()
            self.meanwhile([self.other_rotates], *command)
            expires = datetime.datetime.fromisoformat(self.config(self.id)["expires_at"].replace("Z", "+00:00"))
            self.assertLessEqual(expires, datetime.datetime.now(datetime.timezone.utc))
            self.assertFalse(self.json("verify", stdin=key, status=1)["valid"])

    def test_a_lost_response_is_no_second_change(self):
        for fault in ("done, then lost", "done, then 503"):
            self.new()
            self.meanwhile([fault], "disable")
            self.assertEqual(self.requests[-3:], [("PUT", 412), ("GET", 200), ("GET", 200)])

    def test_somebody_who_never_stops(self):
        self.new()
        counter = itertools.count()
        with self.gateway(checks=False) as gateway:
            forward = gateway.forward

            def busy(local, method, *request):
                if method != "GET":
                    self.other(n=next(counter))
                return forward(local, method, *request)

            gateway.forward = busy
            for command in (["update", "--name", "x"], ["disable"], ["delete", "--yes"], ["rotate", "--grace", "0"]):
                gateway.requests.clear()
                told = self.error(command[0], self.id, *command[1:], status=1)
                self.assertEqual(told, "gaia-keys: others keep changing this key: try again\n")
                self.assertEqual([status for *_, status in gateway.requests].count(412), 5)
        self.assertEqual(self.config(self.id), {"permissions": "write", "n": 19})

    def test_deleted_or_rotated_as_it_is_by_then(self):
        restrict = lambda: self.other(allowed_ips=["192.0.2.1"])
        self.new()
        with self.gateway(None, restrict, checks=False):
            made = self.json("rotate", self.id, "--grace", "7d")
        self.assertEqual(self.config(made["key_id"])["allowed_ips"], ["192.0.2.1"], "the new key is restricted too")
        self.assertEqual(self.meanwhile([restrict], "delete", "--yes"), f"{self.id} was deleted\n")
        gone = lambda: self.local.send("DELETE", f"{KEYS}/delete/{self.id}")
        for command in (["update", "--name", "x"], ["disable"], ["rotate", "--grace", "0"]):
            self.new()
            self.assertEqual(self.meanwhile([gone], *command, status=1), "gaia-keys: no such key\n")
            self.assertEqual(self.local.send("GET", f"{KEYS}/{self.id}")[0], 404)

    def test_deleted_only_if_it_was_there(self):
        """A 429 or 5xx before the 404 doesn't make a key that never existed one that was deleted."""
        for fault in ("throttled", "done, then 503", "done, then lost"):
            with self.gateway(fault, checks=False):
                said = self.error("delete", "gaia_01ARZ3NDEKTSV4RRFFQ69G5FAW", "--yes", status=1)
            self.assertEqual(said, "gaia-keys: no such key\n")
            self.new()
            self.assertEqual(self.meanwhile([fault], "delete", "--yes"), f"{self.id} was deleted\n")
