"""The restore of docs/operations.md, done: its program and its commands on a table that is put back."""

import datetime
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

from local import KEYS, ROOT, Local, blocks, environment

OPERATIONS = (ROOT / "docs/operations.md").read_text()

class Restore(unittest.TestCase):
    """The table is put back to a point in time, and the runbook's program changes again what was changed since."""

    soon = f"{datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=30):%Y-%m-%dT%H:%M:%SZ}"
    wide = {"permissions": "write", "team": "süd", "n": 123456789012345678901234567890}

    def setUp(self):
        self.local = self.enterContext(Local())
        self.table = self.local.table()
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        (program,) = blocks("docs/operations.md", "python")
        (self.folder / "replay.py").write_text(program)

    def before(self):
        self.keys = {name: self.local.create(self.wide) for name in ("kept", "deleted", "narrowed", "disabled", "twice")}
        over = {"permissions": "read", "enabled": False, "expires_at": "2020-01-01T00:00:00Z"}
        self.keys["mended"] = self.local.create(over)
        self.keys["routed"] = self.local.create({"routes": ["GET /*"], "team": "süd"})
        self.keys["rotated"] = self.local.create(self.wide)
        self.keys["rotated, ends sooner"] = self.local.create(self.wide | {"expires_at": self.soon})
        self.keys["retried"] = self.create_once()

    def create_once(self):
        headers = {"Idempotency-Key": "retried"}
        return self.local.send("POST", KEYS, {"config": self.wide}, headers)[1]["api_key"]

    def since(self):
        """What is changed after the point in time; the log's lines of it."""
        local, keys, wide, self.expires_at = self.local, self.keys, self.wide, {}
        start = len(local.log(len(keys)))
        change = lambda name, config: local.send("PUT", f"{KEYS}/{keys[name]}", {"config": config})
        limits = {"expires_at": "2031-01-01T00:00:00.5+02:00", "allowed_ips": ["192.0.2.1", "2001:db8::/32"]}
        local.send("DELETE", f"{KEYS}/delete/{keys['deleted']}")
        change("narrowed", wide | {"permissions": "read"} | limits)
        change("disabled", wide | {"enabled": False})
        change("twice", wide | {"enabled": False})
        change("twice", {})
        change("mended", {"permissions": "read"})
        change("retried", {"permissions": "read"})
        self.assertEqual(self.create_once(), keys["retried"])
        change("routed", {"routes": ["GET /a", "POST /b"]})
        change("rotated", wide | {"permissions": "read"})
        for name, rotation in (
            ("rotated", {"grace_seconds": 31_536_000}),
            ("rotated, ends sooner", {"grace_seconds": 31_536_000, "expires_at": "2033-01-01T00:00:00Z"}),
        ):
            response = local.send("POST", f"{KEYS}/{keys[name]}/rotate", rotation)[1]
            keys[f"{name}: new"], self.expires_at[name] = response["api_key"], response["rotated_from_expires_at"]
        keys["new"] = local.create({})
        keys["gone"] = local.create({})
        local.send("DELETE", f"{KEYS}/delete/{keys['gone']}")
        return [{"message": json.dumps(line), "eventId": "x"} for line in local.log(start + 15)[start:]]

    def replay(self, response, service="demo"):
        """Runs the program on what `aws logs filter-log-events` prints."""
        file = self.folder / "changes.json"
        file.write_text(json.dumps(response))
        env = {
            "AWS_ENDPOINT_URL_DYNAMODB": f"http://{self.local.dynamodb}",
            "AWS_DEFAULT_REGION": "local",
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
        }
        command = [sys.executable, self.folder / "replay.py", "gaia-api-keys", service, file]
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        return done.returncode, done.stderr.replace(f"{file}: ", ""), done.stdout

    def test_replay(self):
        self.before()
        backup = self.table.scan()["Items"]
        events = self.since()
        for item in self.table.scan()["Items"]:
            self.table.delete_item(Key={"service": item["service"], "id": item["id"]})
        for item in backup:
            self.table.put_item(Item=item)
        for again in (False, True):
            status, errors, printed = self.replay({"events": events, "searchedLogStreams": []})
            self.assertEqual((status, errors), (0, ""))
            said = dict(line.rstrip().split(" ", 1) for line in printed.splitlines())
            changed = ("narrowed", "disabled", "twice", "mended", "retried", "routed", "rotated", "rotated, ends sooner")
            restricted = dict.fromkeys(changed, "restricted as it was last")
            missing = "created after the point in time: not restored, issue a new key"
            self.assertEqual(
                {name: said.get(key[:31]) for name, key in self.keys.items()},
                restricted
                | {"kept": None, "deleted": "already absent" if again else "deleted"}
                | {"new": missing, "rotated: new": missing, "rotated, ends sooner: new": missing, "gone": "already absent"},
            )
        self.assert_restored()

    def assert_restored(self):
        wide, keys, listed = self.wide, self.keys, self.local.list()
        limits = {"expires_at": "2030-12-31T22:00:00Z", "allowed_ips": ["192.0.2.1", "2001:db8::/32"]}
        self.assertEqual(
            {name: listed[key] for name, key in keys.items() if key in listed},
            {
                "kept": wide,
                "narrowed": wide | {"permissions": "read", "enabled": True} | limits,
                "disabled": wide | {"enabled": False},
                "twice": {"team": "süd", "n": wide["n"], "enabled": True},
                "mended": {"permissions": "read", "enabled": True},
                "retried": {"team": "süd", "n": wide["n"], "permissions": "read", "enabled": True},
                "routed": {"team": "süd", "routes": ["GET /a", "POST /b"], "enabled": True},
                "rotated": wide | {"permissions": "read", "enabled": True, "expires_at": self.expires_at["rotated"]},
                "rotated, ends sooner": wide | {"enabled": True, "expires_at": self.soon},
            },
        )
        ttl = {item["id"]: item.get("ttl") for item in self.table.scan()["Items"]}
        self.assertEqual(ttl[keys["narrowed"][5:31]], 1924984800 + 30 * 86400)
        self.assertIsNone(ttl[keys["mended"][5:31]])
        valid = lambda name: self.local.send("POST", f"{KEYS}/verify", {"api_key": keys[name]})[1]["valid"]
        self.assertEqual([valid(name) for name in ("kept", "deleted", "disabled", "mended")], [True, False, False, True])

    def shell(self, part, functions="", **variables):
        """Runs the block of the runbook that holds `part`."""
        block, = [block for block in blocks("docs/operations.md", "shell") if part in block]
        env = environment(self.local.address, AWS_ENDPOINT_URL_DYNAMODB=f"http://{self.local.dynamodb}", **variables)
        env |= {"AWS_DEFAULT_REGION": "local", "AWS_REGION": "local"}
        return subprocess.run(["bash", "-euo", "pipefail", "-c", functions + block], env=env, cwd=self.folder, capture_output=True, text=True)

    def test_the_point_in_time_in_every_time_zone(self):
        """jq 1.6 would be an hour off in summer, and the export would lack an hour."""
        point, = re.findall(r"^ *POINT=(.*)$", OPERATIONS, flags=re.MULTILINE)
        block, = [block for block in blocks("docs/operations.md", "shell") if "filter-log-events" in block]
        script = f"POINT={point.replace('-11-', '-07-')}; {block.splitlines()[0]}; echo {re.search(r'start-time (.*) ', block)[1]}"
        expected = int(datetime.datetime.fromisoformat(point.replace("-11-", "-07-")).timestamp() * 1000)
        for zone in ("UTC", "Europe/Berlin", "America/New_York"):
            done = subprocess.run(["bash", "-euc", script], env=os.environ | {"TZ": zone}, capture_output=True, text=True, check=True)
            self.assertEqual(done.stdout, f"{expected}\n")

    def test_a_mistake_made_through_the_api_is_left_out(self):
        """It is listed first, and what the same caller changed at another time stays."""
        times = ("09:29:59.999999Z", "09:30:00.000001Z", "09:30:59.999999Z", "09:31:00.000001Z")
        made = [("b", times[1]), *(("a", time) for time in times)]
        change = lambda actor, time: {"actor": actor, "action": "delete", "key_id": "k", "timestamp": f"2026-11-24T{time}"}
        events = [{"message": json.dumps(change(actor, time))} for actor, time in made]
        (self.folder / "changes.json").write_text(json.dumps({"events": events}))
        block, = [block for block in blocks("docs/operations.md", "shell") if "ACTOR=" in block]
        listed = self.shell("@tsv").stdout.splitlines()
        self.assertEqual(listed, sorted(f"2026-11-24T{time}\tdelete\tk\t{actor}" for actor, time in made))
        script = re.sub("ACTOR=.*", "ACTOR=a", block)
        subprocess.run(["bash", "-euc", script], cwd=self.folder, check=True)
        self.assertEqual(json.loads((self.folder / "changes.json").read_text()), {"events": [events[0], events[1], events[4]]})

    @unittest.skipUnless(shutil.which("aws"), "there is no AWS CLI")
    def test_a_few_keys_are_brought_back(self):
        """The keys' items come from a second table, and the old secrets work."""
        key, other = self.local.create(self.wide), self.local.create(self.wide)
        client = self.table.meta.client
        schema = client.describe_table(TableName="gaia-api-keys")["Table"]
        client.create_table(
            TableName="restored", BillingMode="PAY_PER_REQUEST", **{name: schema[name] for name in ("KeySchema", "AttributeDefinitions")}
        )
        for item in self.table.scan()["Items"]:
            client.put_item(TableName="restored", Item=item)
        before = self.local.send("GET", f"{KEYS}/{key}")
        self.local.send("DELETE", f"{KEYS}/delete/{key}")
        where = {"TABLE": "gaia-api-keys", "RESTORED": "restored", "SERVICE": "demo"}
        done = self.shell("item.json", ID=key[:31], **where)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(self.local.send("GET", f"{KEYS}/{key}"), before)
        self.assertTrue(self.local.send("POST", f"{KEYS}/verify", {"api_key": key, "permission": "write"})[1]["valid"])
        self.assertIn("ConditionalCheckFailed", self.shell("item.json", ID=other[:31], **where).stderr, "that key is there")
        self.local.send("PUT", f"{KEYS}/{other}", {"config": {"permissions": "read", "new": 1}})
        functions = blocks("docs/operations.md", "bash")[0]
        url = f"http://{self.local.address}"
        done = self.shell("Item.config.S", functions, ID=other[:31], GAIA_KEYS_URL=url, **where)
        self.assertEqual((done.returncode, json.loads(done.stdout)["result"]), (0, "updated"), done.stderr)
        self.assertEqual(self.local.list()[other], self.wide)
        listed = self.shell("--key-condition-expression", **where)
        stored = {item["id"] for item in self.table.scan()["Items"] if item["service"] == "demo"}
        self.assertEqual({line.split("\t")[0] for line in listed.stdout.splitlines()}, stored)
        self.assertEqual(self.shell("delete-table", **where).returncode, 0)

    def test_a_retry_and_a_long_config(self):
        """A create that is only requested again changes nothing, and a config that gets too long is named."""
        long = self.local.create({"permissions": "read", "x": "x" * 4050})
        key, start = self.create_once(), len(self.local.log(2))
        self.assertEqual(self.create_once(), key)
        routes = {"routes": ["GET /" + "a" * 60]}
        self.local.send("PUT", f"{KEYS}/{long}", {"config": routes})
        events = [{"message": json.dumps(line)} for line in self.local.log(start + 2)[start:]]
        item = {"service": "demo", "id": long[5:31]}
        text = json.dumps({"permissions": "read", "x": "x" * 4050})
        self.table.update_item(Key=item, UpdateExpression="SET config = :config", ExpressionAttributeValues={":config": text})
        status, errors, printed = self.replay({"events": events})
        self.assertEqual((status, errors), (0, ""))
        self.assertEqual(
            dict(line.split(" ", 1) for line in printed.splitlines()),
            {
                key[:31]: "requested again: nothing changed",
                long[:31]: "restricted as it was last, but checks fail until you shorten its config",
            },
        )
        self.assertEqual(self.local.send("POST", f"{KEYS}/verify", {"api_key": long})[0], 500)

    def test_a_rotation_that_only_its_retry_logged(self):
        """The first response was lost, and its entry with it. A retry of a rotation from before the point in time is no news."""
        rotate = lambda key, once: self.local.send(
            "POST", f"{KEYS}/{key}/rotate", {"grace_seconds": 600}, {"Idempotency-Key": once}
        )[1]
        before = self.local.create({"permissions": "read"})
        rotate(before, "before")
        self.local.send("PUT", f"{KEYS}/{before}", {"config": {"permissions": "read"}})  # extended
        changed, plain = (self.local.create({"permissions": "write", "n": 1.50}) for _ in range(2))
        backup, start = self.table.scan()["Items"], len(self.local.log(5))
        self.local.send("PUT", f"{KEYS}/{changed}", {"config": {"permissions": "read"}})
        for key in (changed, plain):
            self.assertEqual(rotate(key, "since"), rotate(key, "since"))
        rotate(before, "before")
        entries = self.local.log(start + 6)[start:]
        self.assertEqual([entry["action"] for entry in entries], ["update", "rotate", "retry", "rotate", "retry", "retry"])
        events = [{"message": json.dumps(entry)} for entry in entries if entry["action"] != "rotate"]
        expiry = {entry["key_id"]: entry["old_expires_at"] for entry in entries if entry["action"] == "rotate"}
        for item in self.table.scan()["Items"]:
            self.table.delete_item(Key={"service": item["service"], "id": item["id"]})
        for item in backup:
            self.table.put_item(Item=item)
        for _ in range(2):
            status, errors, printed = self.replay({"events": events})
            self.assertEqual((status, errors), (0, ""))
            missing = "created after the point in time: not restored, issue a new key"
            self.assertEqual(
                dict(line.split(" ", 1) for line in printed.splitlines()),
                {key[:31]: "restricted as it was last" for key in (changed, plain)}
                | {entry["rotated_to"]: missing for entry in entries[1:5:2]}
                | {before[:31]: "requested again: nothing changed"},
            )
        listed = self.local.list()
        self.assertEqual(listed[before], {"permissions": "read"})
        self.assertEqual(listed[plain], {"permissions": "write", "n": 1.5, "expires_at": expiry[plain[:31]]})
        expected = {"permissions": "read", "enabled": True, "n": 1.5, "expires_at": expiry[changed[:31]]}
        self.assertEqual(listed[changed], expected)

    def test_a_service_that_has_no_keys(self):
        """Every key would look like one that was created since, and those that were deleted would work again."""
        problem = "gaia-api-keys has no keys of the service 'gaia': compare it with the stack's ServiceName\n"
        self.assertEqual(self.replay({"events": []}, "gaia"), (1, problem, ""))

    def test_an_export_that_is_not_whole(self):
        self.before()
        events = self.since()
        for token in ("nextToken", "NextToken"):
            problem = "incomplete, export it without --max-items\n"
            self.assertEqual(self.replay({"events": events, token: "x"}), (1, problem, ""))


if __name__ == "__main__":
    unittest.main()
