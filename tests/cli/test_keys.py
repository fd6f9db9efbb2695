"""list, get, create, update, disable, enable, delete, verify, api: what they print, and what is stored then."""

import json
import re

from command import SAMPLE, Case, in_days

STEER = "\x1b[31mred\x9b\n"
NOBODYS = SAMPLE[:-1] + "W"


class List(Case):
    def names(self, *options, **where):
        return [entry["config"].get("name", "sample") for entry in self.json("list", *options, **where)]

    def test_table(self):
        """Whatever a config holds, a key is a line, and nothing steers a terminal."""
        config = {"name": f"b [bold] {STEER}", "expires_at": "2031-01-31T12:00:00.5+02:00", "x": 1.5}
        key = self.local.create(config | {"allowed_ips": ["10.0.0.0/8", "2001:db8::1"]})
        used = self.used(key, 100)
        _, _, row = [re.split(r"  +", line) for line in self.run_command("list")[0].splitlines()]
        expected = [key[:31], r"b [bold] \x1b[31mred\x9b\n", "active", "2031-01-31T12:00:00.5+02:00", "10.0.0.0/8 2001:db8::1"]
        self.assertEqual(row, [*expected, in_days(0)[:10], used])
        self.store(key, "created_by", "arn:aws:sts::1:assumed-role/Ops/alice")
        for owner in ("alice", "arn:aws:sts::1:assumed-role/Ops/alice"):
            self.assertEqual([each["key_id"] for each in self.json("list", "--owner", owner)], [key[:31]])

    def test_use(self):
        hours = {"new": None, "busy": 1, "idle": 24 * 40, "old": 24 * 100, "never": None}
        keys = {name: self.local.create({"name": name}) for name in hours}
        told = self.run_command("list", "--never-used")[1]
        self.assertIn("no key has a recorded use: check that the stack's parameter TrackUsage is true", told)
        for name in ("busy", "idle", "old", "never"):
            self.store(keys[name], "created_at", "2026-01-01T00:00:00.000Z")
            if hours[name]:
                self.used(keys[name], hours[name])
        for options, names in [
            (["--unused-for", "30d"], ["sample", "idle", "old", "never"]),
            (["--unused-for", "90d"], ["sample", "old", "never"]),
            (["--unused-for", "90d", "--name", "old"], ["old"]),
            (["--never-used"], ["sample", "never", "new"]),
            (["--never-used", "--older-than", "1d"], ["sample", "never"]),
            (["--sort", "last_used_at"], ["sample", "new", "never", "old", "idle", "busy"]),
        ]:
            self.assertEqual(self.names(*options), names)
        self.assertEqual(self.run_command("list", "--unused-for", "99999w"), ("", ""))

    def test_all_pages(self):
        """A list of more than 5.5 MB has pages."""
        with self.table.batch_writer() as batch:
            for number in range(1500):
                item = {"service": "demo", "id": f"01BX5ZZKBKACTAV9WEVGEM{number:04}", "config": f'{{"x": "{"y" * 4000}"}}'}
                batch.put_item(Item=item | {"root_key_id": "053bcb62", "created_at": "2018-01-01T00:00:00.000Z"})
        with self.gateway(None, "throttled") as gateway:
            self.assertEqual(len(self.run_command("list")[0].splitlines()), 1502)
        self.assertEqual([status for _, _, status in gateway.requests], [200, 429, 200])

    def test_items_that_the_service_did_not_write(self):
        for name, config in [("abc", "{}"), (NOBODYS[5:], "?")]:
            self.table.put_item(Item={"service": "demo", "id": name, "config": config, "root_key_id": "053bcb62"})
        entries = {entry["key_id"]: entry["state"] for entry in self.json("list")}
        self.assertEqual(entries, {SAMPLE: "active", "gaia_abc": "unreadable", NOBODYS: "unreadable"})
        for command in (["disable"], ["rotate", "--grace", "0"]):
            told = self.error(command[0], NOBODYS, *command[1:], status=1)
            self.assertEqual(told, "gaia-keys: its stored config is invalid\n")
        self.assertIn("unreadable", self.run_command("get", NOBODYS)[0])


class Change(Case):
    def test_a_key_serves_as_its_id(self):
        key = self.local.create({})
        with self.gateway(checks=False) as gateway:
            self.run_command("disable", key)
        self.assertEqual(self.made(), {key: {"enabled": False}})
        paths = [path for _, path, *_ in gateway.received]
        self.assertNotRegex(" ".join(paths), key[31:])
        self.assertEqual(len(paths), 3, "one request finds it, one changes it, and one shows what it is now")

    def test_api(self):
        with self.gateway("done, then lost") as gateway:  # the query is signed as it is sent
            self.assertIn("no response from", self.error("api", "POST", "/", "--data", "{}"))
            self.assertEqual(gateway.requests, [], "it may be carried out already, so it isn't sent again")
            printed = self.run_command("api", "GET", "/?limit=2&details=true")[0]
        self.assertEqual([entry["api_key"] for entry in json.loads(printed)], list(self.local.list()))

    def test_through_failures(self):
        """However a request fails or its response gets lost, the command tries again, and the change is made once."""
        for number, fault in enumerate(("throttled", "done, then 503", "done, then lost", lambda: None), 1):
            with self.subTest(fault), self.gateway(fault, fault) as gateway:
                key = self.run_command("create", "reports", "--permissions", "read")[0].strip()
                gateway.faults = [fault, None, fault, fault]
                new = self.run_command("rotate", key, "--grace", "7d")[0].strip()
                gateway.faults = [fault, fault, fault, None, fault]
                self.run_command("disable", new)
                gateway.faults = [None, fault]
                self.run_command("delete", key, "--yes")
                self.assertEqual(len(self.made()), number)
                self.assertEqual(self.made()[new], {"name": "reports", "permissions": "read", "enabled": False})
        with self.gateway(*["throttled"] * 6):
            self.assertEqual(self.error("enable", SAMPLE), "gaia-keys: 429: Too Many Requests (after 6 attempts)\n")
