"""What operators do to a deployment: settings, adoption, roll-backs, monitoring."""

import unittest

import deployment
import emulator as emulators
from deployment import Failed, Stack, edited, templates


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.emulator = emulators.shared()
        cls.kms = cls.emulator.client("kms")


class Settings(Case):
    def live(self, keys):
        """The versions that the functions' aliases serve."""
        alias = self.emulator.client("lambda").get_alias
        names = [keys.resource(name) for name in ("ApiFunction", "AuthorizerFunction")]
        return [int(alias(FunctionName=name, Name="live")["FunctionVersion"]) for name in names]

    def test_a_changed_setting_is_a_new_version(self):
        keys = Stack("changed", templates.MAIN)
        key, (api, authorizer) = keys.create(permissions="read"), self.live(keys)
        keys.deploy(KeyDisclosure="id")
        self.assertGreater(self.live(keys)[0], api)
        self.assertEqual(self.live(keys)[1], authorizer)  # which has no such setting
        self.assertEqual([entry["api_key"] for entry in keys.send("GET", "/").json], [key[:31]])

        keys.deploy(TrackUsage="false", ReadRoutes="POST /search")
        self.assertGreater(self.live(keys)[1], authorizer)
        self.assertIsNone(keys.reason(key, route="POST /search", permission="read"))
        self.assertNotIn({"S": "gaia#use"}, [item["service"] for item in keys.items()])
        self.assertEqual(keys.log("ApiLogGroup", message="usage not recorded"), [])

        # The stack's own table and KMS key by name. The functions don't change, so there must be no new version of them.
        before = dict(keys.outputs)
        keys.deploy(ExistingTableName=before["TableName"], KmsKeyId=before["KmsKeyId"])
        self.assertEqual(keys.outputs, before)
        self.assertIsNone(keys.reason(key))


class Adoption(Case):
    def test_a_deleted_stack_is_adopted(self):
        keys = Stack("deleted", templates.MAIN)
        key, outputs = keys.create(permissions="read"), keys.outputs
        keys.delete()
        groups = self.emulator.client("logs").describe_log_groups()["logGroups"]
        left = {group["logGroupName"] for group in groups if "/deleted/" in group["logGroupName"]}
        self.assertEqual(left, {outputs["ApiLogGroup"]})  # the audit log
        self.assertEqual(self.kms.describe_key(KeyId=outputs["KmsKeyId"])["KeyMetadata"]["KeyState"], "Enabled")

        adopted = {"ExistingTableName": outputs["TableName"], "KmsKeyId": outputs["KmsKeyId"]}
        again = Stack("adopted", templates.MAIN, **adopted)
        self.assertIsNone(again.reason(key))
        self.assertEqual(again.send("GET", f"/{key[:31]}").expect(200)["api_key"], key)
        new = again.create(permissions="read")
        again.delete()
        self.assertIn({"S": new[5:31]}, [item["id"] for item in deployment.items(self.emulator, outputs["TableName"])])


class Rollback(Case):
    def test_a_failed_first_deployment_leaves_the_table(self):
        """The KMS key and the logs go, the table stays, protected; then the next attempt succeeds."""
        # An alarm that can't be made, tried when the functions are there already.
        alarm = "  StartFailedAlarm:\n    Type: AWS::CloudWatch::Alarm\n"
        late = f"{alarm}    DependsOn: [ApiFunctionAliaslive, AuthorizerFunctionAliaslive]\n"
        broken = edited(templates.MAIN, ("MetricName: StartFailed\n", "MetricName: ''\n"), (alarm, late))
        logs, dynamodb = self.emulator.client("logs"), self.emulator.client("dynamodb")
        keys, tables = ({key["KeyId"] for key in self.kms.list_keys()["Keys"]}, set(dynamodb.list_tables()["TableNames"]))
        with self.assertRaisesRegex(Failed, "StartFailedAlarm"):
            Stack("first", broken)
        groups = [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]]
        self.assertEqual([name for name in groups if "/first/" in name], [])
        (made,) = {key["KeyId"] for key in self.kms.list_keys()["Keys"]} - keys
        self.assertEqual(self.kms.describe_key(KeyId=made)["KeyMetadata"]["KeyState"], "PendingDeletion")
        (table,) = set(dynamodb.list_tables()["TableNames"]) - tables
        with self.assertRaises(dynamodb.exceptions.ClientError):
            dynamodb.delete_table(TableName=table)
        dynamodb.update_table(TableName=table, DeletionProtectionEnabled=False)
        dynamodb.delete_table(TableName=table)
        self.emulator.client("cloudformation").delete_stack(StackName="first")
        keys = Stack("first", templates.MAIN)

        # A failed update leaves the stack as it was, and it can be updated again.
        key = keys.create(permissions="read")
        self.assertRaises(Failed, keys.deploy, broken, KeyDisclosure="id")
        self.assertEqual([entry["api_key"] for entry in keys.send("GET", "/").expect(200)], [key])
        keys.deploy(KeyDisclosure="id")
        self.assertEqual([entry["api_key"] for entry in keys.send("GET", "/").json], [key[:31]])


class Monitoring(Case):
    def test_it_watches_what_the_keys_stack_names(self):
        keys = deployment.keys()
        Stack("monitoring", templates.MONITORING, AlarmEmail="team@example.com")
        logs, cloudwatch, sns = (keys.emulator.client(name) for name in ("logs", "cloudwatch", "sns"))
        alarms = {alarm.get("MetricName"): alarm for alarm in cloudwatch.describe_alarms()["MetricAlarms"]}
        for output in ("ApiLogGroup", "AuthorizerLogGroup"):
            filters = logs.describe_metric_filters(logGroupName=keys.outputs[output])["metricFilters"]
            (denied,) = [f["metricTransformations"][0] for f in filters if "denied" in f["filterPattern"]]
            self.assertEqual((denied["metricName"], denied["metricNamespace"]), ("Denied", alarms["Denied"]["Namespace"]))
        self.assertEqual(alarms["5xx"]["Dimensions"], [{"Name": "ApiId", "Value": keys.resource("Api")}])
        groups = logs.describe_log_groups(logGroupNamePrefix="/aws/events/")["logGroups"]
        self.assertEqual([group["logGroupName"] for group in groups], [f"/aws/events/{keys.name}/kms"])
        (mail,) = sns.list_subscriptions()["Subscriptions"]
        self.assertEqual((mail["Protocol"], mail["Endpoint"]), ("email", "team@example.com"))
        self.assertEqual(alarms["Denied"]["AlarmActions"], [mail["TopicArn"]])
