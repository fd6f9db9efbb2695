"""gaia-keys rotate: one key, many keys, and what is left when it is killed."""

import datetime
import itertools
from unittest import mock

from command import SAMPLE, Case, in_days
from gaia_keys.transport import Transport
from local import KEYS

LONG = '{"x":"' + "y" * 4060 + '"}'


class Killed(BaseException):
    """Ends a command at once, as SIGKILL does: nothing handles it."""


class RotateCase(Case):
    def assertNear(self, text, days):
        moments = [datetime.datetime.fromisoformat(each.replace("Z", "+00:00")) for each in (text, in_days(days))]
        self.assertLess(abs(moments[0] - moments[1]), datetime.timedelta(minutes=1), text)

    def killed(self, *command, after, done=False):
        """The command, killed in place of the request after some, or (`done`) once that is carried out. The newest key."""
        numbers, attempt = itertools.count(), Transport.attempt

        def attempt_or_die(transport, *request):
            number = next(numbers)
            if number < after or done:
                response = attempt(transport, *request)
            if number >= after:
                raise Killed
            return response

        with mock.patch.object(Transport, "attempt", attempt_or_die), self.assertRaises(Killed):
            self.run_command(*command)
        return list(self.local.list())[-1]


class One(RotateCase):
    def test_expiry(self):
        """The old key never expires later than before. The new one has the same lifetime, or what it is given."""
        for own, grace, expires, old_end, new_end in [
            (3, "7d", [], 3, 3),
            (30, "7d", [], 7, 30),
            (30, "7d", ["--expires", "1d"], 7, 1),
            (30, "7d", ["--expires", "never"], 7, None),
            (None, "12h", ["--expires", "2w"], 0.5, 14),
            (None, "12h", ["--expires", "never"], 0.5, None),
        ]:
            key = self.local.create({"expires_at": own and in_days(own)})
            new = self.json("rotate", key, "--grace", grace, *expires)["key_id"]
            self.assertNear(self.config(key)["expires_at"], days=old_end)
            if new_end:
                self.assertNear(self.config(new)["expires_at"], days=new_end)
            else:
                self.assertIsNone(self.config(new).get("expires_at"))
        far = self.json("rotate", self.local.create({"expires_at": "9999-12-31T23:59:59Z"}), "--grace", "0")["key_id"]
        self.assertRegex(self.config(far)["expires_at"], "^9999-12-31T23:59:5[89]Z$")

    def test_a_response_that_got_lost(self):
        """The same command prints the key that was created, though a time from now would be another one by then."""
        bounded, unset, never = {"expires_at": "2031-01-01T00:00:00Z"}, {"expires_at": None}, ["--expires", "never"]
        configs = ((bounded, []), (bounded, never), (unset, []), ({}, []), ({}, ["--expires", "90d"]), ({}, never))
        for self.variables, (config, options) in itertools.product(({}, {"KEY_DISCLOSURE": "id"}), configs):
            self.setUp()
            command = ["rotate", self.local.create(config), "--grace", "7d", *options]
            self.killed(*command, after=1)
            new = self.killed(*command, after=1, done=True)
            printed = self.run_command(*command)[0].strip()
            self.assertEqual((printed[: len(new)], len(printed), len(self.made())), (new, 58, 2))

    def test_a_new_key_that_was_deleted(self):
        """Another one is wanted then, and if its response gets lost, that one again."""
        key = self.local.create({"expires_at": in_days(300)})
        command = ["rotate", key, "--grace", "7d", "--expires", "never"]
        self.run_command("delete", self.run_command(*command)[0].strip(), "--yes")
        said = self.error("rotate", key, "--grace", "7d", status=1)
        self.assertEqual(said, "gaia-keys: it expires because it was rotated before: use --expires WHEN, or --expires never\n")
        second = self.killed(*command, after=3, done=True)
        self.assertEqual(self.run_command(*command)[0].strip(), second)
        self.assertEqual(set(self.made()), {key, second})


class Many(RotateCase):
    def setUp(self):
        super().setUp()
        self.keys = [self.local.create({"permissions": "read", "n": number}) for number in range(12)]
        self.local.create({"enabled": False})
        self.local.create({"expires_at": "2020-01-01T00:00:00Z"})
        self.options = ["--grace", "7d", "--mapping", self.mapping, "--yes"]
        self.all = ["rotate", "--older-than", "2100-01-01", *self.options]

    def details(self):
        return {entry["key_id"]: entry for entry in self.json("list")}

    def assertRotatedOnce(self):
        """Each key has one new key, which the mapping names, and no other was created."""
        details, mapped = self.details(), self.mapped()
        self.assertEqual((len(mapped), len(details)), (13, 28))
        for old, new in mapped.items():
            self.assertEqual((details[old]["rotated_to"], details[new[:31]]["rotated_from"]), (new[:31], old))
            self.assertNear(details[old]["config"].pop("expires_at"), days=7)
            self.assertIsNone(details[new[:31]]["config"].pop("expires_at", None))
            self.assertEqual(details[old]["config"], details[new[:31]]["config"])
            self.assertTrue(self.local.send("POST", f"{KEYS}/verify", {"api_key": new})[1]["valid"])

    def test_killed_again_and_again(self):
        """A run lists the keys, and then rotates each with one request."""
        for count in (1, 2, 4):
            self.killed(*self.all, after=count)
            self.killed(*self.all, after=1, done=True)
        self.assertIn(" rotated, 0 failed\n", self.run_command(*self.all)[1])
        self.assertRotatedOnce()

    def test_a_response_that_got_lost(self):
        """With another expiry by then, with no grace period, and for another caller or after 24 hours."""
        ended = ["--grace", "0", "--state", "active"]  # which the old key no longer is
        for options, forgets in ([], False), (["--expires", "90d"], False), (ended, False), ([], True):
            self.mapping.unlink(missing_ok=True)
            old = self.store(self.local.create({"permissions": "read"}), "created_at", "2020-01-01T00:00:00.000Z")
            command = ["rotate", "--older-than", "2021-01-01", *self.options, *options]
            new = self.killed(*command, after=1 if self.json("get", SAMPLE)["rotated_to"] else 2, done=True)
            self.assertRegex(self.mapping.read_text(), f"\n{old}, *\n$")
            if forgets:
                self.forget()
            self.run_command(*command)
            self.assertEqual(self.mapped()[old], new)

    def test_a_response_that_got_lost_behind_a_key_that_fails(self):
        """What the mapping says of the lost one isn't replaced before that is recovered."""
        self.store(SAMPLE, "config", LONG)
        self.killed(*self.all, after=2, done=True)
        self.killed(*self.all, after=1)
        told = self.run_command(*self.all, status=1)[1]
        self.assertIn(f"{SAMPLE}: 422: config would exceed 4096 bytes with expires_at\n", told)
        self.assertIn("12 rotated, 1 failed\n" if self.variables else " rotated, 1 failed\n", told)
        self.assertEqual(list(self.mapped()), [key[:31] for key in self.keys])

    def test_a_full_disk(self):
        """However often the command is run while there is no room, no new key is lost."""
        for room in (40, 60, 130, 150, 150, 201):
            process = self.start(*self.all, room=room)
            self.assertIn("gaia-keys: File too large\n", process.communicate(timeout=60)[1])
        self.assertIn(" rotated, 0 failed\n", self.run_command(*self.all)[1])
        self.assertRotatedOnce()

    def test_a_line_that_an_earlier_version_or_a_spreadsheet_left(self):
        """The pending row names its old key, whatever its line ends with, and stays until it is replaced."""
        new = self.killed(*self.all, after=1, done=True)
        for text in (f"old,new\r\n{SAMPLE},\r\n", f"old,new\n{SAMPLE},\n", f"old,new\r\n{SAMPLE},", f"old,new\n{SAMPLE},{new[:40]}"):
            self.mapping.write_bytes(text.encode())
            self.killed(*self.all, after=0)
            self.assertEqual(self.mapping.read_bytes(), text.encode())
        self.run_command(*self.all)
        self.assertEqual(self.mapped()[SAMPLE][:31], new[:31])
        self.assertRotatedOnce()

    def test_throttled_and_stopped(self):
        """The service fails for longer than a request is repeated, after it carried that out."""
        with self.gateway(*[None, "throttled", "done, then lost"] * 2, *["done, then 503"] * 6):
            told = self.run_command(*self.all, status=2)[1]
        self.assertIn("gaia-keys: 503: Service Unavailable (after 6 attempts)\n", told)
        self.run_command(*self.all)
        self.assertRotatedOnce()

    def test_what_others_change_meanwhile(self):
        """A key that is disabled or deleted while others are rotated stays so."""
        leaked, gone = self.keys[7], self.keys[11]

        def meanwhile():
            self.local.send("PUT", f"{KEYS}/{leaked}", {"config": {"enabled": False}})
            self.local.send("DELETE", f"{KEYS}/delete/{gone}")

        with self.gateway(None, meanwhile, checks=False):
            told = self.run_command(*self.all, status=1)[1]
        self.assertIn(f"{leaked[:31]}: 409: API key is denied: disabled\n{gone[:31]}: no such key\n11 rotated, 2 failed\n", told)
        self.assertEqual(self.made()[leaked], {"enabled": False})
        self.assertEqual(len(self.mapped()), 11)


class ManyDisclosed(Many):
    """Where the list shows no secrets, only the service's response can give the new key."""

    variables = {"KEY_DISCLOSURE": "id"}

    def test_a_response_that_can_not_be_repeated(self):
        self.killed(*self.all, after=3, done=True)
        self.forget()
        told = self.run_command(*self.all, status=1)[1]
        mapped = {new[:31] for new in self.mapped().values()}
        (new,) = {key for key, entry in self.details().items() if entry["rotated_from"]} - mapped
        self.assertIn(f"{new} was already created to replace this key, but its secret can no longer be retrieved", told)
        self.assertIn(f"run `gaia-keys delete {new}`, then rotate again", told)
        self.run_command("delete", new, "--yes")
        self.run_command(*self.all, "--expires", "never")
        self.assertRotatedOnce()

    test_what_others_change_meanwhile = test_a_response_that_got_lost = None
