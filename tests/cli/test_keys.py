"""list, get, create, update, disable, enable, delete, verify, api: what they print, and what is stored then."""

import datetime
import json
import re
import unittest

from command import ODD, SAMPLE, Case, in_days

STEER = "\x1b[31mred\x9b\n"
USAGE_PLAN_KEY = "usage-plan-key-of-reports"
NOBODYS = SAMPLE[:-1] + "W"


class List(Case):
    def names(self, *options, **where):
        return [entry["config"].get("name", "sample") for entry in self.json("list", *options, **where)]

    def test_table(self):
        config = {"permissions": "write", "name": f"b [bold] {STEER}", "expires_at": "2031-01-31T12:00:00.5+02:00", "x": 1.5}
        key = self.local.create(config | {"allowed_ips": ["10.0.0.0/8", "2001:db8::1"]})
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
        row = [key[:31], r"b [bold] \x1b[31mred\x9b\n", "write", "active", "2031-01-31T12:00:00.5+02:00"]
        self.assertEqual(rows[1], [*row, "10.0.0.0/8 2001:db8::1", today, used])
        self.assertEqual([row[1] for row in rows[2:]], ["disabled", "expired"])
        printed, _ = self.run_command("list", "--state", "active", "--name", "nobody's")
        self.assertEqual(printed, "")
        printed, _ = self.run_command("list", "--older-than", "2017-01-01")
        self.assertEqual(printed.splitlines()[0].split(), ["ID", "GRANTS", "STATE", "CREATED"], "no empty column")

    def test_json_and_secrets_on_demand(self):
        key = self.local.create({"permissions": "read", "name": "ü"})
        used = self.used(key, 100)
        (entry,) = self.json("list", "--name", "ü")
        self.assertRegex(entry.pop("created_at"), r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertRegex(entry.pop("root_key_id"), "^[0-9a-f]{8}$")
        nothing = dict.fromkeys(("updated_at", "updated_by", "rotated_from", "rotated_to"))
        shown = {"key_id": key[:31], "state": "active", "created_by": "anonymous", "last_used_at": used}
        self.assertEqual(entry, shown | nothing | {"config": self.local.list()[key]})
        self.assertEqual(list(entry)[-1], "config")
        self.assertEqual([each["api_key"] for each in self.json("list", "--show-keys")], list(self.local.list()))
        self.assertIn(key, self.run_command("list", "--show-keys")[0])
        self.assertEqual(self.json("get", key[:31], "--show-keys"), self.json("list", "--show-keys")[1])
        self.assertNotIn("api_key", self.json("get", key))

    def test_filters(self):
        a = {"team": "search", "limit": 100, "tags": [1, {"b": 2}], "name": "a"}
        self.store(self.local.create(a), "created_by", "arn:aws:sts::1:assumed-role/Ops/alice")
        self.local.create({"team": "100", "limit": 100.5, "owner": "alice", "name": "b", "enabled": False})
        self.store(self.local.create({"name": "c", "on": True}), "config", '{"name":"c","team":?}')
        old = [["--older-than", when] for when in ("2020-01-01", "2020-01-01T00:00:00+01:00", "90d", "1w", "24h")]
        for options, names in [
            (["--name", "a"], ["a"]),
            (["--name", "nobody's"], []),
            *[(options, ["sample"]) for options in old],
            (["--older-than", "2016-07-30"], []),
            (["--older-than", "99999w"], []),
            (["--where", "team=search"], ["a"]),
            (["--where", 'team="search"'], ["a"]),
            (["--where", "team=100"], []),
            (["--where", 'team="100"'], ["b"]),
            (["--where", "limit=1e2"], ["a"]),
            (["--where", 'tags=[1.0, {"b": 2}]'], ["a"]),
            (["--where", "tags=[1]"], []),
            (["--where", "enabled=false"], ["b"]),
            (["--where", "enabled=0"], []),
            (["--where", "team=search", "--where", "limit=100.5"], []),
            (["--where", "team=null"], ["sample"]),
            (["--where", "a=b=c"], []),
            (["--owner", "alice"], ["a", "b"]),
            (["--owner", "arn:aws:sts::1:assumed-role/Ops/alice", "--owner", "nobody"], ["a"]),
            (["--owner", "alice", "--state", "active"], ["a"]),
            (["--state", "disabled", "--state", "unreadable"], ["b", "sample"]),
        ]:
            with self.subTest(options):
                entries = self.json("list", *options)
                self.assertEqual([(each["config"] or {}).get("name", "sample") for each in entries], names)
        self.assertEqual(self.run_command("list", "--where", "team=search", "--exit-code", status=3)[1], "")
        self.assertEqual(self.run_command("list", "--where", "team=nobody's", "--exit-code"), ("", ""))

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

    def test_sorted(self):
        for name, days in (("b", 3), ("c", None), ("a", 2)):
            self.local.create({"name": name, "expires_at": days and in_days(days)})
        self.assertEqual(self.names("--sort", "name"), ["a", "b", "c", "sample"])
        self.assertEqual(self.names("--sort", "expires_at"), ["a", "b", "sample", "c"])
        self.assertEqual(self.names("--sort", "created_at"), ["sample", "b", "c", "a"])

    def test_what_expires_soon(self):
        expiring = ("list", "--expires-within", "14d", "--exit-code")
        for config in ({"expires_at": in_days(15)}, {"expires_at": in_days(1), "enabled": False}, {"expires_at": "2020-01-01T00:00:00Z"}):
            self.local.create(config)
        self.assertEqual(self.run_command(*expiring), ("", ""), "nothing for cron to mail")
        soon = self.local.create({"expires_at": in_days(13)})
        printed, told = self.run_command(*expiring, status=3)
        self.assertEqual(([line[:31] for line in printed.splitlines()[1:]], told), ([soon[:31]], ""))
        self.error(*expiring, "--url", "http://127.0.0.1:1")

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


class Disclosure(Case):
    variables = {"KEY_DISCLOSURE": "id"}

    def test_ids_in_place_of_keys(self):
        key_id = self.run_command("create", "reports", "--permissions", "read")[0][:31]
        printed, told = self.run_command("list", "--show-keys")
        self.assertIn(key_id, printed)
        why = "this deployment doesn't disclose secrets, or"
        self.assertEqual(told, f"2 of 2 keys are shown by ID only: {why} their root key isn't configured\n")
        self.assertEqual([entry["api_key"] for entry in self.json("list", "--show-keys")], [None, None])
        self.assertEqual(self.json("disable", key_id)[0]["state"], "disabled")
        printed, told = self.run_command("get", key_id, "--show-keys")
        self.assertRegex(printed, f"^key: +{key_id}\n")
        self.assertEqual(told, f"the key is shown by ID only: {why} its root key isn't configured\n")


class Change(Case):
    def test_get(self):
        key = self.local.create({"permissions": "read", "name": STEER, "x": {"y": 1}})
        self.run_command("update", key, "--expires", "2031-01-31", "--allowed-ip", "192.0.2.1")
        used = self.used(key, 100)
        lines = dict(re.split(r": +", line, maxsplit=1) for line in self.run_command("get", key)[0].splitlines())
        for change in ("created", "updated"):
            self.assertRegex(lines.pop(change), r"^20.*Z by anonymous$")
        self.assertRegex(lines.pop("root key id"), "^[0-9a-f]{8}$")
        self.assertEqual(json.loads(lines.pop("config").replace("\\x9b", "\\u009b")), self.made()[key])
        expected = {"id": key[:31], "name": r"\x1b[31mred\x9b\n", "grants": "read", "state": "active", "last used": used}
        expected |= {"expires": "2031-01-31T00:00:00Z", "allowed ips": "192.0.2.1"}
        self.assertEqual(lines, expected | {"rotated from": "-", "rotated to": "-"})
        self.assertIn(key, self.run_command("get", key, "--show-keys")[0])
        self.assertEqual(self.json("get", "-", stdin=f"{key}\n")["key_id"], key[:31])
        self.assertIn("expected a key on standard input", self.error("get", "-", stdin="\n"))
        self.assertNotIn("secret", self.error("get", "-", stdin="a secret\n"))

    def test_create(self):
        printed, told = self.run_command("create", "reports", "--permissions", "read")
        self.assertEqual(self.made(), {printed.strip(): {"name": "reports", "permissions": "read"}})
        self.assertEqual(told, f"{printed[:31]} was created\n")
        options = ["--permissions", "write", "--expires", "2031-01-31", "--allowed-ip", "10.0.0.0/8", "--allowed-ip", "192.0.2.1"]
        options += ["--usage-plan-key", USAGE_PLAN_KEY, "--config", f"{{{ODD}}}"]
        made = self.json("create", "reports", *options)
        self.assertEqual(made["api_key"][:31], made["key_id"])
        fields = '{"name":"reports","permissions":"write","expires_at":"2031-01-31T00:00:00Z","allowed_ips":["10.0.0.0/8","192.0.2.1"]'
        self.assertEqual(self.items()[made["key_id"]], f'{fields},"usage_plan_key":"{USAGE_PLAN_KEY}",{ODD}}}')
        routes = ["GET /items/*", "POST /search"]
        key = self.json("create", "search", "--route", routes[0], "--route", routes[1], "--expires", "90d")["api_key"]
        expires = datetime.datetime.fromisoformat(self.made()[key].pop("expires_at").replace("Z", "+00:00"))
        self.assertLess(abs(expires - datetime.datetime.fromisoformat(in_days(90))), datetime.timedelta(minutes=1))
        self.assertEqual(self.made()[key]["routes"], routes)
        self.assertIn("GET /items/*, POST /search  active", self.run_command("list")[0])
        far = self.json("create", "far", "--permissions", "read", "--expires", "99999w")["api_key"]
        self.assertRegex(self.made()[far]["expires_at"], r"^39\d\d-")

    def test_one_key_through_failures(self):
        for number, fault in enumerate(("throttled", "done, then 503", "done, then lost", lambda: None), 1):
            with self.gateway(fault, fault):
                key = self.run_command("create", "reports", "--permissions", "read")[0].strip()
            self.assertIn(key, self.made())
            self.assertEqual(len(self.made()), number, fault)

    def test_rejected(self):
        read = ["create", "x", "--permissions", "read"]
        for options, expected in [
            ([*read, "--config", '{"expiresAt": 1}'], "422: config.expiresAt: unknown field; did you mean 'expires_at'?\n"),
            ([*read, "--config", json.dumps({"x": "y" * 4096})], "413: config exceeds 4096 bytes\n"),
            ([*read, "--config", '{"x": "\\ud800"}'], "gaia-keys: unpaired UTF-16 surrogate\n"),
            ([*read, "--allowed-ip", "192.0.2.1", "--allowed-ip", "x"], "422: config.allowed_ips.1: value is not a valid IPv4"),
            (["create", "x", "--route", "/search"], "422: config.routes.0: "),
        ]:
            self.assertIn(expected, self.error(*options, status=1))
        self.assertEqual(self.made(), {})

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
        for before, arguments, after in [
            ('{"permissions":"read","tags":null,"enabled":null}', ["disable"], '{"permissions":"read","tags":null,"enabled":false}'),
            ('{"tags":null,"enabled":null}', ["update", "--config", '{"enabled": null, "other": null}'], '{"tags":null}'),
            ('{"permissions":"read","n":1}', ["update", "--route", "GET /items/*"], '{"n":1,"routes":["GET /items/*"]}'),
            ('{"n":1,"routes":["GET /items/*"]}', ["update", "--permissions", "write"], '{"n":1,"permissions":"write"}'),
            ('{"x": "' + "y" * 4067 + '", "a": 1}', ["enable"], '{"x":"' + "y" * 4067 + '","a":1,"enabled":true}'),
        ]:
            key_id = self.put(before)
            self.run_command(arguments[0], key_id, *arguments[1:])
            self.assertEqual(self.items()[key_id], after)
        self.assertIn("413: config exceeds 4096 bytes", self.error("disable", key_id, "--json", status=1))

    def test_a_key_serves_as_its_id(self):
        key = self.local.create({})
        with self.gateway(checks=False) as gateway:
            paths, forward = [], gateway.forward
            gateway.forward = lambda *request: paths.append(request[2]) or forward(*request)
            self.run_command("disable", key)
        self.assertEqual(self.made(), {key: {"enabled": False}})
        self.assertNotRegex(" ".join(paths), key[31:])
        self.assertEqual(len(paths), 3, "one request finds it, one changes it, and one shows what it is now")
        self.assertEqual(self.json("verify", stdin=key, status=1), {"valid": False, "reason": "disabled"})
        self.run_command("enable", key)
        self.assertTrue(self.json("verify", stdin=key)["valid"])

    def test_what_is_not_there(self):
        for key_id in ("gaia_00000000000000000000000000", "gaia_7ZZZZZZZZZZZZZZZZZZZZZZZZZ", NOBODYS, SAMPLE[:-1] + "T"):
            for command, *more in (["get"], ["disable"], ["update", "--name", "x"], ["delete", "--yes"], ["rotate", "--grace", "0"]):
                self.assertEqual(self.error(command, key_id, *more, status=1), "gaia-keys: no such key\n")
        self.assertEqual(set(self.local.list()), self.before)

    def test_through_failures(self):
        key_id = self.put("{}")
        with self.gateway("throttled", "done, then 503", "done, then 503", "done, then lost") as gateway:
            self.run_command("disable", key_id)
            self.assertEqual(self.items()[key_id], '{"enabled":false}')
            gateway.faults = ["throttled"] * 6
            self.assertEqual(self.error("enable", key_id), "gaia-keys: 429: Too Many Requests (after 6 attempts)\n")
        key = self.local.create({})
        with self.gateway(None, "done, then lost") as gateway:
            self.run_command("delete", key, "--yes")
            self.assertEqual([status for _, _, status in gateway.requests], [200, 404])

    def test_delete(self):
        one, *more = (self.local.create({"name": name})[:31] for name in "abc")
        self.assertIn("cannot prompt for confirmation (stdin is not a terminal); use --yes", self.error("delete", one))
        self.assertEqual(self.run_command("delete", one, "--yes"), ("", f"{one} was deleted\n"))
        self.assertEqual(self.error("delete", one, *more, one, "--yes", status=1), f"gaia-keys: no such key: {one}\n")
        self.assertEqual(len(self.made()), 2, "none of them is deleted then")
        told = self.run_command("delete", *more, more[0], "--yes")[1]
        self.assertEqual(told, "".join(f"{key_id} was deleted\n" for key_id in more))
        self.assertEqual(self.made(), {})

    def test_verify(self):
        key = self.local.create({"permissions": "read", "allowed_ips": ["192.0.2.0/24"]})
        for_route = self.local.create({"routes": ["GET /items/*"]})
        there = ["--source-ip", "192.0.2.1"]
        for options, stdin, says in [
            (there, f"{key}\n", f"valid: {key[:31]}"),
            ([], key, "not valid: source_ip"),
            (["--source-ip", "192.0.3.1"], key, "not valid: source_ip"),
            ([*there, "--permission", "write"], key, "not valid: permission"),
            (["--route", "GET /items/1"], for_route, f"valid: {for_route[:31]}"),
            (["--route", "POST /items"], for_route, "not valid: route"),
            ([], "x\n", "not valid: invalid"),
            # PowerShell and editors write a mark, and UTF-16.
            *[(there, ("\ufeff" + key + "\r\nmore").encode(code), f"valid: {key[:31]}") for code in ("utf-8", "utf-16-le", "utf-16-be")],
        ]:
            self.assertEqual(self.run_command("verify", *options, stdin=stdin, status=int(says[0] == "n")), (f"{says}\n", ""))
        self.assertEqual(self.json("verify", *there, "--permission", "read", stdin=key)["config"], self.made()[key])
        self.assertIn("422: source_ip", self.error("verify", "--source-ip", "here", stdin=key, status=1))
        self.assertIn("422: route", self.error("verify", "--route", "items", stdin=for_route, status=1))
        for stdin in ("", "\n", " \n"):  # a variable that isn't set must not look like a key that isn't valid
            self.assertIn("expected a key on standard input", self.error("verify", stdin=stdin))
        self.assertIn("standard input is neither UTF-8 nor UTF-16", self.error("verify", stdin=b"\xff" + key.encode()))
        for arguments in (["verify", key], [key], ["list", "--sort", key]):
            self.assertNotIn(key[31:], self.error(*arguments))

    def test_api(self):
        created = self.run_command("api", "post", "/", "--data", '{"config": {"n": 1.50}}')[0]
        key = json.loads(created)["api_key"]
        self.assertEqual(created, f'{{"api_key":"{key}","result":"created"}}\n')
        (self.folder / "body").write_text('{"config": {"n": 2}}')
        for data, stdin, n in (("@body", "", 2), ("-", '{"config": {"n": 3}}', 3)):
            with self.gateway():
                self.run_command("api", "PUT", f"/{key}", "--data", data, stdin=stdin)
            self.assertEqual(self.made(), {key: {"n": n}})
        with self.gateway():  # the query is signed as it is sent
            printed = self.run_command("api", "GET", "/?limit=2&details=true")[0]
        self.assertEqual([entry["api_key"] for entry in json.loads(printed)], list(self.local.list()))
        for path, body, status in (("/nothing/here", '{"detail":"Not Found"}', 404), (f"/{key}/rotate", "", 405)):
            printed, told = self.run_command("api", "GET", path, status=1)
            self.assertIn(body, printed)
            self.assertRegex(told, rf"^gaia-keys: {status} \(GET http://127.0.0.1:\d+/es/api/v1/credentials/api_keys/")
        with self.gateway("done, then lost", checks=False) as gateway:
            self.assertIn("no response from", self.error("api", "POST", "/", "--data", "{}"))
            self.assertEqual(len(gateway.requests), 0, "a POST may be carried out, so it isn't sent again")
        self.assertIn("expected a path like", self.error("api", "GET", "//evil\\@example/"))
        self.assertIn("nofile: No such file or directory", self.error("api", "POST", "/", "--data", "@nofile"))


if __name__ == "__main__":
    unittest.main()
