"""What the functions' roles may do, and what nobody else may: each tried with credentials of the role itself."""

import itertools
import json
import unittest

import deployment

# Which partitions of the table ("" is the keys' own) a role opens by which operation.
OPENS = {
    "ApiFunctionRole": {
        "get_item": {"", "#idem", "#meta", "#use"},
        "put_item": {"", "#idem", "#use"},
        "update_item": {"", "#idem", "#meta", "#use"},
        "delete_item": {""},
        "query": {"", "#use"},
    },
    "AuthorizerFunctionRole": {"get_item": {"", "#meta"}, "put_item": {"#use"}},
}
OPERATIONS = ("get_item", "put_item", "update_item", "delete_item", "query")
PARTITIONS = ("", "#idem", "#meta", "#use", "2")


def arguments(operation, partition):
    key = {"service": {"S": partition}, "id": {"S": "x"}}
    if operation == "query":
        return {"KeyConditionExpression": "service = :s", "ExpressionAttributeValues": {":s": {"S": partition}}}
    return {"Item": key} if operation == "put_item" else {"Key": key}


class Roles(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.keys = deployment.keys()
        cls.emulator = cls.keys.emulator

    def allowed(self, call, **arguments):
        try:
            call(**arguments)
        except call.__self__.exceptions.ClientError as error:
            if error.response["Error"]["Code"] in ("AccessDeniedException", "AccessDenied"):
                return False
            raise
        return True

    def test_partitions(self):
        table = self.keys.outputs["TableName"]
        for role, opens in OPENS.items():
            dynamodb = self.keys.as_role(role, "dynamodb")
            for operation, suffix in itertools.product(OPERATIONS, PARTITIONS):
                with self.subTest(f"{role} {operation} gaia{suffix}"):
                    asked = arguments(operation, f"gaia{suffix}")
                    allowed = self.allowed(getattr(dynamodb, operation), TableName=table, **asked)
                    self.assertEqual(allowed, suffix in opens.get(operation, ()))

    def test_transactions_part_by_part(self):
        table = self.keys.outputs["TableName"]
        for role, opens in OPENS.items():
            dynamodb = self.keys.as_role(role, "dynamodb")
            for suffix in PARTITIONS:
                with self.subTest(f"{role} gaia{suffix}"):
                    part = {"Put": {"TableName": table, **arguments("put_item", f"gaia{suffix}")}}
                    allowed = self.allowed(dynamodb.transact_write_items, TransactItems=[part])
                    self.assertEqual(allowed, suffix in opens["put_item"])

    def test_nothing_else_of_the_table_and_no_other_table(self):
        admin, table, other = self.emulator.client("dynamodb"), self.keys.outputs["TableName"], "another-table"
        admin.create_table(
            TableName=other,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("service", "id")],
            KeySchema=[{"AttributeName": "service", "KeyType": "HASH"}, {"AttributeName": "id", "KeyType": "RANGE"}],
        )
        self.addCleanup(admin.delete_table, TableName=other)
        for role in OPENS:
            dynamodb = self.keys.as_role(role, "dynamodb")
            with self.subTest(role):
                self.assertFalse(self.allowed(dynamodb.scan, TableName=table))
                batch = {table: {"Keys": [arguments("get_item", "gaia")["Key"]]}}
                self.assertFalse(self.allowed(dynamodb.batch_get_item, RequestItems=batch))
                self.assertFalse(self.allowed(dynamodb.get_item, TableName=other, **arguments("get_item", "gaia")))
                self.assertFalse(self.allowed(dynamodb.put_item, TableName=other, **arguments("put_item", "gaia#use")))

    def test_kms(self):
        asked = {"Message": b"x", "MacAlgorithm": "HMAC_SHA_256"}
        admin, key = self.emulator.client("kms"), self.keys.outputs["KmsKeyId"]
        other = admin.create_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")["KeyMetadata"]["KeyId"]
        for role in OPENS:
            kms = self.keys.as_role(role, "kms")
            with self.subTest(role):
                self.assertTrue(self.allowed(kms.generate_mac, KeyId=key, **asked))
                self.assertFalse(self.allowed(kms.generate_mac, KeyId=key, Message=b"x", MacAlgorithm="HMAC_SHA_512"))
                self.assertFalse(self.allowed(kms.generate_mac, KeyId=other, **asked))
                self.assertFalse(self.allowed(kms.verify_mac, KeyId=key, Mac=b"x" * 32, **asked))
                self.assertFalse(self.allowed(kms.disable_key, KeyId=key))

    def test_the_kms_key_serves_the_roles_under_its_path_only(self):
        """Neither an administrator's own policy nor another role's grants it; administrators manage it all the same."""
        everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
        key = self.keys.outputs["KmsKeyId"]
        asked = {"KeyId": key, "Message": b"x", "MacAlgorithm": "HMAC_SHA_256"}
        kms = self.emulator.client("kms", *deployment.user(self.emulator, "administrator", everything))
        self.assertFalse(self.allowed(kms.generate_mac, **asked))
        self.assertTrue(self.allowed(kms.describe_key, KeyId=key))
        iam, sts = self.emulator.client("iam"), self.emulator.client("sts")
        trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        trust = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        for path, admitted in (("/", False), ("/gaia-api-keys/gaia2/", False), ("/gaia-api-keys/gaia/", True)):
            with self.subTest(path):
                name = f"role{len(path)}"
                role = iam.create_role(RoleName=name, Path=path, AssumeRolePolicyDocument=trust)["Role"]
                iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=json.dumps(everything))
                found = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="test")["Credentials"]
                kms = self.emulator.client("kms", found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"])
                self.assertEqual(self.allowed(kms.generate_mac, **asked), admitted)

    def test_log_groups(self):
        logs = {"ApiFunctionRole": "ApiLogGroup", "AuthorizerFunctionRole": "AuthorizerLogGroup"}
        for (role, own), group in itertools.product(logs.items(), logs.values()):
            with self.subTest(f"{role} {group}"):
                client, name = self.keys.as_role(role, "logs"), self.keys.outputs[group]
                stream = {"logGroupName": name, "logStreamName": role}
                self.assertEqual(self.allowed(client.create_log_stream, **stream), group == own)
                if group != own:
                    self.emulator.client("logs").create_log_stream(**stream)
                events = [{"timestamp": 1, "message": "x"}]
                self.assertEqual(self.allowed(client.put_log_events, logEvents=events, **stream), group == own)
                self.assertFalse(self.allowed(client.filter_log_events, logGroupName=name))


if __name__ == "__main__":
    unittest.main()
