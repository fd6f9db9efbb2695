"""What the functions' roles may do, and what nobody else may: each tried with credentials of the role itself."""

import itertools
import json
import unittest

import deployment
from deployment import document

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
LOGS = {"ApiFunctionRole": "ApiLogGroup", "AuthorizerFunctionRole": "AuthorizerLogGroup"}


def arguments(operation, partition):
    key = {"service": {"S": partition}, "id": {"S": "x"}}
    if operation == "query":
        return {"KeyConditionExpression": "service = :s", "ExpressionAttributeValues": {":s": {"S": partition}}}
    return {"Item": key} if operation == "put_item" else {"Key": key}


class Roles(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.keys = deployment.keys()
        cls.emulator, cls.table = cls.keys.emulator, cls.keys.outputs["TableName"]
        cls.mac = {"KeyId": cls.keys.outputs["KmsKeyId"], "Message": b"x", "MacAlgorithm": "HMAC_SHA_256"}

    def expect(self, allowed, call, **arguments):
        code = ""
        try:
            call(**arguments)
        except call.__self__.exceptions.ClientError as error:
            code = error.response["Error"]["Code"]
        with self.subTest(call.__name__, **arguments):
            self.assertIn(code, ("",) if allowed else ("AccessDeniedException", "AccessDenied"))

    def test_the_table(self):
        """Each operation on each partition, also in a transaction, whose parts are authorized one by one; nothing else."""
        key = arguments("get_item", "gaia")["Key"]
        for role, opens in OPENS.items():
            dynamodb = self.keys.as_role(role, "dynamodb")
            for operation, suffix in itertools.product(OPERATIONS, PARTITIONS):
                allowed, asked = suffix in opens.get(operation, ()), arguments(operation, f"gaia{suffix}")
                self.expect(allowed, getattr(dynamodb, operation), TableName=self.table, **asked)
                if operation == "put_item":
                    put = {"Put": {"TableName": self.table, **asked}}
                    self.expect(allowed, dynamodb.transact_write_items, TransactItems=[put])
            self.expect(False, dynamodb.scan, TableName=self.table)
            self.expect(False, dynamodb.batch_get_item, RequestItems={self.table: {"Keys": [key]}})
            self.expect(False, dynamodb.get_item, TableName="another-table", Key=key)

    def test_the_kms_key(self):
        """It serves the roles under its path only. Neither an administrator's own policy nor another role's grants it;
        administrators manage it all the same."""
        other = self.emulator.client("kms").create_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")["KeyMetadata"]
        for role in OPENS:
            kms = self.keys.as_role(role, "kms")
            self.expect(True, kms.generate_mac, **self.mac)
            self.expect(False, kms.generate_mac, **self.mac | {"MacAlgorithm": "HMAC_SHA_512"})
            self.expect(False, kms.generate_mac, **self.mac | {"KeyId": other["KeyId"]})
            self.expect(False, kms.verify_mac, Mac=b"x" * 32, **self.mac)
            self.expect(False, kms.disable_key, KeyId=self.mac["KeyId"])
        everything, iam = document("*", "Allow"), self.emulator.client("iam")
        kms = self.emulator.client("kms", deployment.user(self.emulator, "administrator", json.loads(everything)))
        self.expect(False, kms.generate_mac, **self.mac)
        self.expect(True, kms.describe_key, KeyId=self.mac["KeyId"])
        trust = json.dumps(iam.get_role(RoleName=self.keys.resource("ApiFunctionRole"))["Role"]["AssumeRolePolicyDocument"])
        for path, admitted in (("/", False), ("/gaia-api-keys/gaia2/", False), ("/gaia-api-keys/gaia/", True)):
            role = iam.create_role(RoleName=f"role{len(path)}", Path=path, AssumeRolePolicyDocument=trust)["Role"]
            iam.put_role_policy(RoleName=role["RoleName"], PolicyName="all", PolicyDocument=everything)
            kms = self.emulator.client("kms", self.emulator.assume(role["Arn"]))
            self.expect(admitted, kms.generate_mac, **self.mac)

    def test_log_groups(self):
        for (role, own), group in itertools.product(LOGS.items(), LOGS.values()):
            client, stream = self.keys.as_role(role, "logs"), {"logGroupName": self.keys.outputs[group], "logStreamName": role}
            self.expect(group == own, client.create_log_stream, **stream)
            if group != own:
                self.emulator.client("logs").create_log_stream(**stream)
            self.expect(group == own, client.put_log_events, logEvents=[{"timestamp": 1, "message": "x"}], **stream)
            self.expect(False, client.filter_log_events, logGroupName=stream["logGroupName"])


if __name__ == "__main__":
    unittest.main()
