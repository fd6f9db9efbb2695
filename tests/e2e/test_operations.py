"""What operators do to a deployment: settings, adoption, a disabled KMS key, roll-backs."""

import unittest

import deployment
import emulator as emulators
from deployment import Failed, Stack, templates


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.emulator = emulators.shared()
        cls.kms = cls.emulator.client("kms")
        cls.functions = cls.emulator.client("lambda")

    def create(self, keys):
        return keys.send("POST", "/", {"config": {"permissions": "read"}}).expect(200)["api_key"]

    def verify(self, keys, key):
        return keys.send("POST", "/verify", {"api_key": key}).expect(200)

    def live(self, keys, function="ApiFunction"):
        """The version that the alias serves."""
        return self.functions.get_alias(FunctionName=keys.resource(function), Name="live")["FunctionVersion"]

    def variables(self, keys, function="ApiFunction"):
        """The environment of the version that the alias serves."""
        name = f"{keys.resource(function)}:live"
        return self.functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]


class Settings(Case):
    def test_a_changed_setting_is_a_new_version(self):
        keys = Stack("settings", templates.MAIN, self.emulator)
        key = self.create(keys)
        self.assertEqual([entry["api_key"] for entry in keys.send("GET", "/").json], [key])
        before = self.live(keys), self.live(keys, "AuthorizerFunction")

        keys.deploy(KeyDisclosure="id")
        self.assertGreater(int(self.live(keys)), int(before[0]))
        self.assertEqual(self.live(keys, "AuthorizerFunction"), before[1])  # which has no such setting
        self.assertEqual([entry["api_key"] for entry in keys.send("GET", "/").json], [key[:31]])

        keys.deploy(TrackUsage="false")
        self.assertGreater(int(self.live(keys, "AuthorizerFunction")), int(before[1]))
        self.assertEqual(self.verify(keys, key)["valid"], True)
        self.assertEqual({item["service"]["S"] for item in keys.items()}, {"gaia", "gaia#meta"})
        self.assertEqual(keys.log("ApiLogGroup", message="usage not recorded"), [])

    def test_read_routes_reach_the_function(self):
        keys = Stack("read-routes", templates.MAIN, self.emulator, ReadRoutes="POST /search")
        asked = {"api_key": self.create(keys), "route": "POST /search", "permission": "read"}
        self.assertTrue(keys.send("POST", "/verify", asked).expect(200)["valid"])
        keys.deploy(ReadRoutes="POST /find")
        self.assertEqual(keys.send("POST", "/verify", asked).expect(200), {"valid": False, "reason": "permission"})

    def test_the_stacks_own_table_and_kms_key_by_name(self):
        """They leave the stack and stay in use. The functions don't change, so there must be no new version of them."""
        keys = Stack("named", templates.MAIN, self.emulator)
        key, before = self.create(keys), keys.outputs
        keys.deploy(ExistingTableName=before["TableName"], KmsKeyId=before["KmsKeyId"])
        self.assertEqual(keys.outputs, before)
        self.assertTrue(self.verify(keys, key)["valid"])

    def test_what_the_template_rejects(self):
        key = self.kms.create_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")["KeyMetadata"]["KeyId"]
        rejected = (Failed, self.emulator.client("cloudformation").exceptions.ClientError)
        for parameters in ({"KmsKeyId": key, "SecondaryKmsKeyId": key}, {"ServiceName": "a b"}, {"KeyDisclosure": "none"}):
            with self.subTest(parameters), self.assertRaises(rejected):
                Stack("rejected", templates.MAIN, self.emulator, **parameters)


class Adoption(Case):
    def test_the_kms_key_can_be_adopted_in_another_region(self):
        key = self.kms.describe_key(KeyId=deployment.keys().outputs["KmsKeyId"])["KeyMetadata"]
        self.assertTrue(key["MultiRegion"])

    def test_a_deleted_stack_is_adopted(self):
        keys = Stack("deleted", templates.MAIN, self.emulator)
        key, outputs = self.create(keys), keys.outputs
        keys.delete()
        groups = self.emulator.client("logs").describe_log_groups()["logGroups"]
        left = {group["logGroupName"] for group in groups if "/deleted/" in group["logGroupName"]}
        self.assertEqual(left, {outputs["ApiLogGroup"]})  # the audit log
        self.assertEqual(self.kms.describe_key(KeyId=outputs["KmsKeyId"])["KeyMetadata"]["KeyState"], "Enabled")

        adopted = {"ExistingTableName": outputs["TableName"], "KmsKeyId": outputs["KmsKeyId"]}
        again = Stack("adopted", templates.MAIN, self.emulator, **adopted)
        self.assertEqual({name: again.outputs[name] for name in ("TableName", "KmsKeyId")}, {
            "TableName": outputs["TableName"], "KmsKeyId": outputs["KmsKeyId"]
        })
        self.assertEqual(self.verify(again, key)["valid"], True)
        self.assertEqual(again.send("GET", f"/{key[:31]}").expect(200)["api_key"], key)
        new = self.create(again)
        again.delete()
        self.assertIn({"S": new[5:31]}, [item["id"] for item in deployment.items(self.emulator, outputs["TableName"])])


class DisabledKmsKey(Case):
    def test_running_instances_go_on_and_new_ones_fail(self):
        keys = Stack("disabled", templates.MAIN, self.emulator)
        key, kms_key = self.create(keys), keys.outputs["KmsKeyId"]
        self.kms.disable_key(KeyId=kms_key)
        self.assertTrue(self.verify(keys, key)["valid"])

        keys.deploy(Tracing="Active")  # a new version, whose instances start
        self.assertGreaterEqual(keys.send("POST", "/verify", {"api_key": key}).status, 500)
        for function in ("ApiFunction", "AuthorizerFunction"):
            with self.subTest(function):
                entry = deployment.failed_start(keys, function)
                self.assertEqual((entry["level"], entry["message"]), ("ERROR", "start failed"))
                self.assertRegex(entry["error"], f"^KMS_KEY_ID: GenerateMac with {kms_key}: .*DisabledException")

        self.kms.enable_key(KeyId=kms_key)
        self.assertTrue(self.verify(keys, key)["valid"])


class Rollback(Case):
    def broken(self):
        """The template with an alarm that can't be made, tried when the functions' new versions are out already."""
        alarm = "  StartFailedAlarm:\n    Type: AWS::CloudWatch::Alarm\n"
        self.assertEqual((templates.MAIN.count(alarm), templates.MAIN.count("MetricName: StartFailed\n")), (1, 1))
        text = templates.MAIN.replace("MetricName: StartFailed\n", "MetricName: ''\n")
        return text.replace(alarm, f"{alarm}    DependsOn: [ApiFunctionAliaslive, AuthorizerFunctionAliaslive]\n")

    def test_a_failed_update_leaves_the_stack_as_it_was(self):
        keys = Stack("rollback", templates.MAIN, self.emulator)
        key = self.create(keys)
        before = self.variables(keys), keys.send("GET", "/").expect(200), keys.outputs
        with self.assertRaises(Failed) as caught:
            keys.deploy(self.broken(), KeyDisclosure="id")
        self.assertIn("StartFailedAlarm", str(caught.exception))
        self.assertEqual(keys.status(), "UPDATE_ROLLBACK_COMPLETE")
        self.assertEqual((self.variables(keys), keys.send("GET", "/").expect(200)), before[:2])
        self.assertTrue(self.verify(keys, key)["valid"])

        keys.deploy(KeyDisclosure="id")  # and it can be updated again
        self.assertEqual([entry["api_key"] for entry in keys.send("GET", "/").json], [key[:31]])

    def test_a_failed_first_deployment_leaves_the_table(self):
        """docs/deploy.md: the KMS key and the logs go, the table stays, protected; then the next attempt succeeds."""
        logs, dynamodb = self.emulator.client("logs"), self.emulator.client("dynamodb")
        before = {key["KeyId"] for key in self.kms.list_keys()["Keys"]}
        tables = set(dynamodb.list_tables()["TableNames"])
        with self.assertRaises(Failed):
            Stack("first", self.broken(), self.emulator)
        groups = [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]]
        self.assertEqual([name for name in groups if "/first/" in name], [])
        (made,) = {key["KeyId"] for key in self.kms.list_keys()["Keys"]} - before
        self.assertEqual(self.kms.describe_key(KeyId=made)["KeyMetadata"]["KeyState"], "PendingDeletion")
        (table,) = set(dynamodb.list_tables()["TableNames"]) - tables
        with self.assertRaises(dynamodb.exceptions.ClientError):
            dynamodb.delete_table(TableName=table)
        dynamodb.update_table(TableName=table, DeletionProtectionEnabled=False)
        dynamodb.delete_table(TableName=table)
        self.emulator.client("cloudformation").delete_stack(StackName="first")
        self.create(Stack("first", templates.MAIN, self.emulator))


if __name__ == "__main__":
    unittest.main()
