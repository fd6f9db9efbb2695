"""list, get, create, update, disable, enable, delete, verify: what they print, and what is stored then."""

import datetime
import json
import re
import unittest

from command import ODD, SAMPLE, Case
from local import KEYS, REGION, Gateway

STEER = "\x1b[31mred\x9b\n"
USAGE_PLAN_KEY = "usage-plan-key-of-reports"


class List(Case):
    def test_table(self):
        key = self.local.create(
            {"permissions": "write", "name": f"billing [bold] {STEER}", "expires_at": "2031-01-31T12:00:00.5+02:00", "x": 1.5}
            | {"allowed_ips": ["10.0.0.0/8", "2001:db8::1"]}
        )
        used = self.used(key, 100)
        self.local.create({"enabled": False, "expires_at": "2020-01-01T00:00:00Z"})
        self.local.create({"expires_at": "2020-01-01T00:00:00Z"})
        printed, told = self.run_command("list")
        self.assertEqual(told, "")
        self.assertNotRegex(printed, "_[0-9A-Z]{26}_")
        heading, *rows = [re.split(r"  +", line.strip()) for line in printed.splitlines()]
        self.assertEqual(heading, ["ID", "NAME", "GRANTS", "STATE", "EXPIRES", "ALLOWED IPS", "CREATED", "LAST USED"])
        today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
        self.assertEqual(rows[0], [SAMPLE, "read", "active", "2016-07-30"])
        self.assertEqual(
            rows[1],
            [key[:31], r"billing [bold] \x1b[31mred\x9b\n", "write", "active", "2031-01-31T12:00:00.5+02:00"]
            + ["10.0.0.0/8 2001:db8::1", today, used],
        )
        self.assertEqual([row[1] for row in rows[2:]], ["disabled", "expired"])

    def test_json_and_secrets_on_demand(self):
        key = self.local.create({"permissions": "read", "name": "ü"})
        used = self.used(key, 100)
        (entry,) = self.json("list", "--name", "ü")
        self.assertRegex(entry.pop("created_at"), r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertRegex(entry.pop("root_key_id"), "^[0-9a-f]{8}$")
        self.assertEqual(
            entry,
            {"key_id": key[:31], "state": "active", "created_by": "anonymous", "updated_at": None, "updated_by": None}
            | {"last_used_at": used, "rotated_from": None, "rotated_to": None, "config": self.local.list()[key]},
        )
        self.assertEqual([entry["api_key"] for entry in self.json("list", "--show-keys")], list(self.local.list()))
        self.assertIn(key, self.run_command("list", "--show-keys")[0])

    def test_filters(self):
        key = self.local.create({"name": "a"})
        self.local.create({"name": "b"})
        ids = lambda *options: [entry["key_id"] for entry in self.json("list", *options)]
        self.assertEqual(ids("--name", "a"), [key[:31]])
        self.assertEqual(ids("--name", "nobody's"), [])
        for old in ("2020-01-01", "2020-01-01T00:00:00+01:00", "90d", "1w", "24h"):
            self.assertEqual(ids("--older-than", old), [SAMPLE])
        self.assertEqual(ids("--older-than", "2016-07-30"), [])
        self.assertEqual(ids("--older-than", "99999w"), [])

    def test_use(self):
        hours = {"new": None, "busy": 1, "idle": 24 * 40, "old": 24 * 100, "never": None}
        keys = {name: self.local.create({"name": name}) for name in hours}
        names = lambda *options: [entry["config"].get("name", "sample") for entry in self.json("list", *options)]
        printed, told = self.run_command("list", "--never-used")
        self.assertIn("no key has a recorded use: check that the stack's parameter TrackUsage is true", told)
        for name in ("busy", "idle", "old", "never"):
            self.store(keys[name], "created_at", "2026-01-01T00:00:00.000Z")
            if hours[name]:
                self.used(keys[name], hours[name])
        self.assertEqual(names("--unused-for", "30d"), ["sample", "idle", "old", "never"])
        self.assertEqual(names("--unused-for", "90d"), ["sample", "old", "never"])
        self.assertEqual(names("--unused-for", "90d", "--name", "old"), ["old"])
        self.assertEqual(names("--never-used"), ["sample", "never", "new"])
        self.assertEqual(names("--never-used", "--older-than", "1d"), ["sample", "never"])
        self.assertEqual(names("--sort", "last_used_at"), ["sample", "new", "never", "old", "idle", "busy"])
        self.assertEqual(self.run_command("list", "--unused-for", "90d")[1], "")
        self.assertEqual(self.run_command("list", "--unused-for", "99999w"), ("", ""))

    def test_sorted(self):
        for name, days in (("b", 3), ("c", None), ("a", 2)):
            self.local.create({"name": name, "expires_at": days and self.in_days(days)})
        names = lambda field: [entry["config"].get("name") for entry in self.json("list", "--sort", field)]
        self.assertEqual(names("name"), ["a", "b", "c", None])
        self.assertEqual(names("expires_at"), ["a", "b", None, "c"])
        self.assertEqual(names("created_at"), [None, "b", "c", "a"])

    def in_days(self, days):
        return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)).isoformat()

    def test_what_expires_soon(self):
        expiring = ("list", "--expires-within", "14d", "--exit-code")
        self.local.create({"expires_at": self.in_days(15)})
        self.local.create({"expires_at": self.in_days(1), "enabled": False})
        self.local.create({"expires_at": "2020-01-01T00:00:00Z"})
        self.assertEqual(self.run_command(*expiring), ("", ""), "nothing for cron to mail")
        soon = self.local.create({"expires_at": self.in_days(13)})
        printed, told = self.run_command(*expiring, status=3)
        self.assertEqual(([line[:31] for line in printed.splitlines()[1:]], told), ([soon[:31]], ""))
        self.assertEqual([entry["key_id"] for entry in self.json(*expiring, status=3)], [soon[:31]])
        self.assertEqual([entry["key_id"] for entry in self.json(*expiring[:3])], [soon[:31]])
        self.error(*expiring, "--url", "http://127.0.0.1:1")

    def test_all_pages(self):
        """A list of more than 5.5 MB has pages."""
        text = json.dumps({"x": "y" * 4000})
        with self.local.table().batch_writer() as batch:
            for number in range(1500):
                item = {"service": "demo", "id": f"01BX5ZZKBKACTAV9WEVGEM{number:04}", "config": text}
                item |= {"root_key_id": "053bcb62", "created_at": "2018-01-01T00:00:00.000Z"}
                batch.put_item(Item=item)
        with Gateway(self.local) as gateway:
            gateway.faults = [None, "throttled"]
            printed, _ = self.run_command("list", address=gateway.address, auth="sigv4")
        self.assertEqual(len(printed.splitlines()), 1502)
        self.assertEqual([status for _, _, status in gateway.requests], [200, 429, 200])

    def test_items_that_the_service_did_not_write(self):
        for number, (name, config) in enumerate([("abc", "{}"), ("01ARZ3NDEKTSV4RRFFQ69G5FAW", "?")]):
            self.local.table().put_item(Item={"service": "demo", "id": name, "config": config, "root_key_id": "053bcb62"})
        entries = {entry["key_id"]: entry["state"] for entry in self.json("list")}
        self.assertEqual(entries, {SAMPLE: "active", "gaia_abc": "unreadable", "gaia_01ARZ3NDEKTSV4RRFFQ69G5FAW": "unreadable"})
        self.assertIn("unreadable", self.run_command("list")[0])
        for command in (["disable"], ["rotate", "--grace", "0"]):
            said = self.error(command[0], "gaia_01ARZ3NDEKTSV4RRFFQ69G5FAW", *command[1:], status=1)
            self.assertEqual(said, "gaia-keys: its stored config is invalid\n")
        self.assertIn("unreadable", self.run_command("get", "gaia_01ARZ3NDEKTSV4RRFFQ69G5FAW")[0])

    def test_ids_alone(self):
        with Gateway(self.local) as gateway:
            gateway.faults = ["done, then lost"]
            self.assertEqual(len(self.json("list", address=gateway.address, auth="sigv4")), 1)


class Disclosure(Case):
    variables = {"KEY_DISCLOSURE": "id"}

    def test_ids_in_place_of_keys(self):
        printed, _ = self.run_command("create", "reports", "--permissions", "read")
        key_id = printed[:31]
        printed, told = self.run_command("list", "--show-keys")
        self.assertIn(key_id, printed)
        self.assertEqual(told, "2 of 2 keys are shown by ID only: this deployment doesn't disclose secrets, or their root key isn't configured\n")
        self.assertEqual([entry["api_key"] for entry in self.json("list", "--show-keys")], [None, None])
        self.assertEqual(self.json("disable", key_id)[0]["state"], "disabled")
        printed, told = self.run_command("get", key_id, "--show-keys")
        self.assertRegex(printed, f"^key: +{key_id}\n")
        self.assertEqual(told, "the key is shown by ID only: this deployment doesn't disclose secrets, or its root key isn't configured\n")


class Get(Case):
    def test_details(self):
        key = self.local.create({"permissions": "read", "name": STEER, "x": {"y": 1}})
        self.run_command("update", key, "--expires", "2031-01-31", "--allowed-ip", "192.0.2.1")
        used = self.used(key, 100)
        printed, told = self.run_command("get", key)
        self.assertEqual(told, "")
        lines = dict(re.split(r": +", line, maxsplit=1) for line in printed.splitlines())
        self.assertRegex(lines.pop("created"), r"^20.*Z by anonymous$")
        self.assertRegex(lines.pop("updated"), r"^20.*Z by anonymous$")
        self.assertRegex(lines.pop("root key id"), "^[0-9a-f]{8}$")
        self.assertEqual(json.loads(lines.pop("config").replace("\\x9b", "\\u009b")), self.made()[key])
        self.assertEqual(
            lines,
            {"id": key[:31], "name": r"\x1b[31mred\x9b\n", "grants": "read", "state": "active"}
            | {"expires": "2031-01-31T00:00:00Z", "allowed ips": "192.0.2.1", "last used": used}
            | {"rotated from": "-", "rotated to": "-"},
        )
        self.assertIn(key, self.run_command("get", key, "--show-keys")[0])

    def test_json(self):
        key = self.local.create({"routes": ["GET /items/*"], "n": 1.5})
        (listed,) = [entry for entry in self.json("list", "--show-keys") if entry["api_key"] == key]
        self.assertEqual(self.json("get", key[:31], "--show-keys"), listed)
        self.assertNotIn("api_key", self.json("get", key))
        self.assertEqual(list(listed)[-1], "config")

    def test_from_standard_input(self):
        key = self.local.create({})
        self.assertEqual(self.json("get", "-", stdin=f"{key}\n")["key_id"], key[:31])
        self.assertIn("expected a key on standard input", self.error("get", "-", stdin="\n"))
        self.assertNotIn("secret", self.error("get", "-", stdin="a secret\n"))


class Create(Case):
    def test_the_key_alone_is_printed(self):
        printed, told = self.run_command("create", "reports", "--permissions", "read")
        self.assertEqual(self.made(), {printed.strip(): {"name": "reports", "permissions": "read"}})
        self.assertEqual(told, f"{printed[:31]} was created\n")

    def test_everything(self):
        made = self.json(
            *("create", "reports", "--permissions", "write", "--expires", "2031-01-31", "--allowed-ip", "10.0.0.0/8"),
            *("--allowed-ip", "192.0.2.1", "--usage-plan-key", USAGE_PLAN_KEY, "--config", "{" + ODD + "}"),
        )
        self.assertEqual(made["api_key"][:31], made["key_id"])
        self.assertEqual(
            self.items()[made["key_id"]],
            '{"name":"reports","permissions":"write","expires_at":"2031-01-31T00:00:00Z",'
            f'"allowed_ips":["10.0.0.0/8","192.0.2.1"],"usage_plan_key":"{USAGE_PLAN_KEY}",{ODD}}}',
        )

    def test_routes(self):
        routes = ["GET /items/*", "POST /search"]
        key = self.json("create", "search", "--route", routes[0], "--route", routes[1])["api_key"]
        self.assertEqual(self.made()[key], {"name": "search", "routes": routes})
        self.assertIn("GET /items/*, POST /search  active", self.run_command("list")[0])
        self.assertIn("422: config.routes.0: ", self.error("create", "x", "--route", "/search", status=1))

    def test_a_span(self):
        key = self.json("create", "reports", "--permissions", "read", "--expires", "90d")["api_key"]
        expires = datetime.datetime.fromisoformat(self.made()[key]["expires_at"])
        left = expires - datetime.datetime.now(datetime.timezone.utc)
        self.assertLess(abs(left - datetime.timedelta(days=90)), datetime.timedelta(minutes=1))
        far = self.json("create", "far", "--permissions", "read", "--expires", "99999w")["api_key"]
        self.assertRegex(self.made()[far]["expires_at"], r"^39\d\d-")

    def test_one_key_through_failures(self):
        for fault in ("throttled", "done, then 503", "done, then lost", lambda: None):
            with Gateway(self.local) as gateway:
                gateway.faults = [fault, fault]
                before = len(self.made())
                printed, _ = self.run_command("create", "reports", "--permissions", "read", address=gateway.address, auth="sigv4")
                self.assertIn(printed.strip(), self.made())
                self.assertEqual(len(self.made()), before + 1, fault)

    def test_rejected(self):
        for config, expected in [
            ('{"expiresAt": 1}', "gaia-keys: 422: config.expiresAt: unknown field; did you mean 'expires_at'?\n"),
            (json.dumps({"x": "y" * 4096}), "gaia-keys: 413: config exceeds 4096 bytes\n"),
            ('{"x": "\\ud800"}', "gaia-keys: unpaired UTF-16 surrogate\n"),
        ]:
            said = self.error("create", "reports", "--permissions", "read", "--config", config, status=1)
            self.assertIn(expected, said)
        said = self.error("create", "x", "--permissions", "read", "--allowed-ip", "192.0.2.1", "--allowed-ip", "x", status=1)
        self.assertIn("gaia-keys: 422: config.allowed_ips.1: value is not a valid IPv4", said)
        self.assertEqual(self.made(), {})


class Change(Case):
    def test_nothing_else_changes(self):
        """Digits, order and strings of other fields stay; a config that fitted still fits."""
        key_id = self.put(f'{{ "permissions" : "read", {ODD} }}')
        for arguments, fields in [
            (["disable", key_id], '"enabled":false'),
            (["enable", key_id], '"enabled":true'),
            (["update", key_id, "--expires", "2031-01-31T12:00:00+01:00"], '"enabled":true,"expires_at":"2031-01-31T11:00:00Z"'),
            (["update", key_id, "--expires", "never", "--name", "a"], '"enabled":true,"name":"a"'),
            (["update", key_id, "--name", "", "--config", '{"enabled": null, "g": 2.50}'], '"g":2.50'),
            (["update", key_id, "--allowed-ip", "192.0.2.1"], '"g":2.50,"allowed_ips":["192.0.2.1"]'),
            (["update", key_id, "--clear-allowed-ips"], '"g":2.50'),
            (["update", key_id, "--usage-plan-key", USAGE_PLAN_KEY], f'"g":2.50,"usage_plan_key":"{USAGE_PLAN_KEY}"'),
            (["update", key_id, "--usage-plan-key", ""], '"g":2.50'),
        ]:
            (entry,) = self.json(*arguments)
            self.assertEqual(self.items()[key_id], '{"permissions":"read",' + ODD + f",{fields}}}")
            self.assertEqual(entry["key_id"], key_id)
        printed, _ = self.run_command("update", key_id, "--permissions", "write", "--allowed-ip", "192.0.2.1")
        self.assertIn("write   active           192.0.2.1", printed)
        nulls = self.put('{"permissions":"read","tags":null,"enabled":null}')
        self.run_command("disable", nulls)
        self.assertEqual(self.items()[nulls], '{"permissions":"read","tags":null,"enabled":false}')
        self.run_command("update", nulls, "--permissions", "write", "--config", '{"enabled": null, "other": null}')
        self.assertEqual(self.items()[nulls], '{"permissions":"write","tags":null}')
        full = self.put('{"x": "' + "y" * 4067 + '", "a": 1}')
        self.run_command("enable", full)
        self.assertEqual(len(self.items()[full]), 4096)
        self.assertIn("413: config exceeds 4096 bytes", self.error("disable", full, "--json", status=1))

    def test_a_key_serves_as_its_id(self):
        key = self.local.create({})
        with Gateway(self.local, checks=False) as gateway:
            paths = []
            forward = gateway.forward
            gateway.forward = lambda *request: paths.append(request[2]) or forward(*request)
            self.run_command("disable", key, address=gateway.address)
        self.assertEqual(self.made(), {key: {"enabled": False}})
        self.assertNotRegex(" ".join(paths), key[31:])
        self.assertEqual(len(paths), 3, "one request finds it, one changes it, and one shows what it is now")
        self.assertEqual(self.json("verify", stdin=key, status=1), {"valid": False, "reason": "disabled"})
        self.run_command("enable", key)
        self.assertTrue(self.json("verify", stdin=key)["valid"])

    def test_permissions_and_routes_replace_each_other(self):
        key = self.local.create({"permissions": "read", "n": 1})
        self.run_command("update", key, "--route", "GET /items/*")
        self.assertEqual(self.made()[key], {"n": 1, "routes": ["GET /items/*"]})
        self.run_command("update", key, "--permissions", "write")
        self.assertEqual(self.made()[key], {"n": 1, "permissions": "write"})

    def test_what_is_not_there(self):
        ends = ["gaia_00000000000000000000000000", "gaia_7ZZZZZZZZZZZZZZZZZZZZZZZZZ"]
        for key_id in (*ends, SAMPLE[:-1] + "W", SAMPLE[:-1] + "T"):
            commands = (["get"], ["disable"], ["update", "--name", "x"], ["delete", "--yes"], ["rotate", "--grace", "0"])
            for command, *more in commands:
                self.assertEqual(self.error(command, key_id, *more, status=1), "gaia-keys: no such key\n")
        self.assertIn("nothing to change", self.error("update", SAMPLE))
        self.assertEqual(set(self.local.list()), self.before)

    def test_through_failures(self):
        key_id = self.put("{}")
        with Gateway(self.local) as gateway:
            gateway.faults = ["throttled", "done, then 503", "done, then 503", "done, then lost"]
            self.run_command("disable", key_id, address=gateway.address, auth="sigv4")
            self.assertEqual(self.items()[key_id], '{"enabled":false}')
            gateway.faults = ["throttled"] * 6
            said = self.error("enable", key_id, address=gateway.address, auth="sigv4")
            self.assertEqual(said, "gaia-keys: 429: Too Many Requests (after 6 attempts)\n")


class Delete(Case):
    def test_deleted(self):
        key = self.local.create({})
        self.assertIn("cannot prompt for confirmation (stdin is not a terminal); use --yes", self.error("delete", key))
        self.assertEqual(self.run_command("delete", key, "--yes"), ("", f"{key[:31]} was deleted\n"))
        self.assertEqual(self.made(), {})
        self.assertEqual(self.error("delete", key, "--yes", status=1), "gaia-keys: no such key\n")

    def test_a_lost_response(self):
        key = self.local.create({})
        with Gateway(self.local) as gateway:
            gateway.faults = [None, "done, then lost"]
            self.run_command("delete", key, "--yes", address=gateway.address, auth="sigv4")
            self.assertEqual([status for _, _, status in gateway.requests], [200, 404])
        self.assertEqual(self.made(), {})


class Verify(Case):
    def test_verdicts(self):
        key = self.local.create({"permissions": "read", "allowed_ips": ["192.0.2.0/24"]})
        from_there = ["--source-ip", "192.0.2.1"]
        self.assertEqual(self.run_command("verify", *from_there, stdin=f"{key}\n"), (f"valid: {key[:31]}\n", ""))
        for options, reason in [
            ([], "source_ip"),
            (["--source-ip", "192.0.3.1"], "source_ip"),
            ([*from_there, "--permission", "write"], "permission"),
        ]:
            self.assertEqual(self.run_command("verify", *options, stdin=key, status=1), (f"not valid: {reason}\n", ""))
        self.assertEqual(self.json("verify", *from_there, "--permission", "read", stdin=key)["config"], self.made()[key])
        self.assertEqual(self.run_command("verify", stdin="x\n", status=1)[0], "not valid: invalid\n")
        self.assertIn("422: source_ip", self.error("verify", "--source-ip", "here", stdin=key, status=1))

    def test_routes(self):
        key = self.local.create({"routes": ["GET /items/*"]})
        self.assertEqual(self.run_command("verify", "--route", "GET /items/1", stdin=key)[0], f"valid: {key[:31]}\n")
        self.assertEqual(self.run_command("verify", "--route", "POST /items", stdin=key, status=1)[0], "not valid: route\n")
        self.assertIn("422: route", self.error("verify", "--route", "items", stdin=key, status=1))

    def test_no_key_is_a_usage_error(self):
        """A variable that isn't set must not look like a key that isn't valid."""
        for stdin in ("", "\n", " \n"):
            self.assertIn("expected a key on standard input", self.error("verify", stdin=stdin))

    def test_a_key_with_a_byte_order_mark(self):
        """PowerShell and editors write one, and UTF-16."""
        key = self.local.create({})
        for encoding in ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"):
            for end in ("", "\n", "\r\n", "\r\nmore\r\n"):
                text = ("\ufeff" if encoding[-1] == "e" else "") + key + end
                self.assertEqual(self.run_command("verify", stdin=text.encode(encoding))[0], f"valid: {key[:31]}\n", (encoding, end))
        self.assertIn("standard input is neither UTF-8 nor UTF-16", self.error("verify", stdin=b"\xff" + key.encode()))

    def test_never_an_argument(self):
        key = self.local.create({})
        self.assertNotIn(key[31:], self.error("verify", key))
        self.assertNotIn(key[31:], self.error(key))
        self.assertNotIn(key[31:], self.error("list", "--sort", key))


class Usage(Case):
    def test_wrong_input(self):
        for arguments, expected in [
            ([], "Missing command"),
            (["lits"], "No such command 'lits'"),
            (["list", "--nmae", "x"], "No such option"),
            (["list", "--older-than", "yesterday"], "a date like 2027-01-31 or a time like 2027-01-31T12:00:00Z, or 90d"),
            (["list", "--older-than", "2027-01-31T12:00:00"], "expected a date"),
            (["list", "--older-than", "2027-02-31"], "expected a date"),
            (["list", "--older-than", "2027"], "expected a date"),
            (["create"], "Missing argument 'NAME'"),
            (["create", "x"], "expected --permissions or --route"),
            (["create", "x", "--permissions", "read", "--route", "GET /"], "either --permissions or --route"),
            (["update", SAMPLE, "--allowed-ip", "192.0.2.1", "--clear-allowed-ips"], "either --allowed-ip or"),
            (["create", "x", "--permissions", "admin"], "'admin' is not one of 'read', 'write'"),
            (["create", "x", "--permissions", "read", "--expires", "6m"], "90d, 12h, 2w"),
            (["create", "x", "--permissions", "read", "--expires", "soon"], "expected a date"),
            (["create", "x", "--permissions", "read", "--expires", "2026-01-01"], "'2026-01-01' is in the past"),
            (["update", SAMPLE, "--expires", "0"], "'0' is in the past"),
            (["create", "x", "--permissions", "read", "--config", "{"], "not valid JSON"),
            (["create", "x", "--permissions", "read", "--config", "[]"], "expected a JSON object"),
            (["create", "x", "--permissions", "read", "--config", '{"a": 1, "a": 2}'], "field named twice"),
            *[
                (command + ["--config", json.dumps({"team": "x", field: None})], f"{field}: use the option for this field")
                for command in (["create", "x", "--permissions", "read"], ["update", SAMPLE])
                for field in ("name", "permissions", "routes", "expires_at", "allowed_ips", "usage_plan_key")
            ],
            (["disable", "reports"], "expected a key, or its ID"),
            (["disable", SAMPLE.lower()], "expected a key, or its ID"),
            (["rotate", SAMPLE], "Missing option '--grace'"),
            (["rotate", SAMPLE, "--grace", "a week"], "expected a span like"),
            (["rotate", "--grace", "0"], "either a KEY or --older-than"),
            (["rotate", SAMPLE, "--older-than", "1d", "--grace", "0"], "either a KEY or --older-than"),
            (["rotate", "--older-than", "1d", "--grace", "0"], "--older-than needs --mapping"),
            (["rotate", "--older-than", "1d", "--grace", "0", "--mapping", "m.csv"], "stdin is not a terminal); use --yes"),
            (["rotate", SAMPLE, "--grace", "0", "--yes"], "go with --older-than"),
            (["rotate", SAMPLE, "--grace", "0", "--mapping", "m.csv"], "go with --older-than"),
            (["rotate", SAMPLE, "--grace", "0", "--dry-run"], "go with --older-than"),
            (["rotate", SAMPLE, "--grace", "366d"], "expected 365d at most"),
            (["list", "--sort", "color"], "is not one of 'created_at'"),
            (["list", "--unused-for", "2026-01-01"], "expected a span like"),
        ]:
            with self.subTest(arguments=arguments):
                self.assertIn(expected, self.error(*arguments))
        self.assertEqual(set(self.local.list()), self.before)

    def test_help(self):
        commands = re.findall(r"^  ([a-z]+) ", self.run_command("--help")[0].split("Commands:")[1], flags=re.MULTILINE)
        self.assertEqual(" ".join(commands), "create delete disable enable get import list rotate update verify")
        for command in commands:
            self.assertIn(f"Usage: gaia-keys {command}", self.run_command(command, "--help")[0])
            self.assertIn("\n  Example", self.run_command(command, "--help")[0])
        self.assertRegex(self.run_command("--version")[0], r"^gaia-keys, version \d+\.\d+\.\d+\n$")

    def test_how_the_api_is_reached(self):
        for variables, expected in [
            ({"GAIA_KEYS_URL": ""}, "Missing option '--url'"),
            ({"GAIA_KEYS_URL": "http://keys.example"}, "keys are sent only over https"),
            ({"GAIA_KEYS_URL": "keys.example"}, "expected https://HOST"),
            ({"GAIA_KEYS_AUTH": "bearer"}, "GAIA_KEYS_TOKEN is not set"),
            ({"GAIA_KEYS_AUTH": "sigv4", "AWS_REGION": ""}, "profile; use --region, or set GAIA_KEYS_AUTH=none for `cargo local`"),
            ({"GAIA_KEYS_AUTH": "sigv4", "AWS_ACCESS_KEY_ID": ""}, "no AWS credentials; use --profile"),
            ({"GAIA_KEYS_AUTH": "sigv4", "AWS_ACCESS_KEY_ID": ""}, "or set GAIA_KEYS_AUTH=none for `cargo local`"),
            ({"GAIA_KEYS_AUTH": "sigv4", "AWS_PROFILE": "nobody"}, "The config profile (nobody) could not be found"),
            ({"GAIA_KEYS_URL": "http://127.0.0.1:1"}, "no response from http://127.0.0.1:1 after 6 attempts: "),
            ({"GAIA_KEYS_URL": f"http://{self.local.dynamodb}"}, "is not JSON. Check that --url is the stack's ApiUrl."),
        ]:
            with self.subTest(variables):
                self.assertIn(expected, self.error("list", **variables))

    def test_credentials(self):
        profile = self.folder / "credentials"
        profile.write_text("[ops]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = a-secret-of/the+tests\n")
        nothing = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": "", "AWS_REGION": ""}
        with Gateway(self.local, token=None) as gateway:
            where = {"address": gateway.address, "auth": "sigv4", "AWS_SHARED_CREDENTIALS_FILE": str(profile)}
            self.run_command("list", "--profile", "ops", "--region", REGION, **where, **nothing)
            self.assertIn("403: signed for", self.error("list", "--profile", "ops", "--region", "elsewhere", **where, **nothing))
        with Gateway(self.local, checks=False) as gateway:
            seen = []
            forward = gateway.forward
            gateway.forward = lambda *request: seen.append(request[3]) or forward(*request)
            self.run_command("list", address=f"{gateway.address}{KEYS}/", auth="bearer", GAIA_KEYS_TOKEN="a.b.c")
        self.assertEqual(seen[0]["Authorization"], "Bearer a.b.c")

    def test_a_reader_that_goes_away(self):
        for options in ([], ["--json"]):
            process = self.start("list", *options)
            process.stdout.close()
            process.stdout = None
            told = process.communicate(timeout=60)[1]
            self.assertEqual((process.returncode, told), (1, ""))


if __name__ == "__main__":
    unittest.main()
