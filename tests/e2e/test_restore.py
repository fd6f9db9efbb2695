"""`gaia-keys restore`: the table of a deployed stack, put back to a point in time.

The command talks to the emulator through a proxy, which does what the emulator lacks: it has no past, so the proxy puts the
table's items as of the point in time into the restored table; it says when the table can be restored to, and what a table was
restored from; and it filters log entries, and returns them in pages, some twice.
"""

import datetime
import http.client
import http.server
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import threading
import time
import unittest

import deployment
import emulator as emulators

COMMAND = pathlib.Path(sys.executable).parent / "gaia-keys"
UTC = datetime.timezone.utc
MEANING = ("permissions", "routes", "enabled", "expires_at", "allowed_ips", "usage_plan_key")
READS = ("Describe", "List", "Query", "Filter", "Get")
# Numbers and an order that a program which reads and writes JSON would change.
ODD = '"z":123456789012345678901234567890,"team":"süd","a":1.50,"e":1E-7'


class Proxy:
    """Passes requests on to the emulator. Keeps the names of those that write, and kills the command at `stop`."""

    def __init__(self, test):
        proxy = self
        self.test, self.writes, self.stop, self.before, self.past, self.origin = test, [], None, {}, {}, {}

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                action = self.headers.get("x-amz-target", "").rpartition(".")[2] or re.search(rb"Action=(\w+)", body)[1].decode()
                status, content, headers = proxy.answer(action, self.path, dict(self.headers), body)
                self.send_response(status)
                for name in ("content-type", "x-amzn-requestid"):
                    self.send_header(name, headers.get(name) or "none")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def handle(self):
                try:
                    super().handle()
                except OSError:
                    pass  # the command was killed

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=[0.05], daemon=True).start()

    def answer(self, action, path, headers, body):
        stops = False
        if not action.startswith(READS):
            self.writes.append(action)
            stops = self.stop and self.stop[:2] == (action, self.writes.count(action))
        if stops and self.stop[2] == "before":
            self.test.process.kill()
        self.before.pop(action, lambda: None)()
        connection = http.client.HTTPConnection("127.0.0.1", self.test.emulator.port, timeout=60)
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        if response.status == 200 and hasattr(self, action):
            content = json.dumps(getattr(self, action)(json.loads(body), json.loads(content))).encode()
        if stops and self.stop[2] == "after":
            self.test.process.kill()
        return response.status, content, response.headers

    def RestoreTableToPointInTime(self, asked, answer):
        self.origin[asked["TargetTableName"]] = asked["SourceTableName"], asked["RestoreDateTime"]
        dynamodb = self.test.emulator.client("dynamodb")
        for item in self.test.items(asked["TargetTableName"]).values():
            dynamodb.delete_item(TableName=asked["TargetTableName"], Key={name: item[name] for name in ("service", "id")})
        for item in self.past.values():
            dynamodb.put_item(TableName=asked["TargetTableName"], Item=item)
        return answer

    def DescribeTable(self, asked, answer):
        source, at = self.origin.get(asked["TableName"], (None, None))
        if source:
            summary = {"SourceTableArn": f"arn:aws:dynamodb:x:1:table/{source}", "RestoreDateTime": at, "RestoreInProgress": False}
            answer["Table"]["RestoreSummary"] = summary
        return answer

    def DescribeContinuousBackups(self, asked, answer):
        window = answer["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
        window["EarliestRestorableDateTime"] = time.time() - 86400
        window["LatestRestorableDateTime"] = time.time()
        return answer

    def FilterLogEvents(self, asked, answer):
        at, audit = int(asked.get("nextToken", 0)), '{ $.message = "audit" }'
        every = [event for event in answer["events"] if asked["filterPattern"] == audit and '"message":"audit"' in event["message"]]
        page = {"events": every[max(at - 1, 0) : at + 50]}
        return page | ({"nextToken": str(at + 50)} if at + 50 < len(every) else {})


class Restore(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.emulator = emulators.shared()
        # DeploymentType changes a resource, as it does where there is CodeDeploy.
        text = deployment.templates.MAIN.replace("Description: Management API of the API keys.", "Description: !Ref DeploymentType")
        cls.stack = deployment.Stack("restore", text, cls.emulator, DeploymentType="Linear10PercentEvery1Minute")
        manage = deployment.documented_policies(cls.stack)[0]
        cls.alice, cls.bob = (deployment.user(cls.emulator, f"restore-{name}", manage) for name in ("alice", "bob"))
        cls.emulator.client("dynamodb").update_continuous_backups(  # its CloudFormation leaves that out
            TableName=cls.stack.outputs["TableName"], PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
        )
        cls.proxy = Proxy(cls)

    def run_command(self, *arguments, status=0, **variables):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        access_key, secret = emulators.ADMINISTRATOR
        environment |= {"AWS_ENDPOINT_URL": self.proxy.url, "AWS_REGION": emulators.REGION, "TZ": "America/New_York"}
        environment |= {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret, "GAIA_KEYS_STACK": "restore"}
        environment |= {"AWS_CONFIG_FILE": os.devnull, "GAIA_KEYS_URL": self.stack.local_url()}
        command, pipe = [COMMAND, "restore", *arguments], subprocess.PIPE
        type(self).process = subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        printed, told = self.process.communicate("", timeout=120)
        self.assertEqual(self.process.returncode, status, printed + told)
        self.assertNotRegex(printed + told, r"gaia_\w{26}_|Traceback")
        return printed, told

    def send(self, method, path="", body=None, caller=None, status=200):
        return self.stack.send(method, path, body, caller=caller or self.alice).expect(status)

    def create(self, config, caller=None):
        key = self.send("POST", "", b'{"config":%s}' % config.encode(), caller)["api_key"]
        self.secrets[key[:31]] = key
        return key[:31]

    @classmethod
    def items(cls, table):
        pages = cls.emulator.client("dynamodb").get_paginator("scan").paginate(TableName=table)
        return {(item["service"]["S"], item["id"]["S"]): item for page in pages for item in page["Items"]}

    def configs(self, table):
        """The configs by ID; the digits of numbers are their texts."""
        return {
            f"gaia_{id}": json.loads(item["config"]["S"], parse_int=str, parse_float=str)
            for (service, id), item in self.items(table).items()
            if service == "gaia"
        }

    def now(self):
        """The time once it is a whole second, which nothing else happens in."""
        time.sleep(1.01 - time.time() % 1)
        moment = datetime.datetime.now(UTC).replace(microsecond=0)
        time.sleep(0.02)
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

    def valid(self, key):
        return self.send("POST", "/verify", {"api_key": self.secrets[key]}).get("reason", "valid")

    def test_1_changes_since_and_a_mistake_and_interruptions(self):
        self.secrets, chance, grants = {}, random.Random(5), ("permissions", "routes", "expires_at", "allowed_ips")
        soon = lambda: f"{datetime.datetime.now(UTC) + datetime.timedelta(days=chance.randint(1, 400)):%Y-%m-%dT%H:%M:%S}.5Z"

        def random_config():
            grant = chance.choice(['"permissions":"read"', '"permissions":"write"', '"routes":["GET /a/*","POST /b"]'])
            more = [f'"expires_at":"{soon()}"', '"allowed_ips":["192.0.2.1","2001:db8::/32"]', '"enabled":false', f'"o":"{chance.random()}"']
            return "{%s}" % ",".join([ODD, grant, *chance.sample(more, chance.choice((0, 0, 1, 2)))])

        def meaning(config):
            found = {name: config[name] for name in MEANING if config.get(name) is not None}
            return {"enabled": True} | found | ({"expires_at": found["expires_at"][:19]} if "expires_at" in found else {})

        def free(config):
            return [(name, value) for name, value in config.items() if name not in MEANING]

        for _ in range(200):
            self.create(random_config())
        old = self.stack.outputs["TableName"]
        point = self.now()
        self.proxy.past, before = self.items(old), self.configs(old)
        parse = lambda text: json.loads(text, parse_int=str, parse_float=str)
        # What is really there, and what should be in the end: the fields with a meaning of each living key.
        real, model = ({key: meaning(config) for key, config in before.items()} for _ in range(2))
        mistakes, rotated = {}, {}
        for number in range(300):
            if number in (150, 220):
                mistakes[number] = self.now()
            wrong, caller = 150 <= number < 220 and chance.random() < 0.6, self.alice
            if wrong or not 150 <= number < 220 and chance.random() < 0.2:
                caller = self.bob
            result, key, action = {} if wrong else model, chance.choice(sorted(real)), chance.random()
            if action < 0.15:
                config = random_config()
                key = self.create(config, caller)
                real[key] = result[key] = meaning(parse(config))
            elif action < 0.35:
                self.send("DELETE", f"/delete/{key}", caller=caller)
                real.pop(key), result.pop(key, None)
            elif action < 0.5 and real[key]["enabled"]:
                expiry = soon()
                body = {"grace_seconds": 864000, "expires_at": expiry}
                response = self.stack.send("POST", f"/{key}/rotate", body, caller=caller).json
                if response.get("result") != "rotated":
                    continue  # it was rotated before, or has expired
                new = response["api_key"][:31]
                self.secrets[new] = response["api_key"]
                real[new] = result[new] = real[key] | {"expires_at": expiry[:19]}
                real[key] = real[key] | {"expires_at": response["rotated_from_expires_at"][:19]}
                if key in result:
                    result[key], rotated[key] = real[key], new
            else:
                config = random_config()
                self.send("PUT", f"/{key}", b'{"config":%s}' % config.encode(), caller)
                real[key] = meaning(parse(config))
                if key in result:
                    result[key] = real[key]
        late = self.create('{"permissions":"read"}')
        omit = ("--without", f"arn:aws:iam::{emulators.ACCOUNT}:user/restore-bob", "--from", mistakes[150], "--until", mistakes[220])
        command = ("--to", point, *omit, "--yes")
        self.assertEqual(meaning(self.configs(old)[late]), {"permissions": "read", "enabled": True})

        def meanwhile():  # between the replay and the switch
            self.meanwhile = self.create('{"permissions":"write"}')
            self.send("DELETE", f"/delete/{late}")

        self.proxy.before["ExecuteChangeSet"] = meanwhile
        for stop in (
            *(("RestoreTableToPointInTime", 1, "after"), ("PutItem", 1, "before"), ("PutItem", 40, "after"), ("DeleteItem", 3, "after")),
            *(("UpdateTimeToLive", 1, "after"), ("UpdateContinuousBackups", 1, "before"), ("UpdateTable", 1, "after")),
            *(("TagResource", 1, "after"), ("CreateChangeSet", 1, "after"), ("ExecuteChangeSet", 1, "after")),
            *(("PutItem", 1, "after"), ("CreateChangeSet", 1, "before"), ("ExecuteChangeSet", 1, "after"), ("UntagResource", 1, "before")),
        ):
            self.proxy.stop, self.proxy.writes = stop, []
            self.run_command(*command, status=-9)
        self.proxy.stop = None
        self.run_command(*command)
        self.proxy.writes = []
        printed, told = self.run_command(*command)
        self.assertEqual(self.proxy.writes, [], "nothing is left to do")
        self.assertIn(f"0 of ", told)
        new, damaged = self.stack.describe()["Parameters"], self.configs(old)
        found = {each["ParameterKey"]: each["ParameterValue"] for each in new}
        self.assertEqual(found["DeploymentType"], "Linear10PercentEvery1Minute")
        after = self.configs(found["ExistingTableName"])
        lost = {key for key in model if key not in before and key not in real}
        self.assertTrue(lost and all(f"{key}  not restored" in printed for key in lost))
        expected = {key: fields for key, fields in model.items() if key not in lost} | {self.meanwhile: {"permissions": "write", "enabled": True}}
        self.assertEqual({key: meaning(config) for key, config in after.items()}, expected)
        self.assertEqual({key: free(after[key]) for key in after}, {key: free((before | {k: damaged[k] for k in damaged if k not in before})[key]) for key in after})
