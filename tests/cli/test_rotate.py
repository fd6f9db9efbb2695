"""gaia-keys rotate: one key, many keys, and what is left when it is killed."""

import csv
import datetime
import json
import stat
import unittest

from command import ODD, SAMPLE, Case
from local import KEYS, Gateway

UTC = datetime.timezone.utc


def time_of(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


class RotateCase(Case):
    def config(self, key_id):
        return json.loads(self.items()[key_id])

    def assertNear(self, text, **span):
        off = time_of(text) - datetime.datetime.now(UTC) - datetime.timedelta(**span)
        self.assertLess(abs(off), datetime.timedelta(minutes=1), text)

    def interrupted(self, *arguments, faults):
        """The command, killed in place of the request after some; what it had printed."""
        with Gateway(self.local, checks=False) as gateway:
            process = None
            gateway.faults = [*faults, lambda: process.kill()]
            process = self.start(*arguments, address=gateway.address)
            printed, _ = process.communicate(timeout=60)
            self.assertEqual(process.returncode, -9)
        return printed


class One(RotateCase):
    def test_the_new_key_and_the_old_one(self):
        old = self.put("{" + ODD + ',"permissions":"write"}')
        printed, told = self.run_command("rotate", old, "--grace", "7d")
        new = printed.strip()
        config = self.config(old)
        self.assertNear(config["expires_at"], days=7)
        self.assertEqual(
            self.items()[old],
            "{" + ODD + f',"permissions":"write","expires_at":"{config["expires_at"]}","rotated_to":"{new[:31]}"}}',
        )
        self.assertEqual(self.items()[new[:31]], "{" + ODD + f',"permissions":"write","rotated_from":"{old}"}}')
        self.assertEqual(told, f"{old} was rotated; it is refused from {config['expires_at']} on\n")
        self.assertIn(f"{old}: rotated already, to {new[:31]}", self.error("rotate", old, "--grace", "1h", status=1))
        self.assertTrue(self.json("verify", "--permission", "write", stdin=new)["valid"])
        self.assertEqual(len(self.made()), 2)

        again = self.json("rotate", new, "--grace", "0")
        self.assertEqual(again["rotated_from"], new[:31])
        self.assertEqual(json.loads(self.items()[new[:31]])["enabled"], False)
        self.assertEqual(self.config(again["key_id"])["rotated_from"], new[:31])
        self.assertEqual(self.json("verify", stdin=new, status=1)["reason"], "disabled")

    def test_ends(self):
        """The old key never ends later than it would have; the new one lives as long, or as it is told."""
        in_days = lambda days: (datetime.datetime.now(UTC) + datetime.timedelta(days=days)).isoformat()
        for own, grace, expires, old_end, new_end in [
            (3, "7d", [], 3, 3),
            (30, "7d", [], 7, 30),
            (30, "7d", ["--expires", "1d"], 7, 1),
            (None, "12h", ["--expires", "2w"], 0.5, 14),
        ]:
            key = self.local.create({"expires_at": own and in_days(own)})
            new = self.json("rotate", key, "--grace", grace, *expires)["key_id"]
            self.assertNear(self.config(key[:31])["expires_at"], days=old_end)
            self.assertNear(self.config(new)["expires_at"], days=new_end)
        for never in ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999999Z"):
            new = self.json("rotate", self.local.create({"expires_at": never}), "--grace", "0")["key_id"]
            self.assertRegex(self.config(new)["expires_at"], "^9999-12-31T23:59:5[89]Z$")
        untouched = self.local.create({"expires_at": "2031-01-31T12:00:00.25+02:00"})
        self.run_command("rotate", untouched, "--grace", "99999w")
        self.assertEqual(self.config(untouched[:31])["expires_at"], "2031-01-31T12:00:00.25+02:00")

    def test_what_is_not_rotated(self):
        for config, state in [({"enabled": False}, "disabled"), ({"expires_at": "2020-01-01T00:00:00Z"}, "expired")]:
            key = self.local.create(config)[:31]
            self.assertEqual(self.error("rotate", key, "--grace", "7d", status=1), f"gaia-keys: {key}: {state}\n")
        before = len(self.made())
        for length in (4060, 4030):  # too long for both, or for the old one's end alone
            full = self.put('{"x":"' + "y" * length + '"}')
            self.assertEqual(self.error("rotate", full, "--grace", "7d", status=1), "gaia-keys: 413: config exceeds 4096 bytes\n")
            before += 1
            self.assertEqual(len(self.made()), before)
        key = self.local.create({"permissions": "read"})
        self.assertEqual(self.json("rotate", key, "--grace", "7d", "--dry-run")[0]["key_id"], key[:31])
        self.assertEqual(len(self.made()), before + 1)
        self.assertEqual(self.made()[key], {"permissions": "read"})

    def test_through_failures(self):
        for fault in ("throttled", "done, then 503", "done, then lost", lambda: None):
            key = self.local.create({"permissions": "read", "expires_at": "2031-01-01T00:00:00Z"})
            with Gateway(self.local) as gateway:
                gateway.faults = [fault, None] * 4
                before = len(self.made())
                new = self.run_command("rotate", key, "--grace", "7d", address=gateway.address, auth="sigv4")[0].strip()
                self.assertEqual(len(self.made()), before + 1, fault)
            self.assertEqual(self.made()[key]["rotated_to"], new[:31])
            self.assertEqual(self.made()[new]["rotated_from"], key[:31])

    def test_killed_between_the_steps(self):
        """Whatever was done by then, the next run makes no second key, though its body would be another one by then."""
        for faults in ([None], [None, None], [None, None, "done, then lost"], [None] * 3):
            key = self.local.create({"permissions": "read", "expires_at": "2031-01-01T00:00:00Z"})
            before = len(self.made())
            self.interrupted("rotate", key, "--grace", "7d", faults=faults)
            self.assertNotIn("rotated_to", self.made()[key])
            new = self.run_command("rotate", key, "--grace", "7d", "--expires", "1w")[0].strip()
            self.assertEqual(self.made()[key]["rotated_to"], new[:31])
            self.assertEqual(len(self.made()), before + 1, faults)

    def test_a_new_key_that_is_of_no_use(self):
        key = self.local.create({"permissions": "read"})
        new = self.interrupted("rotate", key, "--grace", "7d", faults=[None] * 3).strip()
        self.run_command("disable", new)
        said = self.error("rotate", key, "--grace", "7d", status=1)
        self.assertIn(f"{new[:31]} was made for it, and is disabled", said)
        self.run_command("delete", new, "--yes")
        self.run_command("rotate", key, "--grace", "7d")
        self.assertEqual(len(self.made()), 2)

    def test_an_old_key_that_goes_meanwhile(self):
        key = self.local.create({"permissions": "read"})
        with Gateway(self.local, checks=False) as gateway:
            gateway.faults = [None] * 3 + [lambda: self.local.send("DELETE", f"{KEYS}/delete/{key}")]
            printed, told = self.run_command("rotate", key, "--grace", "7d", address=gateway.address, status=1)
        self.assertEqual(told, f"gaia-keys: no such key; {printed[:31]} was made all the same\n")
        self.assertEqual(list(self.made()), [printed.strip()])

    def test_a_new_key_that_was_deleted(self):
        key = self.local.create({"permissions": "read"})
        first = self.run_command("rotate", key, "--grace", "7d")[0].strip()
        self.run_command("delete", first, "--yes")
        self.assertIn(f"rotated already, to {first[:31]}", self.error("rotate", key, "--grace", "7d", status=1))
        self.run_command("update", key, "--expires", "never", "--config", '{"rotated_to": null}')
        second = self.run_command("rotate", key, "--grace", "7d")[0].strip()
        self.assertNotEqual(first, second)
        self.assertEqual(self.made()[key]["rotated_to"], second[:31])
        self.assertNotIn("rotated_to", self.made()[second])


class OneDisclosed(RotateCase):
    variables = {"KEY_DISCLOSURE": "id"}

    def test_killed_between_the_steps(self):
        """The list doesn't tell the new key, so its create is sent again, to the letter."""
        key = self.local.create({"permissions": "read", "expires_at": "2031-01-01T00:00:00Z"})
        told = self.interrupted("rotate", key, "--grace", "7d", faults=[None] * 3)
        printed, _ = self.run_command("rotate", key, "--grace", "7d", "--expires", "1w")
        self.assertEqual(told, printed)
        self.assertEqual(len(self.made()), 2)
        self.assertTrue(self.json("verify", stdin=printed)["valid"])

    def test_killed_and_then_somebody_else(self):
        """Another caller isn't told it again: no second key is left behind."""
        key = self.local.create({"permissions": "read"})
        lost = self.interrupted("rotate", key, "--grace", "7d", faults=[None] * 3).strip()
        for claim in self.local.table().scan()["Items"]:
            if claim["service"] == "demo#idem":
                self.local.table().delete_item(Key={"service": claim["service"], "id": claim["id"]})
        said = self.error("rotate", key, "--grace", "7d", status=1)
        self.assertIn(f"{lost[:31]} was made for it, and can't be told again", said)
        self.assertEqual(set(self.made()), {key[:31], lost[:31]})
        self.run_command("delete", lost, "--yes")
        self.run_command("rotate", key, "--grace", "7d")
        self.assertEqual(len(self.made()), 2)


class Many(RotateCase):
    def setUp(self):
        super().setUp()
        self.mapping = self.folder / "mapping.csv"
        self.keys = [self.local.create({"permissions": "read", "n": number}) for number in range(35)]
        self.local.create({"enabled": False})
        self.local.create({"expires_at": "2020-01-01T00:00:00Z"})
        self.all = ["rotate", "--older-than", "2100-01-01", "--grace", "7d", "--mapping", self.mapping]

    def mapped(self):
        with open(self.mapping, newline="") as file:
            header, *rows = csv.reader(file)
        self.assertEqual((header, len(rows)), (["old", "new"], len(dict(rows))))
        return dict(rows)

    def assertRotatedOnce(self, count=36):
        """Each key has one new key, which the mapping names, and nothing else was made."""
        listed = self.local.list()
        mapped = self.mapped()
        self.assertEqual(len(mapped), count)
        self.assertEqual(len(listed), count * 2 + 2)
        for old in (*self.before, *self.keys):
            new = mapped[old[:31]]
            self.assertEqual(listed[old]["rotated_to"], new[:31])
            kept = {name: value for name, value in listed[old].items() if name in ("permissions", "n")}
            self.assertEqual(listed[new], kept | {"rotated_from": old[:31]})
            self.assertNear(listed[old]["expires_at"], days=7)

    def test_all(self):
        _, told = self.run_command(*self.all)
        self.assertEqual(told, "1 disabled: left as they are\n1 expired: left as they are\n36 rotated, 0 refused\n")
        self.assertEqual(stat.S_IMODE(self.mapping.stat().st_mode), 0o600)
        self.assertRotatedOnce()
        _, told = self.run_command(*self.all)
        self.assertIn("36 rotated already: left as they are\n", told)
        self.assertIn("0 rotated, 0 refused\n", told)
        self.assertRotatedOnce()

    def test_only_the_old_ones(self):
        printed, told = self.run_command("rotate", "--older-than", "2026-01-01", "--grace", "7d", "--dry-run")
        self.assertEqual([line.split()[0] for line in printed.splitlines()[1:]], [SAMPLE])
        self.assertEqual(len(self.made()), 37)
        _, told = self.run_command("rotate", "--older-than", "90d", "--grace", "0", "--mapping", self.mapping)
        self.assertEqual(told, "1 rotated, 0 refused\n")
        (sample,) = self.before
        self.assertEqual((len(self.mapped()), self.local.list()[sample]["enabled"]), (1, False))

    def test_killed_again_and_again(self):
        """A run is: list all, then read ten keys, then check, make and limit each."""
        for count in (3, 4, 5, 20, 33, 40):
            self.interrupted(*self.all, faults=[None] * count)
        _, told = self.run_command(*self.all)
        self.assertIn(" rotated, 0 refused\n", told)
        self.assertRotatedOnce()

    def test_killed_before_the_mapping_knew(self):
        self.interrupted(*self.all, faults=[None, None, None, "done, then lost"])
        self.assertEqual((self.mapped(), len(self.made())), ({}, 38))
        self.run_command(*self.all)
        self.assertRotatedOnce()

    def test_a_mapping_that_was_lost(self):
        self.interrupted(*self.all, faults=[None] * 50)
        listed = self.local.list()
        self.mapping.unlink()
        self.run_command("rotate", "--older-than", "2026-01-01", "--grace", "7d", "--mapping", self.mapping)
        self.assertEqual(self.local.list(), listed)

    def test_interrupted_by_hand(self):
        with Gateway(self.local, checks=False) as gateway:
            gateway.faults = [None] * 20 + [lambda: process.send_signal(2)]
            process = self.start(*self.all, address=gateway.address)
            told = process.communicate(timeout=60)[1]
        self.assertEqual(process.returncode, 130, told)
        self.assertIn("interrupted", told)
        self.assertNotIn("Traceback", told)
        self.run_command(*self.all)
        self.assertRotatedOnce()

    def test_throttled(self):
        with Gateway(self.local) as gateway:
            gateway.faults = [None, "throttled", "done, then lost"] * 10
            self.run_command(*self.all, address=gateway.address, auth="sigv4")
        self.assertRotatedOnce()

    def test_what_others_change_meanwhile(self):
        """A key that is disabled or deleted while others are rotated stays so."""
        leaked, gone = self.keys[30], self.keys[31]

        def meanwhile():
            self.local.send("PUT", f"{KEYS}/{leaked}", {"config": {"enabled": False}})
            self.local.send("DELETE", f"{KEYS}/delete/{gone}")

        with Gateway(self.local, checks=False) as gateway:
            gateway.faults = [None, meanwhile]
            _, told = self.run_command(*self.all, address=gateway.address, status=1)
        self.assertIn(f"{leaked[:31]}: is disabled by now\n", told)
        self.assertIn("34 rotated, 1 refused\n", told)
        self.assertEqual(self.made()[leaked], {"enabled": False})

    def test_refused_ones_are_told(self):
        full = self.put('{"x":"' + "y" * 4060 + '"}')
        _, told = self.run_command(*self.all, status=1)
        self.assertIn(f"{full}: 413: config exceeds 4096 bytes\n", told)
        self.assertIn("36 rotated, 1 refused\n", told)
        self.assertEqual(len(self.items()[full]), 4068)

    def test_a_mapping_for_others_to_read(self):
        self.mapping.write_text("old,new\n")
        self.mapping.chmod(0o644)
        self.assertIn("chmod 600", self.run_command(*self.all, status=2)[1])
        self.assertEqual(len(self.made()), 37)


class ManyDisclosed(Many):
    variables = {"KEY_DISCLOSURE": "id"}

    def assertRotatedOnce(self):
        mapped = self.mapped()
        listed = self.local.list()
        self.assertEqual((len(mapped), len(listed)), (36, 74))
        for old, new in mapped.items():
            self.assertEqual((listed[old]["rotated_to"], listed[new[:31]]["rotated_from"]), (new[:31], old))
            self.assertTrue(self.local.send("POST", f"{KEYS}/verify", {"api_key": new})[1]["valid"])

    test_what_others_change_meanwhile = test_refused_ones_are_told = test_a_mapping_for_others_to_read = None
    test_only_the_old_ones = test_a_mapping_that_was_lost = None


if __name__ == "__main__":
    unittest.main()
