"""gaia-keys doctor, log and stack."""

import contextlib
import datetime
import json
import re
import signal
import time
from unittest import mock

from botocore.client import BaseClient
from botocore.exceptions import ReadTimeoutError
from botocore.validate import validate_parameters

import stack_command
from deployment import Stack, templates, user
from emulator import ADMINISTRATOR, shared
from gaia_keys import times

ID = "gaia_01ARZ3NDEKTSV4RRFFQ69G5FAV"
GROUP = {"LogicalResourceId": "Group", "PhysicalResourceId": "group", "ResourceType": "AWS::CodeDeploy::DeploymentGroup"}
OTHERS = {"Effect": "Allow", "Principal": "*", "Resource": "*"}
GROUP |= {"LastUpdatedTimestamp": datetime.datetime.now(times.UTC), "ResourceStatus": "CREATE_COMPLETE"}


@contextlib.contextmanager
def aws(**operations):
    """AWS as the emulator isn't: functions of a request and of what sends it there. Both have AWS's shapes. The requests."""
    real, requests = BaseClient._make_api_call, []

    def call(client, name, request):
        if name not in operations:
            return real(client, name, request)
        model = client.meta.service_model.operation_model(name)
        validate_parameters(request, model.input_shape)
        requests.append((name, request))
        response = operations[name](request, lambda: real(client, name, request))
        if model.output_shape:
            validate_parameters({key: value for key, value in response.items() if key != "ResponseMetadata"}, model.output_shape)
        return response

    with mock.patch.object(BaseClient, "_make_api_call", call):
        yield requests


def described(status=None, watched=None):
    """DescribeStacks. The emulator gives the value of an SSM parameter in place of its name, and empty texts."""
    def answer(_, real):
        for stack in (response := real())["Stacks"]:
            del stack["Description"]
            for each in stack["Parameters"]:
                if each["ParameterKey"] == "Monitored":
                    each["ResolvedValue"] = watched or each["ParameterValue"]
                    each["ParameterValue"] = "/gaia-api-keys/" + each["ParameterValue"].split(",")[0]
            stack["StackStatus"] = status if status and "monitoring" not in stack["StackName"] else stack["StackStatus"]
        return response
    return answer


class Case(stack_command.Case):
    def found(self, output, *expected):
        self.assertEqual([line for line in expected if not re.search(f"(?m)^{line}", output)], [], output)


class Doctor(Case):
    @classmethod
    def setUpClass(cls):
        cls.client, cls.keys = staticmethod(shared().client), Stack("doctor", templates.MAIN, KeyHeader="Authorization")
        cls.table, kms = cls.keys.outputs["TableName"], cls.client("kms")
        cls.secret = cls.keys.create(permissions="read")
        settings = {"KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"}
        policy = json.loads(kms.get_key_policy(KeyId=cls.keys.outputs["KmsKeyId"])["Policy"])
        roles = {"Effect": "Allow", "Principal": "role/gaia-api-keys/gaia/*", "Action": "kms:GenerateMac"}
        policy["Statement"] += [roles, OTHERS | {"NotAction": ["kms:Gen*", "kms:Create*"]}]
        cls.secondary = kms.create_key(Policy=json.dumps(policy), **settings)["KeyMetadata"]["KeyId"]
        cls.keys.deploy(SecondaryKmsKeyId=cls.secondary)
        watched = {"Monitored": "/gaia-api-keys/doctor", "AlarmEmail": "team@example.com"}
        Stack("doctor-monitoring", templates.MONITORING, **watched)
        cls.client("cloudtrail").create_trail(Name="trail", S3BucketName=shared().bucket)
        cls.client("cloudtrail").start_logging(Name="trail")
        cls.protect(True)  # the emulator's CloudFormation doesn't
        cls.name_root_keys(*(item["root_key_id"]["S"] for item in cls.keys.items() if item["service"]["S"] == "gaia"))

    @classmethod
    def protect(cls, on):
        dynamodb, recovery = cls.client("dynamodb"), {"PointInTimeRecoveryEnabled": on}
        dynamodb.update_table(TableName=cls.table, DeletionProtectionEnabled=on)
        dynamodb.update_continuous_backups(TableName=cls.table, PointInTimeRecoverySpecification=recovery)
        dynamodb.update_time_to_live(TableName=cls.table, TimeToLiveSpecification={"Enabled": on, "AttributeName": "ttl"})

    @classmethod
    def name_root_keys(cls, *ids, until=0):
        item = {"service": {"S": "gaia#meta"}, "id": {"S": "root_keys"}, "ids": {"SS": ids}, "accept_any_until": {"N": str(until)}}
        cls.client("dynamodb").put_item(TableName=cls.table, Item=item)

    def test_1_all_is_well(self):
        with aws(DescribeStacks=described()):
            output = self.gaia_keys("doctor")
            self.assertEqual(re.findall("(?m)^(?!ok  ).+", output), [])
            self.found(output, "ok +a key's life .*rotated and deleted", "ok +notification .*team@example.com", "ok +root keys")
            before = self.keys.items()
            self.assertNotIn("FAIL", self.gaia_keys("doctor", "--read-only", "--json"))
        self.assertEqual(self.keys.items(), before)
        self.assertEqual([item["id"]["S"] for item in before if item["service"]["S"] == "gaia"], [self.secret[5:31]])

    def test_2_what_the_caller_may_not_see_is_a_warning(self):
        policy = {"Statement": [{"Effect": "Allow", "Action": ["cloudformation:*", "execute-api:Invoke"], "Resource": "*"}]}
        caller = user(shared(), "doctor-reader", policy)
        self.found(self.gaia_keys("doctor", "--read-only", caller=caller), "warn +table +not checked: you may not", "ok +stack")

    def test_2_the_network_fails_in_between(self):
        def lost(*_):
            raise ReadTimeoutError(endpoint_url="https://kms")

        with aws(DescribeKey=lost):
            output = self.gaia_keys("doctor", "--read-only", status=1)
        self.found(output, "FAIL +KMS key +Read timeout.*Next: check", "ok +table")

    def test_3_what_the_emulator_lacks(self):
        self.keys.deploy(SimpleResponses="true")
        nobody, schema = {"SubscriptionArn": "PendingConfirmation", "Endpoint": "a@b"}, [{"AttributeName": "id", "KeyType": "HASH"}]
        for name, value in (
            ("gaia_keys.times.now", times.now() + datetime.timedelta(days=100, hours=1)),
            ("urllib.request.urlopen", mock.MagicMock()), ("gaia_keys.api.Api.verify", mock.Mock(reason="disabled")),
        ):
            self.enterContext(mock.patch(name, return_value=value))
        with aws(
            DescribeStacks=described("UPDATE_ROLLBACK_FAILED", watched="old"),
            ListStackResources=lambda _, real: (found := real())["StackResourceSummaries"].append(GROUP) or found,
            DescribeStackResource=lambda asked, real: {"StackResourceDetail": GROUP} if "Dep" in asked["LogicalResourceId"] else real(),
            GetDeploymentGroup=lambda *_: {"deploymentGroupInfo": {"alarmConfiguration": {"enabled": False}}},
            GetTopicAttributes=lambda *_: {"Attributes": {"KmsMasterKeyId": "alias/aws/sns"}},
            ListSubscriptionsByTopic=lambda *_: {"Subscriptions": [nobody]},
            DescribeTable=lambda *_: {"Table": {"TableStatus": "ARCHIVED", "KeySchema": schema}},
            GetKeyPolicy=lambda *_: {"Policy": json.dumps({"Statement": OTHERS | {"NotAction": "kms:GenerateMac"}})},
            DescribeAlarms=lambda asked, real: real() if "AlarmTypes" in asked else {"MetricAlarms": []},
        ):
            output = self.gaia_keys("doctor", status=1)
        self.assertNotIn("the authorizer denies", output)
        self.found(
            output, "FAIL +clock .*off by 100 days", "FAIL +stack .*UPDATE_ROLLBACK_FAILED .*stack set --ignore-alarms",
            "FAIL +alarms .*StartFailedAlarm-.* was deleted", "FAIL +alarms +deployments by group ignore alarms",
            "FAIL +notification .*isn't in use any more", "FAIL +notification .*own key encrypts", "FAIL +notification +nobody is subscribed .*mail that AWS sent to a@b",
            f"warn +KMS key .*{self.secondary} has been there for 100 days", "FAIL +KMS key .*it \\(kms:CreateGrant\\)",
            "FAIL +table .*ARCHIVED", "FAIL +table .*primary key", "FAIL +access .*unsigned requests with",
            "FAIL +a key's life .*says disabled of a key that was deleted, for read",
        )

    def test_4_faults(self):
        """Everything that can be wrong in the emulator, at once."""
        functions, kms, logs, cloudwatch, sns = map(self.client, ("lambda", "kms", "logs", "cloudwatch", "sns"))
        self.protect(False)
        outputs, authorizer = self.keys.outputs, self.keys.resource("AuthorizerFunction")
        logs.put_retention_policy(logGroupName=outputs["ApiLogGroup"], retentionInDays=60)
        logs.delete_retention_policy(logGroupName=outputs["AuthorizerLogGroup"])
        logs.delete_log_group(logGroupName=outputs["AccessLogGroup"])
        for name in ("doctor-StartFailedAlarm", "doctor-monitoring-LatencyAlarm"):
            alarm = cloudwatch.describe_alarms(AlarmNamePrefix=name)["MetricAlarms"][0]
            cloudwatch.set_alarm_state(AlarmName=alarm["AlarmName"], StateValue="ALARM", StateReason="a test")
        cloudwatch.disable_alarm_actions(AlarmNames=[alarm["AlarmName"]])
        sns.delete_topic(TopicArn=alarm["AlarmActions"][0])
        self.client("cloudtrail").stop_logging(Name="trail")
        weights = {"RoutingConfig": {"AdditionalVersionWeights": {"1": 0.1}}}
        functions.update_alias(FunctionName=self.keys.resource("ApiFunction"), Name="live", **weights)
        variables = functions.get_function_configuration(FunctionName=authorizer)["Environment"]["Variables"]
        variables |= {"KEY_HEADER": "x-key", "KMS_KEY_ID": outputs["KmsKeyId"]}
        levels = {"LogFormat": "JSON", "ApplicationLogLevel": "WARN", "LogGroup": outputs["AuthorizerLogGroup"]}
        functions.update_function_configuration(FunctionName=authorizer, Environment={"Variables": variables}, LoggingConfig=levels)
        version = functions.publish_version(FunctionName=authorizer)["Version"]
        functions.update_alias(FunctionName=authorizer, Name="live", FunctionVersion=version)
        functions.invoke(FunctionName=f"{authorizer}:live", Payload=b"{}")  # it has started before its KMS key is gone
        item = {"service": {"S": "gaia"}, "id": {"S": self.secret[5:31]}}
        changed = {"root_key_id": {"Value": {"S": "0" * 8}, "Action": "PUT"}}
        self.client("dynamodb").update_item(TableName=self.table, Key=item, AttributeUpdates=changed)
        self.client("dynamodb").put_item(TableName=self.table, Item=item | {"id": {"S": "nobody"}})
        self.name_root_keys("ffffffff", until=int(time.time()) + 600)
        for key, action in ((self.secondary, "KMS:creategrant"), (outputs["KmsKeyId"], "kms:DescribeKey")):
            policy = json.dumps({"Statement": [OTHERS | {"Action": action}]})
            kms.put_key_policy(KeyId=key, PolicyName="default", Policy=policy)
        kms.disable_key(KeyId=self.secondary)
        kms.schedule_key_deletion(KeyId=outputs["KmsKeyId"], PendingWindowInDays=7)
        with aws(DescribeStacks=described()):
            output = self.gaia_keys("doctor", status=1, caller=ADMINISTRATOR)  # the KMS keys let nobody else look at them
        self.found(
            output, "FAIL +table .*no deletion protection", "FAIL +table .*no point-in-time recovery", "FAIL +table .*no TTL",
            "FAIL +logs .*for 60 days, and LogRetentionDays is 90", "warn +logs .*for ever", "FAIL +logs .*doesn't exist", "warn +logs .*errors and warnings",
            "FAIL +alarms .*StartFailedAlarm-.* fires", "warn +notification .*LatencyAlarm-.* fires",
            "FAIL +notification .*actions are off", "FAIL +notification .*topic .*doesn't exist", "warn +notification +no CloudTrail trail",
            "FAIL +functions +ApiFunction: .*stuck, which sends 10% of the requests to version 1",
            "FAIL +functions +AuthorizerFunction: somebody moved", "FAIL +functions .*KMS_KEY_ID is", "FAIL +functions .*log level WARN",
            "FAIL +a key's life +the authorizer denies", "FAIL +root keys .*[0-9a-f]{8}, which signs \\(named: ffffffff\\)",
            "warn +root keys +until ", "warn +root keys +1 of 2 keys are invalid", "warn +keys +1 of 2 keys are unreadable",
            "FAIL +KMS key .*is Disabled", "FAIL +KMS key .*use it \\(kms:CreateGrant\\)", "FAIL +KMS key .*deleted",
            "FAIL +KMS key .*doesn't admit",
        )

    def test_5_another_service_or_table(self):
        keys, dynamodb = Stack("moved", templates.MAIN, ServiceName="moved", DeploymentType="AllAtOnce"), self.client("dynamodb")
        known = dynamodb.describe_table(TableName=self.table)["Table"]
        settings = {"AttributeDefinitions": known["AttributeDefinitions"], "KeySchema": known["KeySchema"], "BillingMode": "PAY_PER_REQUEST"}
        dynamodb.create_table(TableName="moved-Table-old", **settings)
        output = self.gaia_keys("doctor", "--read-only", keys=keys, status=1)
        self.found(output, "warn +keys .*moved-Table-old", "warn +stack +DeploymentType is AllAtOnce", "warn +notification +no stack")
        dynamodb.put_item(TableName=keys.outputs["TableName"], Item={"service": {"S": "gaia"}, "id": {"S": ID[5:]}})
        self.found(self.gaia_keys("doctor", "--read-only", keys=keys, status=1), "FAIL +keys .*no key of service moved, and keys of gaia")


class LogAndStack(Case):
    @classmethod
    def setUpClass(cls):
        cls.keys = Stack("parameters", templates.MAIN)

    def denied(self):
        """A key that was created, updated, deleted and used."""
        key = self.keys.create(permissions="read")
        self.keys.send("PUT", f"/{key[:31]}", {"config": {"permissions": "write"}})
        self.keys.send("DELETE", f"/delete/{key[:31]}")
        self.keys.reason(key)
        return key

    def test_what_it_shows(self):
        logs, key = shared().client("logs"), self.denied()
        logs.create_log_stream(**(group := {"logGroupName": self.keys.outputs["ApiLogGroup"], "logStreamName": "doctor"}))
        foreign = {"message": "denied", "reason": "\x9b31m"}
        odd = {"message": "audit", "key_id": key[:31], "action": "create", "actor": "a/\x9b31m" + "x" * 90}
        failed = {"message": "request failed", "level": "ERROR", "cause": "why " * 40}
        texts = ["thread 'main' panicked at \x1b[31m", "START", *map(json.dumps, (foreign, odd, failed))]
        logs.put_log_events(**group, logEvents=[{"timestamp": int(time.time() * 1000), "message": text} for text in texts])
        audit = self.gaia_keys("log", "audit", "--key", key)
        self.found(audit, f"\\S+ +create +{key[:31]} +arn:.+ read +127", ".* read to write ", ".* delete ", ".* a/\\\\x9b31mx{90}$")
        lines = map(json.loads, self.gaia_keys("log", "audit", "--key", key[:31], "--json").splitlines())
        self.assertEqual([line["action"] for line in lines], ["create", "update", "delete", "create"])
        self.found(self.gaia_keys("log", "denied", "--key", key[:31]), f"\\S+ +not_found +{key[:31]} +127.* verify by arn:")
        self.found(self.gaia_keys("log", "errors"), "\\S+ +api +panic +thread 'main' panicked at \\\\x1b", f"\\S+ +api +request failed +{failed['cause'].strip()}")
        for kind in ("audit", "denied", "errors"):
            shown = self.gaia_keys("log", kind, typed="")
            self.assertNotRegex(shown, "[\x1b\x9b]|START")
            self.assertLessEqual(max(map(len, shown.splitlines())), 80)
        with self.start("log", "denied", "--follow", **self.variables()) as process:
            for _ in range(2):
                while key[:31] not in (line := process.stdout.readline()):
                    self.assertNotRegex(line, "[\x1b\x9b]")
                key = self.denied()
            while key[:31] not in process.stdout.readline():
                pass
            time.sleep(4)  # it looks again
            process.send_signal(signal.SIGINT)
            self.assertEqual((process.wait(10), process.stdout.read()), (0, ""))

    def test_pages(self):
        event = {"logStreamName": "a", "timestamp": 1, "message": json.dumps({"message": "denied", "key_id": ID})}
        pages = lambda asked, _: {"events": [event]} if "nextToken" in asked else {"events": [], "nextToken": "more"}
        with aws(FilterLogEvents=pages) as requests:
            self.assertIn(ID, self.gaia_keys("log", "denied", "--key", ID, "--since", "2h"))
        self.assertEqual([request.get("nextToken") for _, request in requests], [None, "more"] * 2)
        pattern = '{ (($.message = "denied")) && (($.key_id = "ID") || ($.rotated_to = "ID")) }'.replace("ID", ID)
        self.assertEqual(requests[0][1]["filterPattern"], pattern)
        self.assertAlmostEqual(requests[0][1]["startTime"] / 1000, time.time() - 7200, delta=60)

    def test_a_change_and_the_way_back(self):
        before, alarm = self.keys.parameters(), self.keys.resource("StartFailedAlarm")
        shared().client("cloudwatch").set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="a test")
        output = self.gaia_keys("stack", "set", "MaxReadUnits=2000", "KeyDisclosure=id", "--yes")
        self.assertIn(f"{alarm} fires: CodeDeploy stops", output)
        self.assertEqual(self.keys.parameters(), before | {"MaxReadUnits": "2000", "KeyDisclosure": "id"})
        self.assertIn("* MaxReadUnits        2000", self.gaia_keys("stack", "show"))
        self.assertIn("nothing changes", self.gaia_keys("stack", "set", "KeyDisclosure=id", "--yes"))
        back = re.search("to go back: gaia-keys (.*)", output)[1].split()
        self.assertIn("Change parameters? [y/N]", self.gaia_keys(*back, typed="n\n", status=1))
        self.gaia_keys(*back, typed="y\n")
        self.assertEqual(self.keys.parameters(), before)

    def test_a_stack_of_another_region(self):
        said = self.gaia_keys("--stack", "elsewhere", "stack", "show", status=2)
        self.assertIn("no stack elsewhere in eu-central-1 of this account", said)

    def test_all_at_once_for_one_change(self):
        self.keys.deploy(DeploymentType="Linear10PercentEvery1Minute")
        for kind in ("Linear10PercentEvery1Minute", "Canary10Percent5Minutes"):  # the second time, after an interruption
            self.gaia_keys("stack", "set", "TrackUsage=false", "--all-at-once", "--yes")
            self.assertEqual(self.keys.parameters(), self.keys.parameters() | {"DeploymentType": kind, "TrackUsage": "false"})
            self.keys.deploy(DeploymentType="AllAtOnce")

    def test_what_would_be_lost(self):
        self.keys.deploy(SecondaryKmsKeyId="0" * 36)
        own, before = self.keys.outputs["TableName"], self.keys.parameters()
        for change, loss in (
            ("ServiceName=other", "part of every API key"), ("ExistingTableName=other", "leave the table"),
            (f"KmsKeyId={'1' * 36}", "isn't a KMS key in use"), ("SecondaryKmsKeyId=", "secondary root key become invalid"),
        ):
            self.assertRegex(self.gaia_keys("stack", "set", change, "--yes", status=2), f"WARNING: .*{loss}(?s:.*)needs a person")
            self.assertIn("Type the stack's name", self.gaia_keys("stack", "set", change, typed="y\n", status=1))
        self.assertNotIn("WARN", self.gaia_keys("stack", "set", f"ExistingTableName={own}", typed="n\n", status=1))
        self.assertEqual(self.keys.parameters(), before)
        left = self.keys.cloudformation.list_change_sets(StackName="parameters")["Summaries"]
        self.assertEqual({change["ExecutionStatus"] for change in left}, {"EXECUTE_COMPLETE"})
        self.gaia_keys("stack", "set", "SecondaryKmsKeyId=", typed="parameters\n")
        self.assertEqual(self.keys.parameters(), before | {"SecondaryKmsKeyId": ""})

    def test_the_way_back_names_what_an_empty_parameter_meant(self):
        """The stack's own table and KMS key have left it by then: an empty parameter would make new ones."""
        keys = Stack("left", templates.MAIN)
        own = [f"ExistingTableName={keys.outputs['TableName']}", f"KmsKeyId={keys.outputs['KmsKeyId']}"]
        output = self.gaia_keys("stack", "set", *own, "--yes", keys=keys)
        self.assertIn(f"to go back: gaia-keys stack set {' '.join(own)}\n", output)

    def test_errors(self):
        for words, error in (
            (["Bogus=1"], "it has DefaultUsagePlanKey, "), (["KeyDisclosure=1"], "AllowedValues"), ([], "expected NAME=VALUE"),
            (["KeyDisclosure"], "expected NAME"), (["Tracing=a", "Tracing=b"], "each name once"), (["A=1", "--all-at-once", "--ignore-alarms"], "neither"),
        ):
            self.assertIn(error, self.gaia_keys("stack", "set", *words, "--yes", status=2))
        for status, hint in (("UPDATE_IN_PROGRESS", "under way"), ("UPDATE_ROLLBACK_FAILED", "--ignore"), ("ROLLBACK_COMPLETE", "delete")):
            with aws(DescribeStacks=described(status)):
                self.assertRegex(self.gaia_keys("stack", "set", "Tracing=Active", "--yes", status=2), f"{status}.*{hint}")
        with aws(DescribeStacks=described("UPDATE_ROLLBACK_COMPLETE")):
            self.assertIn("is UPDATE_ROLLBACK_COMPLETE: ", self.gaia_keys("stack", "set", "Tracing=Active", "--yes", status=1))
            self.found(self.gaia_keys("doctor", "--read-only", status=1), "warn +stack .*UPDATE_ROLLBACK_COMPLETE: .*mend the cause")

    def test_a_rollback_that_an_alarm_blocks(self):
        """The emulator has no CodeDeploy."""
        for ends, status in (("UPDATE_ROLLBACK_COMPLETE", 0), ("UPDATE_ROLLBACK_FAILED", 1)):
            now, alarms = ["UPDATE_ROLLBACK_FAILED"], {"enabled": True, "alarms": [{"name": "StartFailedAlarm"}]}
            with aws(
                DescribeStacks=lambda asked, real: described(now[0] if len(now) == 1 else now.pop(0))(asked, real),
                ListStackResources=lambda *_: {"StackResourceSummaries": [GROUP]},
                DescribeStackResource=lambda *_: {"StackResourceDetail": GROUP},
                GetDeploymentGroup=lambda *_: {"deploymentGroupInfo": {"alarmConfiguration": alarms}},
                UpdateDeploymentGroup=lambda asked, _: alarms.update(asked["alarmConfiguration"]) or {},
                ContinueUpdateRollback=lambda *_: now.extend(["UPDATE_ROLLBACK_IN_PROGRESS", ends]) or {},
            ) as requests:
                self.gaia_keys("stack", "set", "--ignore-alarms", "--yes", status=status)
            did = [request.get("alarmConfiguration", name) for name, request in requests if name[0] in "UC"]
            self.assertEqual(did, [alarms | {"enabled": False}, "ContinueUpdateRollback", alarms | {"enabled": True}])
