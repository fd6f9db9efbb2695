"""list, create, update, disable, enable, delete, verify: what is printed, and what is stored then."""

import datetime
import json
import re
import unittest

from command import ODD, SAMPLE, Case
from local import KEYS, REGION, Gateway

STEER = "\x1b[31mred\x9b\n"


class List(Case):
    def test_table(self):
        key = self.local.create(
            {"permissions": "write", "name": f"billing [bold] {STEER}", "expires_at": "2031-01-31T12:00:00.5+02:00", "x": 1.5}
            | {"allowed_ips": ["10.0.0.0/8", "2001:db8::1"]}
        )
        self.local.create({"enabled": False, "expires_at": "2020-01-01T00:00:00Z"})
        self.local.create({"expires_at": "2020-01-01T00:00:00Z"})
        printed, told = self.run_command("list")
        self.assertEqual(told, "")
        self.assertNotRegex(printed, "_[0-9A-Z]{26}_")
        heading, *rows = [re.split(r"  +", line.strip()) for line in printed.splitlines()]
        self.assertEqual(heading, ["key_id", "name", "permissions", "state", "expires_at", "allowed_ips", "created"])
        today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
        self.assertEqual(rows[0], [SAMPLE, "read", "active", "2016-07-30"])
        self.assertEqual(
            rows[1],
            [key[:31], r"billing [bold] \x1b[31mred\x9b\n", "write", "active", "2031-01-31T12:00:00.5+02:00"]
            + ["10.0.0.0/8 2001:db8::1", today],
        )
        self.assertEqual([row[1] for row in rows[2:]], ["disabled", "expired"])

    def test_json_and_secrets_on_demand(self):
        key = self.local.create({"permissions": "read", "name": "ü"})
        (entry,) = self.json("list", "--name", "ü")
        self.assertRegex(entry.pop("created"), r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        self.assertEqual(entry, {"key_id": key[:31], "state": "active", "config": self.local.list()[key]})
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

    def test_all_pages(self):
        """A list of more than 5.5 MB has pages."""
        text = json.dumps({"x": "y" * 4000})
        with self.local.table().batch_writer() as batch:
            for number in range(1500):
                item = {"service": "demo", "id": f"01BX5ZZKBKACTAV9WEVGEM{number:04}", "config": text, "root_key_id": "053bcb62"}
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
        self.assertIn("not one that the service wrote", self.error("disable", "gaia_01ARZ3NDEKTSV4RRFFQ69G5FAW", status=1))

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
        self.assertEqual(told, "2 of 2 by their ids: the service doesn't show these keys\n")
        self.assertEqual([entry["api_key"] for entry in self.json("list", "--show-keys")], [None, None])
        self.assertEqual(self.json("disable", key_id)[0]["state"], "disabled")


class Create(Case):
    def test_the_key_alone_is_printed(self):
        printed, told = self.run_command("create", "reports", "--permissions", "read")
        self.assertEqual(self.made(), {printed.strip(): {"name": "reports", "permissions": "read"}})
        self.assertEqual(told, f"{printed[:31]} was made\n")

    def test_everything(self):
        made = self.json(
            *("create", "reports", "--permissions", "write", "--expires", "2031-01-31", "--allowed-ip", "10.0.0.0/8"),
            *("--allowed-ip", "192.0.2.1", "--config", "{" + ODD + "}"),
        )
        self.assertEqual(made["api_key"][:31], made["key_id"])
        self.assertEqual(
            self.items()[made["key_id"]],
            '{"name":"reports","permissions":"write","expires_at":"2031-01-31T00:00:00Z",'
            f'"allowed_ips":["10.0.0.0/8","192.0.2.1"],{ODD}}}',
        )

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

    def test_refused(self):
        for config, expected in [
            ('{"expiresAt": 1}', "gaia-keys: 422: config.expiresAt: unknown field; did you mean 'expires_at'?\n"),
            ('{"allowed_ips": ["192.0.2.1", "x"]}', "gaia-keys: 422: config.allowed_ips.1: value is not a valid IPv4"),
            (json.dumps({"x": "y" * 4096}), "gaia-keys: 413: config exceeds 4096 bytes\n"),
            ('{"x": "\\ud800"}', "gaia-keys: half of a character (a lone surrogate)\n"),
        ]:
            said = self.error("create", "reports", "--permissions", "read", "--config", config, status=1)
            self.assertIn(expected, said)
        self.assertEqual(self.made(), {})


class Change(Case):
    def test_nothing_else_changes(self):
        """Digits, order and texts of members that were not meant; the whole fits where it fitted."""
        key_id = self.put(f'{{ "permissions" : "read", {ODD} }}')
        for arguments, members in [
            (["disable", key_id], '"enabled":false'),
            (["enable", key_id], '"enabled":true'),
            (["update", key_id, "--expires", "2031-01-31T12:00:00+01:00"], '"enabled":true,"expires_at":"2031-01-31T11:00:00Z"'),
            (["update", key_id, "--expires", "never", "--name", "a"], '"enabled":true,"name":"a"'),
            (["update", key_id, "--config", '{"enabled": null, "name": null, "g": 2.50}'], '"g":2.50'),
        ]:
            (entry,) = self.json(*arguments)
            self.assertEqual(self.items()[key_id], '{"permissions":"read",' + ODD + f",{members}}}")
            self.assertEqual(entry["key_id"], key_id)
        printed, _ = self.run_command("update", key_id, "--permissions", "write", "--allowed-ip", "192.0.2.1")
        self.assertIn("write        active              192.0.2.1", printed)
        full = self.put('{"x": "' + "y" * 4067 + '", "a": 1}')
        self.run_command("enable", full)
        self.assertEqual(len(self.items()[full]), 4096)
        self.assertIn("413: config exceeds 4096 bytes", self.error("disable", full, "--output", "json", status=1))

    def test_a_key_serves_as_its_id(self):
        key = self.local.create({})
        with Gateway(self.local, checks=False) as gateway:
            paths = []
            forward = gateway.forward
            gateway.forward = lambda *request: paths.append(request[2]) or forward(*request)
            self.run_command("disable", key, address=gateway.address)
        self.assertEqual(self.made(), {key: {"enabled": False}})
        self.assertNotRegex(" ".join(paths), key[31:])
        self.assertEqual(len(paths), 2, "one request finds it")
        self.assertEqual(self.json("verify", stdin=key, status=1), {"valid": False, "reason": "disabled"})
        self.run_command("enable", key)
        self.assertTrue(self.json("verify", stdin=key)["valid"])

    def test_what_is_not_there(self):
        ends = ["gaia_00000000000000000000000000", "gaia_7ZZZZZZZZZZZZZZZZZZZZZZZZZ"]
        for key_id in (*ends, SAMPLE[:-1] + "W", SAMPLE[:-1] + "T"):
            for command, *more in (["disable"], ["update", "--name", "x"], ["delete", "--yes"], ["rotate", "--grace", "0"]):
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
            self.assertEqual(said, "gaia-keys: 429: Too Many Requests, 6 times\n")


class Delete(Case):
    def test_deleted(self):
        key = self.local.create({})
        self.assertIn("--yes is needed", self.error("delete", key))
        self.assertEqual(self.run_command("delete", key, "--yes"), ("", f"{key[:31]} was deleted\n"))
        self.assertEqual(self.made(), {})
        self.assertEqual(self.error("delete", key, "--yes", status=1), "gaia-keys: no such key\n")

    def test_a_lost_answer(self):
        key = self.local.create({})
        with Gateway(self.local) as gateway:
            gateway.faults = ["done, then lost"]
            self.run_command("delete", key, "--yes", address=gateway.address, auth="sigv4")
            self.assertEqual([status for _, _, status in gateway.requests], [404])
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

    def test_no_key_is_wrong_usage(self):
        """A variable that isn't set must not look like a key that isn't valid."""
        for stdin in ("", "\n", " \n"):
            self.assertIn("expected a key on standard input", self.error("verify", stdin=stdin))

    def test_never_an_argument(self):
        key = self.local.create({})
        self.assertNotIn(key[31:], self.error("verify", key))
        self.assertNotIn(key[31:], self.error(key))
        self.assertNotIn(key[31:], self.error("list", "--output", key))


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
            (["create", "x"], "Missing option '--permissions'"),
            (["create", "x", "--permissions", "admin"], "'admin' is not one of 'read', 'write'"),
            (["create", "x", "--permissions", "read", "--expires", "6m"], "90d, 12h, 2w"),
            (["create", "x", "--permissions", "read", "--expires", "never"], "expected a date"),
            (["create", "x", "--permissions", "read", "--expires", "2026-01-01"], "that is over"),
            (["update", SAMPLE, "--expires", "0"], "that is over"),
            (["create", "x", "--permissions", "read", "--config", "{"], "no JSON"),
            (["create", "x", "--permissions", "read", "--config", "[]"], "expected an object"),
            (["create", "x", "--permissions", "read", "--config", '{"a": 1, "a": 2}'], "member named twice: a"),
            (["disable", "reports"], "expected a key's id"),
            (["disable", SAMPLE.lower()], "expected a key's id"),
            (["rotate", SAMPLE], "Missing option '--grace'"),
            (["rotate", SAMPLE, "--grace", "a week"], "expected a span like"),
            (["rotate", "--grace", "0"], "either an ID or --older-than"),
            (["rotate", SAMPLE, "--older-than", "1d", "--grace", "0"], "either an ID or --older-than"),
            (["rotate", "--older-than", "1d", "--grace", "0"], "--older-than needs --mapping"),
        ]:
            with self.subTest(arguments=arguments):
                self.assertIn(expected, self.error(*arguments))
        self.assertEqual(set(self.local.list()), self.before)

    def test_help(self):
        commands = re.findall(r"^  ([a-z]+) ", self.run_command("--help")[0].split("Commands:")[1], flags=re.MULTILINE)
        self.assertEqual(commands, ["create", "delete", "disable", "enable", "import", "list", "rotate", "update", "verify"])
        for command in commands:
            self.assertIn(f"Usage: gaia-keys {command}", self.run_command(command, "--help")[0])
        self.assertRegex(self.run_command("--version")[0], r"^gaia-keys, version \d+\.\d+\.\d+\n$")

    def test_how_the_api_is_reached(self):
        for variables, expected in [
            ({"GAIA_KEYS_URL": ""}, "Missing option '--url'"),
            ({"GAIA_KEYS_URL": "http://keys.example"}, "keys are only sent over https"),
            ({"GAIA_KEYS_URL": "keys.example"}, "expected https://HOST"),
            ({"GAIA_KEYS_AUTH": "bearer"}, "GAIA_KEYS_TOKEN is not set"),
            ({"GAIA_KEYS_AUTH": "sigv4", "AWS_REGION": ""}, "use --region, or set GAIA_KEYS_AUTH=none for `cargo local`"),
            ({"GAIA_KEYS_AUTH": "sigv4", "AWS_ACCESS_KEY_ID": ""}, "no AWS credentials: use --profile"),
            ({"GAIA_KEYS_AUTH": "sigv4", "AWS_ACCESS_KEY_ID": ""}, "or set GAIA_KEYS_AUTH=none for `cargo local`"),
            ({"GAIA_KEYS_AUTH": "sigv4", "AWS_PROFILE": "nobody"}, "The config profile (nobody) could not be found"),
            ({"GAIA_KEYS_URL": "http://127.0.0.1:1"}, "Connection refused, 6 times"),
            ({"GAIA_KEYS_URL": f"http://{self.local.dynamodb}"}, "is this the management API?"),
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
        for output in ("table", "json"):
            process = self.start("list", "--output", output)
            process.stdout.close()
            process.stdout = None
            told = process.communicate(timeout=60)[1]
            self.assertEqual((process.returncode, told), (1, ""))


if __name__ == "__main__":
    unittest.main()
