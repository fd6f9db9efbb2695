"""What operators do to a deployment: adoption, roll-backs."""

import unittest

import emulator as emulators
from deployment import Failed, Stack, edited, templates


class Operations(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.emulator = emulators.shared()
        cls.kms = cls.emulator.client("kms")

    def test_its_own_table_and_kms_key_by_name(self):
        """The functions don't change, so there must be no new version of them."""
        keys = Stack("named", templates.MAIN)
        key, outputs = keys.create(permissions="read"), keys.outputs
        keys.deploy(ExistingTableName=outputs["TableName"], KmsKeyId=outputs["KmsKeyId"])
        self.assertEqual(keys.outputs, outputs)
        self.assertIsNone(keys.reason(key))

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
        self.assertIn({"S": new[5:31]}, [item["id"] for item in keys.items()])

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
