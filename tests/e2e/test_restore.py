"""`gaia-keys restore`: the table of a deployed stack, put back to a point in time.

The command talks to the emulator through a proxy, which does what the emulator lacks. It has no past: the proxy puts the
items as of the point in time into the restored table. The proxy also says to which times a table can be restored, and
what one was restored from; it has the backup of a deleted table, filters log entries, and returns them in pages.
"""

import json
import random
import re
import time

from deployment import Stack, documented_policies, templates, user
from emulator import ACCOUNT, shared
from gaia_keys import replay
from local import Gateway, Lost
from stack_command import Case

# Numbers and an order that a program which reads and writes JSON would change.
ODD = '"z":123456789012345678901234567890,"team":"süd","a":1.50,"e":1E-7'


class Proxy(Gateway):
    """`writes`: requests that write. `stop`: the one at which the command is killed. `meanwhile`: called before one."""

    writes, stop, meanwhile, past, restored, backups, window = [], None, {}, {}, {}, [], 0

    def forward(self, emulator, method, path, headers, body):
        named = re.search(rb"Action=(\w+)", body)
        action = named[1].decode() if named else headers["X-Amz-Target"].rpartition(".")[2]
        self.writes += [action] * (not action.startswith(("Describe", "List", "Query", "Filter")))
        stops = self.stop and self.stop[:2] == (action, self.writes.count(action)) and self.stop[2]
        if stops == "before":
            Restore.process.kill()
            raise Lost
        self.meanwhile.pop(action, lambda: None)()
        status, passed, content = super().forward(emulator, method, path, headers, body)
        if status == 200 and hasattr(self, action):
            content = json.dumps(getattr(self, action)(json.loads(body), json.loads(content))).encode()
        if stops == "after":
            Restore.process.kill()
        return status, passed, content

    def RestoreTableToPointInTime(self, asked, answer):
        table, source = asked["TargetTableName"], f"table/{asked['SourceTableName']}"
        self.restored[table] = {"SourceTableArn": source, "RestoreDateTime": asked["RestoreDateTime"]}
        for service, id in Restore.items(table):
            Restore.dynamodb.delete_item(TableName=table, Key={"service": {"S": service}, "id": {"S": id}})
        for item in self.past.values():
            Restore.dynamodb.put_item(TableName=table, Item=item)
        return answer

    def RestoreTableFromBackup(self, asked, answer):
        at, source = self.backups[0]["BackupCreationDateTime"], f"table/{self.backups[0]['TableName']}"
        summary = {"SourceTableArn": source, "SourceBackupArn": asked["BackupArn"], "RestoreDateTime": at}
        self.restored[asked["TargetTableName"]] = summary
        return answer

    def DescribeTable(self, asked, answer):
        summary = self.restored.get(asked["TableName"], {}) | {"RestoreInProgress": False}
        return {"Table": answer["Table"] | {"RestoreSummary": summary}}

    def ListBackups(self, asked, answer):
        return {"BackupSummaries": self.backups if asked["BackupType"] == "SYSTEM" else []}

    def DescribeContinuousBackups(self, asked, answer):
        window = answer["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
        earliest, latest = time.time() - 86400, time.time() - self.window
        window |= {"EarliestRestorableDateTime": earliest, "LatestRestorableDateTime": latest}
        return answer

    def FilterLogEvents(self, asked, answer):
        assert asked["filterPattern"] == '{ $.message = "audit" }'
        events = [event for event in answer["events"] if '"message":"audit"' in event["message"]]
        at = int(asked.get("nextToken", 0))
        more = {"nextToken": str(at + 50)} if at + 50 < len(events) else {}
        return more | {"events": events[max(at - 1, 0) : at + 50]}  # one of them twice


def parsed(config):
    """The digits of numbers are texts."""
    return json.loads(config, parse_int=str, parse_float=str)


def meaning(config):
    found = {"enabled": True} | {name: config[name] for name in replay.FIELDS if config.get(name) is not None}
    return found | ({"expires_at": found["expires_at"][:19]} if "expires_at" in found else {})


def rest(config):
    return [(name, value) for name, value in config.items() if name not in replay.FIELDS]


class Restore(Case):
    @classmethod
    def setUpClass(cls):
        cls.emulator = shared()
        cls.dynamodb = cls.emulator.client("dynamodb")
        cls.keys = Stack("restore", templates.MAIN, DeploymentType="Linear10PercentEvery1Minute")
        manage = documented_policies(cls.keys)[0]
        cls.alice, cls.bob = (user(cls.emulator, f"restore-{name}", manage) for name in ("alice", "bob"))
        cls.secrets = {}
        cls.proxy = cls.enterClassContext(Proxy(cls.emulator, checks=False))
        cls.proxy.server.handle_error = lambda *_: None  # the command was killed

    def restore(self, *arguments, status=0, stop=None):
        """What the command printed, to both outputs. At `stop`, it is killed."""
        Proxy.writes[:], Proxy.stop, status = [], stop, -9 if stop else status
        where = {"AWS_ENDPOINT_URL": f"http://{self.proxy.address}", "TZ": "America/New_York"}
        Restore.process = self.start("restore", *arguments, **self.variables(**where))
        printed = "".join(self.process.communicate(timeout=120))
        self.assertEqual(self.process.returncode, status, printed)
        self.assertNotRegex(printed, r"gaia_\w{26}_|Traceback")
        return printed

    def send(self, method, path="", body=None, caller=None, **more):
        body = b'{"config":%s}' % body.encode() if isinstance(body, str) else body
        response = self.keys.send(method, path, body, caller=caller or self.alice, **more)
        return response.json if path.endswith("/rotate") else response.expect(200)

    def create(self, config, caller=None):
        return self.remember(self.send("POST", "", config, caller)["api_key"])

    def remember(self, key):
        self.secrets[key[:31]] = key
        return key[:31]

    def verdict(self, key):
        return self.send("POST", "/verify", {"api_key": self.secrets[key], "source_ip": "192.0.2.1"}).get("reason")

    def table(self):
        return next(each["OutputValue"] for each in self.keys.describe()["Outputs"] if each["OutputKey"] == "TableName")

    @classmethod
    def items(cls, table):
        return {(item["service"]["S"], item["id"]["S"]): item for item in cls.keys.items(table)}

    def configs(self, table):
        items = self.items(table).items()
        return {f"gaia_{id}": parsed(item["config"]["S"]) for (service, id), item in items if service == "gaia"}

    def now(self):
        """A whole second, at which nothing happens."""
        time.sleep(1.01 - time.time() % 1)
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        time.sleep(0.02)
        return moment

    def test_1_refusals(self):
        self.create("{}")
        point, table, on = self.now(), self.table(), {"PointInTimeRecoveryEnabled": True}
        self.assertIn("has no point-in-time recovery", self.restore("--to", point, "--yes", status=1))
        self.dynamodb.update_continuous_backups(TableName=table, PointInTimeRecoverySpecification=on)
        Proxy.window = 60
        self.assertIn("wait some minutes", self.restore("--to", point, "--yes", status=1))
        Proxy.window = 0
        for status, said, *arguments in (
            (2, "cannot prompt", "--to", point),
            (2, "expected a date", "--to", "2h", "--yes"),
            (2, "in the future", "--to", "2999-01-01", "--yes"),
            (2, "go together", "--to", point, "--without", "x", "--yes"),
            (1, "begins at", "--to", "2026-01-01", "--yes"),
            (1, "check the stack's ServiceName", "--to", point, "--yes"),  # nothing is in `past`
        ):
            self.assertIn(said, self.restore(*arguments, status=status))
        Proxy.restored.clear()
        self.assertIn("is no such restore", self.restore("--to", point, "--yes", status=2))
        self.assertEqual((self.table(), Proxy.writes), (table, []))

    def test_2_changes_since_a_mistake_and_interruptions(self):
        chance = random.Random(5)

        def soon():
            return time.strftime("%Y-%m-%dT%H:%M:%S.5Z", time.gmtime(time.time() + 86400 * chance.randint(1, 400)))

        def config():
            grant = chance.choice(['"permissions":"read"', '"permissions":"write"', '"routes":["GET /a/*","POST /b"]'])
            more = [f'"expires_at":"{soon()}"', '"allowed_ips":["192.0.2.1","2001:db8::/32"]', '"enabled":false']
            more = chance.sample(more, chance.choice((0, 0, 1, 2)))
            return "{%s}" % ",".join([ODD, grant, f'"x":{chance.random()}', *more])

        for _ in range(200):
            self.create(config())
        old, point = self.table(), self.now()
        Proxy.past, before = self.items(old), self.configs(old)
        meta = {"service": {"S": "gaia#meta"}, "id": {"S": "root_keys"}}
        Proxy.past["gaia#meta", "root_keys"] = meta | {"ids": {"SS": ["0ld"]}}  # the root key was replaced since
        new = {":ids": {"SS": ["n3w"]}}
        self.dynamodb.update_item(TableName=old, Key=meta, UpdateExpression="ADD ids :ids", ExpressionAttributeValues=new)
        # What each living key means: in the table as it is, and in the table as it should be.
        real, model = ({key: meaning(each) for key, each in before.items()} for _ in range(2))
        mistake, rotated = [], {}
        for number in range(300):
            if number in (150, 220):
                mistake.append(self.now())
            within = 150 <= number < 220
            wrong = within and chance.random() < 0.6
            caller = self.bob if wrong or not within and chance.random() < 0.2 else self.alice
            kept, key, action = {} if wrong else model, chance.choice(sorted(real)), chance.random()
            if action < 0.15:
                key = self.create(text := config(), caller)
                real[key] = kept[key] = meaning(parsed(text))
            elif action < 0.35:
                self.send("DELETE", f"/delete/{key}", caller=caller)
                real.pop(key), kept.pop(key, None)
            elif action < 0.5:
                body = {"grace_seconds": 864000, "expires_at": soon()}
                response = self.send("POST", f"/{key}/rotate", body, caller)
                if "api_key" not in response:
                    continue  # it is disabled, or was rotated before
                new = self.remember(response["api_key"])
                real[new] = kept[new] = real[key] | {"expires_at": body["expires_at"][:19]}
                real[key] = real[key] | {"expires_at": response["rotated_from_expires_at"][:19]}
                if key in kept:
                    kept[key], rotated[key] = real[key], new
            else:
                self.send("PUT", f"/{key}", text := config(), caller)
                real[key] = meaning(parsed(text))
                if key in kept:
                    kept[key] = real[key]
        late, once = self.create('{"permissions":"read"}'), {"Idempotency-Key": "once"}
        raised = self.remember(self.send("POST", "", '{"permissions":"read"}', headers=once)["api_key"])
        self.assertIsNone(self.verdict(raised))  # records a use
        item = self.items(old)["gaia", raised[5:]]  # a writer of the table may not give a key more than the log says
        self.dynamodb.put_item(TableName=old, Item=item | {"config": {"S": '{"permissions":"write"}'}})
        bob = f"arn:aws:iam::{ACCOUNT}:user/restore-bob"
        command = ("--to", point, "--without", bob, "--from", mistake[0], "--until", mistake[1], "--yes")
        told = self.restore(*command[:3], "nobody", *command[4:], status=1)
        self.assertIn(f"there are changes by {bob[:-3]}alice, {bob}", told)
        self.assertEqual(Proxy.writes, [], "a wrong caller is named before the table is restored")
        latest = []

        def meanwhile():  # between the replay and the switch
            latest.append(self.create('{"permissions":"write"}'))
            self.send("DELETE", f"/delete/{late}")

        Proxy.meanwhile["ExecuteChangeSet"] = meanwhile
        for stops in (
            "RestoreTableToPointInTime PutItem PutItem-40 DeleteItem-3 UpdateTimeToLive UpdateContinuousBackups UpdateTable",
            "TagResource UpdateItem CreateChangeSet ExecuteChangeSet PutItem CreateChangeSet ExecuteChangeSet UntagResource",
        ):
            for number, stop in enumerate(stops.split()):
                action, _, count = stop.partition("-")
                self.restore(*command, stop=(action, int(count or 1), ("after", "before")[number % 2]))
        self.restore(*command)
        printed = self.restore(*command)
        self.assertEqual((Proxy.writes, "0 keys" in printed), ([], True), "nothing is left to do")

        new, damaged = self.table(), self.configs(old)
        lost = {key for key in model if key not in before and key not in real}
        self.assertTrue(lost and all(f"{key}  not restored" in printed for key in lost))
        expected = {key: fields for key, fields in model.items() if key not in lost}
        expected |= {key: {"enabled": True, "permissions": word} for key, word in ((latest[0], "write"), (raised, "read"))}
        after, items = self.configs(new), self.items(new)
        self.assertEqual({key: meaning(each) for key, each in after.items()}, expected)
        for key, fields in expected.items():
            self.assertEqual(rest(after[key]), rest((damaged | before)[key]))
            found = [name in items["gaia", key[5:]] for name in ("ttl", "rotated_to")]
            self.assertEqual(found, ["expires_at" in fields, key in rotated])
        for key in chance.sample(sorted(self.secrets), 60):
            reason = "not_found" if key not in expected else None if expected[key]["enabled"] else "disabled"
            self.assertEqual(self.verdict(key), reason)
        self.assertIn(("gaia#use", raised[5:]), items)
        repeated = self.send("POST", "", '{"permissions":"read"}', headers=once)
        self.assertEqual(repeated["api_key"], self.secrets[raised])
        self.assertLessEqual({"0ld", "n3w"}, set(items["gaia#meta", "root_keys"]["ids"]["SS"]))
        found = self.keys.parameters()
        self.assertEqual((found["DeploymentType"], found["ExistingTableName"]), ("Linear10PercentEvery1Minute", new))
        found = self.dynamodb.describe_table(TableName=new)["Table"]
        tags = self.dynamodb.list_tags_of_resource(ResourceArn=found["TableArn"])["Tags"]
        ttl = self.dynamodb.describe_time_to_live(TableName=new)["TimeToLiveDescription"]
        self.assertEqual((found["DeletionProtectionEnabled"], ttl["AttributeName"]), (True, "ttl"))
        self.assertIn({"Key": "gaia-api-keys:service", "Value": "gaia"}, tags)

    def test_3_a_few_keys(self):
        deleted, changed, same = (self.create("{%s}" % ODD) for _ in range(3))
        table, point = self.table(), self.now()
        Proxy.past = self.items(table)
        later = self.create("{}")
        self.send("DELETE", f"/delete/{deleted}")
        self.send("PUT", f"/{changed}", {"config": {"permissions": "read"}})
        only = [part for key in (deleted, changed, same, later) for part in ("--only", key)]
        self.restore("--to", point, *only, "--yes", stop=("PutItem", 1, "after"))
        printed = self.restore("--to", point, *only, "--yes", status=1)
        lines = (later, "none: there was no such key"), (deleted, "none: it is as it was"), (changed, "set a, e")
        self.assertRegex(printed, "(?s)" + ".*".join(f"{key} +{said}" for key, said in lines))
        configs, odd = self.configs(table), list(parsed("{%s}" % ODD).items())
        self.assertEqual([list(configs[key].items()) for key in (deleted, changed, same)], [odd] * 3)
        self.assertEqual((self.verdict(deleted), self.table()), (None, table))
        self.assertEqual(Proxy.writes[-1], "DeleteTable")

    def test_4_the_table_was_deleted(self):
        key, revoked, table = self.create("{}"), self.create("{}"), self.table()
        backup = self.dynamodb.create_backup(TableName=table, BackupName="last")["BackupDetails"]
        point, at = self.now(), backup["BackupCreationDateTime"].timestamp()
        Proxy.backups.append({"BackupArn": backup["BackupArn"], "BackupCreationDateTime": at, "TableName": table})
        self.send("DELETE", f"/delete/{revoked}")
        self.dynamodb.update_table(TableName=table, DeletionProtectionEnabled=False)
        self.dynamodb.delete_table(TableName=table)
        self.assertIn("was deleted. Its last backup", self.restore("--to", point, "--yes"))
        self.assertNotEqual(self.table(), table)
        self.assertEqual((self.verdict(key), self.verdict(revoked)), (None, "not_found"))
