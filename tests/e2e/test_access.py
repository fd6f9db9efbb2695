"""Who may call the management API, by the IAM policies of docs/deploy.md; what the functions' roles may do."""

import itertools
import json
import re
import unittest

import deployment
from deployment import document
from questions import OPENS, allowed, rights  # tests/aws asks the same in AWS

LOGS = {"ApiFunctionRole": "ApiLogGroup", "AuthorizerFunctionRole": "AuthorizerLogGroup"}
SAMPLES = sorted((deployment.ROOT / "events/http-api").glob("*.json"))


def request(sample, key):
    """The method, path below the API's and body of a sample event, for another key."""
    event = json.loads(re.sub(r"gaia_\w{26}(_\w{26})?", key, sample.read_text()))
    body = json.loads(event["body"]) if event.get("body") else None
    return event["requestContext"]["http"]["method"], event["rawPath"].partition("api_keys")[2].rstrip("/"), body


class Access(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.keys = deployment.keys()
        cls.policies = deployment.documented_policies(cls.keys)
        cls.manager = deployment.user(cls.keys.emulator, "manages", cls.policies[0])

    def stored(self):
        return [item for item in self.keys.items() if item["service"] == {"S": "gaia"}]

    def assertAllows(self, caller, allowed):
        """Of the requests to all endpoints, with and without a slash at the end, those for which `allowed` holds are done."""
        for sample in SAMPLES:
            for slash in ("", "/"):
                key = self.keys.create(permissions="read")
                (method, path, body), before = request(sample, key), self.stored()
                response = self.keys.send(method, path + slash, body, caller=caller)
                with self.subTest(f"{method} {path}{slash}"):
                    if allowed(method, path):
                        response.expect(200)
                    else:  # denied by the gateway, and nothing changed
                        self.assertEqual((response.status, '"detail"' in response.text), (403, False), response.text)
                        self.assertCountEqual(self.stored(), before)

    def test_no_right(self):
        other_api = json.loads(json.dumps(self.policies[0]).replace(self.keys.outputs["ApiArn"], "arn:aws:execute-api:*:*:other"))
        stranger = deployment.user(self.keys.emulator, "stranger", other_api)
        for caller in (None, (self.manager[0], "another secret"), stranger):
            self.assertAllows(caller, lambda method, path: False)

    def test_who_manages_keys(self):
        self.assertAllows(self.manager, lambda method, path: True)
        # The policies name one API, so no other service opens with them.
        dynamodb = self.keys.emulator.client("dynamodb", *self.manager)
        with self.assertRaisesRegex(dynamodb.exceptions.ClientError, "AccessDenied"):
            dynamodb.scan(TableName=self.keys.outputs["TableName"])

    def test_who_only_looks_and_who_only_checks_keys(self):
        users = [deployment.user(self.keys.emulator, name, policy) for name, policy in zip(("l", "v"), self.policies[1:])]
        self.assertAllows(users[0], lambda method, path: method == "GET")
        self.assertAllows(users[1], lambda method, path: path == "/verify")


class Roles(unittest.TestCase):
    """Each call is tried with credentials of the role itself."""

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
