"""What the functions' roles may do, and what nobody else may: each tried with credentials of the role itself."""

import itertools
import json
import unittest

import deployment
from deployment import document
from questions import OPENS, allowed, rights  # tests/aws asks the same in AWS

LOGS = {"ApiFunctionRole": "ApiLogGroup", "AuthorizerFunctionRole": "AuthorizerLogGroup"}


class Roles(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.keys = deployment.keys()
        cls.emulator = cls.keys.emulator
        cls.mac = {"KeyId": cls.keys.outputs["KmsKeyId"], "Message": b"x", "MacAlgorithm": "HMAC_SHA_256"}

    def expect(self, expected, call, **given):
        with self.subTest(call.__name__, **given):
            self.assertEqual(allowed(call, given), expected)

    def test_the_table_and_the_kms_key(self):
        other = self.emulator.client("kms").create_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")["KeyMetadata"]
        for role in OPENS:
            for expected, call, given in rights(self.keys, role, "gaia"):
                self.expect(expected, call, **given)
            (kms,) = self.keys.as_role(role, "kms")
            self.expect(False, kms.generate_mac, **self.mac | {"KeyId": other["KeyId"]})

    def test_the_kms_key_serves_the_roles_under_its_path_only(self):
        """Neither an administrator's own policy nor another role's grants it; administrators manage it all the same."""
        everything, iam = document("*", "Allow"), self.emulator.client("iam")
        kms = self.emulator.client("kms", *deployment.user(self.emulator, "administrator", json.loads(everything)))
        self.expect(False, kms.generate_mac, **self.mac)
        self.expect(True, kms.describe_key, KeyId=self.mac["KeyId"])
        trust = json.dumps(iam.get_role(RoleName=self.keys.resource("ApiFunctionRole"))["Role"]["AssumeRolePolicyDocument"])
        for path, admitted in (("/", False), ("/gaia-api-keys/gaia2/", False), ("/gaia-api-keys/gaia/", True)):
            role = iam.create_role(RoleName=f"role{len(path)}", Path=path, AssumeRolePolicyDocument=trust)["Role"]
            iam.put_role_policy(RoleName=role["RoleName"], PolicyName="all", PolicyDocument=everything)
            kms = self.emulator.client("kms", *self.emulator.assume(role["Arn"]))
            self.expect(admitted, kms.generate_mac, **self.mac)

    def test_log_groups(self):
        for (role, own), group in itertools.product(LOGS.items(), LOGS.values()):
            (client,) = self.keys.as_role(role, "logs")
            stream = {"logGroupName": self.keys.outputs[group], "logStreamName": role}
            self.expect(group == own, client.create_log_stream, **stream)
            if group != own:
                self.emulator.client("logs").create_log_stream(**stream)
            self.expect(group == own, client.put_log_events, logEvents=[{"timestamp": 1, "message": "x"}], **stream)
            self.expect(False, client.filter_log_events, logGroupName=stream["logGroupName"])
