"""gaia-keys rotate: one key, many keys, and what is left when it is killed."""

import csv
import datetime
import json
import stat
import unittest

from command import ODD, SAMPLE, Case
from local import KEYS, Gateway, Lost

UTC = datetime.timezone.utc


def time_of(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def in_days(days):
    return (datetime.datetime.now(UTC) + datetime.timedelta(days=days)).isoformat()


class RotateCase(Case):
    def config(self, key_id):
        return json.loads(self.items()[key_id])

    def assertNear(self, text, **span):
        off = time_of(text) - datetime.datetime.now(UTC) - datetime.timedelta(**span)
        self.assertLess(abs(off), datetime.timedelta(minutes=1), text)

    def interrupted(self, *arguments, faults):
        """The command, killed in place of the request after some."""
        with Gateway(self.local, checks=False) as gateway:
            process = None
            gateway.faults = [*faults, lambda: process.kill()]
            process = self.start(*arguments, address=gateway.address)
            printed, _ = process.communicate(timeout=60)
            self.assertEqual((process.returncode, printed), (-9, ""))

    def lost(self, *arguments, before):
        """The command, killed after the service carried out the request that follows `before` others. The newest key."""
        with Gateway(self.local, checks=False) as gateway:
            process = None
            forward = gateway.forward

            def carried_out(*request):
                response = forward(*request)
                if len(gateway.requests) == before:
                    process.kill()
                    raise Lost
                return response

            gateway.forward = carried_out
            process = self.start(*arguments, address=gateway.address)
            printed, _ = process.communicate(timeout=60)
            self.assertEqual((process.returncode, printed), (-9, ""))
        return list(self.local.list())[-1]

    def forget(self):
        """Makes the service forget its responses, as it does after 24 hours."""
        for record in self.local.table().scan()["Items"]:
            if record["service"] == "demo#idem":
                self.local.table().delete_item(Key={"service": record["service"], "id": record["id"]})


class One(RotateCase):
    def test_the_new_key_and_the_old_one(self):
        old = self.put("{" + ODD + ',"permissions":"write"}')
        printed, told = self.run_command("rotate", old, "--grace", "7d")
        new = printed.strip()
        expires_at = self.config(old)["expires_at"]
        self.assertNear(expires_at, days=7)
        self.assertEqual(self.items()[old], "{" + ODD + f',"permissions":"write","expires_at":"{expires_at}"}}')
        self.assertEqual(self.items()[new[:31]], "{" + ODD + ',"permissions":"write"}')
        self.assertEqual(told, f"{old} was rotated; it is denied from {expires_at} on\n")
        self.assertEqual(self.json("get", old)["rotated_to"], new[:31])
        self.assertEqual(self.json("get", new)["rotated_from"], old)
        self.assertIn("active, rotated", self.run_command("list")[0])
        self.assertTrue(self.json("verify", "--permission", "write", stdin=new)["valid"])
        self.assertEqual(len(self.made()), 2)

        again = self.json("rotate", new, "--grace", "0")
        self.assertEqual(again["rotated_from"], new[:31])
        self.assertEqual(again["rotated_from_expires_at"], self.config(new[:31])["expires_at"])
        self.assertEqual(again["api_key"][:31], again["key_id"])
        self.assertEqual(self.json("verify", stdin=new, status=1)["reason"], "expired")

    def test_a_key_from_standard_input(self):
        key = self.local.create({"permissions": "read"})
        printed, told = self.run_command("rotate", "-", "--grace", "7d", stdin=key)
        self.assertIn(printed.strip(), self.made())
        self.assertIn(f"{key[:31]} was rotated", told)

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
            self.assertNear(self.config(key[:31])["expires_at"], days=old_end)
            if new_end:
                self.assertNear(self.config(new)["expires_at"], days=new_end)
            else:
                self.assertIsNone(self.config(new).get("expires_at"))
        far = self.json("rotate", self.local.create({"expires_at": "9999-12-31T23:59:59Z"}), "--grace", "0")["key_id"]
        self.assertRegex(self.config(far)["expires_at"], "^9999-12-31T23:59:5[89]Z$")

    def test_what_is_not_rotated(self):
        for config, state in [({"enabled": False}, "is disabled"), ({"expires_at": "2020-01-01T00:00:00Z"}, "has expired")]:
            key = self.store(self.local.create(config), "created_at", "2019-01-01T00:00:00.000Z")
            self.assertEqual(self.error("rotate", key, "--grace", "7d", status=1), f"gaia-keys: 409: API key {state}\n")
        key = self.local.create({"expires_at": "2020-01-01T00:00:00Z"})[:31]
        self.assertIn("it expired before it was created: use --expires WHEN", self.error("rotate", key, "--grace", "7d", status=1))
        full = self.put('{"x":"' + "y" * 4060 + '"}')
        said = self.error("rotate", full, "--grace", "7d", status=1)
        self.assertIn("422: config would exceed 4096 bytes with expires_at", said)
        self.assertEqual(len(self.made()), 4)

    def test_rotated_already(self):
        key = self.local.create({"permissions": "read"})
        new = self.run_command("rotate", key, "--grace", "7d")[0].strip()
        said = self.error("rotate", key, "--grace", "8d", status=1)
        self.assertIn(f"409: API key was rotated to {new[:31]} already: delete that key to rotate this one again", said)
        self.forget()
        self.assertIn("409: API key was rotated", self.error("rotate", key, "--grace", "7d", status=1))
        self.assertEqual(len(self.made()), 2)

    def test_through_failures(self):
        for fault in ("throttled", "done, then 503", "done, then lost", lambda: None):
            key = self.local.create({"permissions": "read", "expires_at": "2031-01-01T00:00:00Z"})
            with Gateway(self.local) as gateway:
                gateway.faults = [fault, None] * 2
                before = len(self.made())
                new = self.run_command("rotate", key, "--grace", "7d", address=gateway.address, auth="sigv4")[0].strip()
                self.assertEqual(len(self.made()), before + 1, fault)
            self.assertEqual(self.json("get", key)["rotated_to"], new[:31])

    def test_a_response_that_got_lost(self):
        """The same command prints the key that was created, though a time from now would be another one by then."""
        for config, options in [
            ({}, []),
            ({"expires_at": "2031-01-01T00:00:00Z"}, []),
            ({"expires_at": "2031-01-01T00:00:00Z"}, ["--expires", "never"]),
            ({}, ["--expires", "90d"]),
            ({}, ["--expires", "never"]),
            ({"expires_at": None}, []),
        ]:
            command = ["rotate", self.local.create(config), "--grace", "7d", *options]
            self.interrupted(*command, faults=[None])
            new = self.lost(*command, before=1)
            self.assertEqual(self.run_command(*command)[0].strip(), new)
        self.assertEqual(len(self.made()), 12)

    def test_an_old_key_that_was_extended(self):
        """The same command has the first response again, which says nothing of what the old key's expiry is by now."""
        key = self.local.create({"permissions": "read"})
        command = ["rotate", key, "--grace", "0"]
        new = self.run_command(*command)[0]
        for when, says in (("2031-01-01T00:00:00Z", "expires at 2031-01-01T00:00:00Z"), ("never", "never expires")):
            self.run_command("update", key, "--expires", when)
            printed, told = self.run_command(*command, status=1)
            self.assertEqual(printed, new)
            remedy = f"To deny it now: gaia-keys disable {key[:31]}"
            self.assertEqual(told, f"{key[:31]} was rotated before and extended since: it {says}. {remedy}\n")
            self.assertTrue(self.json("verify", stdin=key)["valid"])
        self.assertIsNone(self.json(*command, status=1)["rotated_from_expires_at"])
        self.run_command("update", key, "--expires", "2031-01-01T00:00:00Z")
        self.run_command("delete", new.strip(), "--yes")
        self.assertIn("it is denied from", self.run_command(*command, "--expires", "never")[1])
        self.assertEqual(self.json("verify", stdin=key, status=1)["reason"], "expired")

    def test_a_new_key_that_was_deleted(self):
        """Another one is wanted then, and if its response gets lost, that one again."""
        key = self.local.create({"expires_at": in_days(300)})
        command = ["rotate", key, "--grace", "7d", "--expires", "never"]
        first = self.run_command(*command)[0].strip()
        self.run_command("delete", first, "--yes")
        said = self.error("rotate", key, "--grace", "7d", status=1)
        self.assertEqual(said, "gaia-keys: it expires because it was rotated before: use --expires WHEN, or --expires never\n")
        second = self.lost(*command, before=3)
        self.assertEqual(self.run_command(*command)[0].strip(), second)
        self.assertEqual(set(self.made()), {key, second})


class OneDisclosed(RotateCase):
    variables = {"KEY_DISCLOSURE": "id"}

    def test_a_response_that_got_lost(self):
        command = ["rotate", self.local.create({"expires_at": "2031-01-01T00:00:00Z"}), "--grace", "7d"]
        lost = self.lost(*command, before=1)
        printed = self.run_command(*command)[0].strip()
        self.assertEqual(printed[:31], lost)
        self.assertTrue(self.json("verify", stdin=printed)["valid"])


class Many(RotateCase):
    def setUp(self):
        super().setUp()
        self.mapping = self.folder / "mapping.csv"
        self.keys = [self.local.create({"permissions": "read", "n": number}) for number in range(35)]
        self.local.create({"enabled": False})
        self.local.create({"expires_at": "2020-01-01T00:00:00Z"})
        self.all = ["rotate", "--older-than", "2100-01-01", "--grace", "7d", "--mapping", self.mapping, "--yes"]

    def mapped(self):
        with open(self.mapping, newline="") as file:
            header, *rows = csv.reader(file)
        self.assertEqual((header, len(rows)), (["old", "new"], len(dict(rows))))
        return dict(rows)

    def details(self):
        return {entry["key_id"]: entry for entry in self.json("list")}

    def assertRotatedOnce(self, count=36):
        """Each key has one new key, which the mapping names, and no other was created."""
        details, mapped = self.details(), self.mapped()
        self.assertEqual((len(mapped), len(details)), (count, count * 2 + 2))
        for old, new in mapped.items():
            self.assertEqual((details[old]["rotated_to"], details[new[:31]]["rotated_from"]), (new[:31], old))
            self.assertNear(details[old]["config"].pop("expires_at"), days=7)
            self.assertIsNone(details[new[:31]]["config"].pop("expires_at", None))
            self.assertEqual(details[old]["config"], details[new[:31]]["config"])
            self.assertTrue(self.local.send("POST", f"{KEYS}/verify", {"api_key": new})[1]["valid"])

    def test_all(self):
        _, told = self.run_command(*self.all)
        self.assertEqual(told, "1 not rotated: disabled\n1 not rotated: expired\n36 rotated, 0 failed\n")
        self.assertEqual(stat.S_IMODE(self.mapping.stat().st_mode), 0o600)
        self.assertRotatedOnce()
        text = self.mapping.read_text()
        _, told = self.run_command(*self.all)
        self.assertIn("36 not rotated: rotated already\n", told)
        self.assertIn("0 rotated, 0 failed\n", told)
        self.assertRotatedOnce()
        self.assertEqual(self.mapping.read_text(), text)

    def test_only_the_old_ones(self):
        printed, told = self.run_command("rotate", "--older-than", "2026-01-01", "--grace", "7d", "--dry-run")
        self.assertEqual([line.split()[0] for line in printed.splitlines()[1:]], [SAMPLE])
        self.assertEqual(len(self.made()), 37)
        _, told = self.run_command("rotate", "--older-than", "90d", "--grace", "0", "--mapping", self.mapping, "--yes")
        self.assertEqual(told, "1 rotated, 0 failed\n")
        (sample,) = self.before
        self.assertEqual(self.json("verify", stdin=sample, status=1)["reason"], "expired")
        self.assertEqual(len(self.mapped()), 1)

    def test_killed_again_and_again(self):
        """A run lists the keys, and then rotates each with one request."""
        for count in (0, 1, 2, 5, 10):
            self.interrupted(*self.all, faults=[None] * count)
            self.lost(*self.all, before=1)
        _, told = self.run_command(*self.all)
        self.assertIn(" rotated, 0 failed\n", told)
        self.assertRotatedOnce()

    def test_a_response_that_got_lost(self):
        """With another expiry by then, with no grace period, and for another caller or after 24 hours."""
        for options, forgets in ([], False), (["--expires", "90d"], False), (["--grace", "0"], False), ([], True):
            self.mapping.unlink(missing_ok=True)
            old = self.local.create({"permissions": "read"})
            self.store(old, "created_at", "2020-01-01T00:00:00.000Z")
            command = ["rotate", "--older-than", "2021-01-01", "--grace", "7d", "--mapping", self.mapping, "--yes", *options]
            new = self.lost(*command, before=1 if self.json("get", SAMPLE)["rotated_to"] else 2)
            self.assertRegex(self.mapping.read_text(), f"\n{old[:31]}, *\n$")
            if forgets:
                self.forget()
            self.run_command(*command)
            self.assertEqual(self.mapped()[old[:31]], new)

    def test_a_response_that_got_lost_behind_a_key_that_fails(self):
        """What the mapping says of the lost one isn't replaced before that is recovered."""
        self.store(SAMPLE, "config", '{"x":"' + "y" * 4060 + '"}')
        self.lost(*self.all, before=2)
        self.interrupted(*self.all, faults=[None])
        _, told = self.run_command(*self.all, status=1)
        self.assertIn("35 rotated, 1 failed\n", told)
        self.assertEqual(list(self.mapped()), [key[:31] for key in self.keys])

    def test_a_full_disk(self):
        """However often the command is run while there is no room, no new key is lost."""
        for room in (40, 60, 100, 130, 150, 150, 150, 200, 201, 202):
            told = self.run_command(*self.all, status=2, room=room)[1]
            self.assertIn("gaia-keys: File too large\n", told)
        self.assertIn(" rotated, 0 failed\n", self.run_command(*self.all)[1])
        self.assertRotatedOnce()

    def test_a_line_that_an_earlier_version_or_a_spreadsheet_left(self):
        """The pending row names its old key, whatever its line ends with, and stays until it is replaced."""
        new = self.lost(*self.all, before=1)
        for text in (f"old,new\r\n{SAMPLE},\r\n", f"old,new\n{SAMPLE},\n", f"old,new\r\n{SAMPLE},", f"old,new\n{SAMPLE},{new[:40]}"):
            self.mapping.write_bytes(text.encode())
            self.interrupted(*self.all, faults=[])
            self.assertEqual(self.mapping.read_bytes(), text.encode())
        self.run_command(*self.all)
        self.assertEqual(self.mapped()[SAMPLE][:31], new[:31])
        self.assertRotatedOnce()

    def test_a_mapping_that_was_lost(self):
        self.interrupted(*self.all, faults=[None] * 20)
        listed = self.local.list()
        self.mapping.unlink()
        _, told = self.run_command("rotate", "--older-than", "2026-01-01", "--grace", "7d", "--mapping", self.mapping, "--yes")
        self.assertIn("1 not rotated: rotated already", told)
        self.assertEqual(self.local.list(), listed)

    def test_interrupted_by_hand(self):
        with Gateway(self.local, checks=False) as gateway:
            gateway.faults = [None] * 20 + [lambda: process.send_signal(2)]
            process = self.start(*self.all, address=gateway.address)
            told = process.communicate(timeout=60)[1]
        self.assertEqual(process.returncode, 130, told)
        self.assertIn("To continue an import or a rotation, run the same command again.", told)
        self.assertNotIn("Traceback", told)
        self.run_command(*self.all)
        self.assertRotatedOnce()

    def test_stopped(self):
        """The service fails for longer than a request is repeated, after it carried that out."""
        with Gateway(self.local) as gateway:
            gateway.faults = [None] * 3 + ["done, then 503"] * 6
            _, told = self.run_command(*self.all, address=gateway.address, auth="sigv4", status=2)
        self.assertIn("gaia-keys: 503: Service Unavailable (after 6 attempts)\n", told)
        self.run_command(*self.all)
        self.assertRotatedOnce()

    def test_throttled(self):
        with Gateway(self.local) as gateway:
            gateway.faults = [None, "throttled", "done, then lost"] * 10
            self.run_command(*self.all, address=gateway.address, auth="sigv4")
        self.assertRotatedOnce()

    def test_what_others_change_meanwhile(self):
        """A key that is disabled or deleted while others are rotated stays so."""
        leaked, gone = self.keys[30], self.keys[34]

        def meanwhile():
            self.local.send("PUT", f"{KEYS}/{leaked}", {"config": {"enabled": False}})
            self.local.send("DELETE", f"{KEYS}/delete/{gone}")

        with Gateway(self.local, checks=False) as gateway:
            gateway.faults = [None, meanwhile]
            _, told = self.run_command(*self.all, address=gateway.address, status=1)
        self.assertIn(f"{leaked[:31]}: 409: API key is disabled\n", told)
        self.assertIn(f"{gone[:31]}: no such key\n", told)
        self.assertIn("34 rotated, 2 failed\n", told)
        self.assertEqual(self.made()[leaked], {"enabled": False})
        self.assertEqual(len(self.mapped()), 34)

    def test_failures_are_printed(self):
        full = self.put('{"x":"' + "y" * 4060 + '"}')
        _, told = self.run_command(*self.all, status=1)
        self.assertIn(f"{full}: 422: config would exceed 4096 bytes with expires_at\n", told)
        self.assertIn("36 rotated, 1 failed\n", told)
        self.assertEqual(len(self.items()[full]), 4068)
        self.assertEqual(len(self.mapped()), 36)

    def test_a_mapping_for_others_to_read(self):
        self.mapping.write_text("old,new\n")
        self.mapping.chmod(0o644)
        self.assertIn(f"{self.mapping} is readable by other users; run: chmod 600", self.error(*self.all))
        self.assertEqual(len(self.made()), 37)


class ManyDisclosed(Many):
    """Where the list shows no secrets, only the service's response can give the new key."""

    variables = {"KEY_DISCLOSURE": "id"}

    def test_a_response_that_can_not_be_repeated(self):
        self.lost(*self.all, before=3)
        self.forget()
        _, told = self.run_command(*self.all, status=1)
        mapped = {new[:31] for new in self.mapped().values()}
        (new,) = {key for key, entry in self.details().items() if entry["rotated_from"]} - mapped
        self.assertIn(f"{new} was already created to replace this key, but its secret can no longer be retrieved", told)
        self.assertIn(f"run `gaia-keys delete {new}`, then rotate again", told)
        self.assertEqual(len(self.mapped()), 35)
        self.run_command("delete", new, "--yes")
        self.run_command(*self.all, "--expires", "never")
        self.assertRotatedOnce()

    test_what_others_change_meanwhile = test_failures_are_printed = test_a_mapping_for_others_to_read = None
    test_only_the_old_ones = test_a_mapping_that_was_lost = test_a_response_that_got_lost = test_stopped = None


if __name__ == "__main__":
    unittest.main()
