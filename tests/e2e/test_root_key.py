"""`gaia-keys root-key`: a replacement, a theft and a changed policy; each wrong order, and each interruption."""

import json
import re
import time

import boto3
from deployment import Stack, templates
from emulator import ADMINISTRATOR, shared
from stack_command import Case


class RootKeys(Case):
    def setUp(self):
        super().setUp()
        self.kms, self.keys = shared().client("kms"), Stack(self.id().rpartition("_")[2], templates.MAIN)
        self.old = self.keys.outputs["KmsKeyId"]

    def root_key(self, *arguments, yes=True, **options):
        """What a command says, which asks nothing if `yes`."""
        return self.gaia_keys("root-key", *arguments, *["--yes"] * yes, **options)

    def policy(self, key_id):
        return json.loads(self.kms.get_key_policy(KeyId=key_id)["Policy"])

    def signer(self, key):
        return self.keys.send("GET", f"/{key[:31]}").expect(200)["root_key_id"]

    def kms_keys(self):
        """The parameters that name the primary and the secondary one."""
        found = self.keys.parameters()
        self.assertEqual(found["DeploymentType"], "Canary10Percent5Minutes")
        return found["KmsKeyId"], found["SecondaryKmsKeyId"]

    def item(self):
        (item,) = (item for item in self.keys.items() if item["service"]["S"] == "gaia#meta")
        return item

    def named(self):
        return set(self.item()["ids"]["SS"])

    def interrupted(self, denied, *arguments):
        """A run by a caller who may do everything but this, so it ends there."""
        return self.root_key(*arguments, caller=self.caller(("Allow", "*"), ("Deny", denied)), status=2)

    def count(self):
        return len(self.kms.list_keys(Limit=1000)["Keys"])

    def test_a_replacement(self):
        first, old = self.keys.create(permissions="read"), self.old
        off = self.keys.create(permissions="read")
        self.keys.send("PUT", f"/{off[:31]}", {"config": {"permissions": "read", "enabled": False}}).expect(200)
        self.assertIn("nothing to finish", self.root_key("finish", status=1))
        said = self.root_key("replace", "--kms-key", old, status=1)
        self.assertIn("is the primary one, and the only one", said)

        said = self.root_key("replace")
        new, secondary = self.kms_keys()
        self.assertEqual(secondary, old)
        self.assertIn(f"gaia-keys root-key replace --kms-key {old}", said)
        self.assertEqual(self.policy(old), self.policy(new))
        second = self.keys.create(permissions="read")
        self.assertNotEqual(self.signer(first), self.signer(second))
        self.assertEqual([self.keys.reason(first), self.keys.reason(second)], [None, None])
        said = self.root_key("status", yes=False)
        self.assertRegex(said, rf"(?m)^{new} +primary +Enabled .*\n{old} +secondary +Enabled ")
        self.assertRegex(said, rf"(?m)^{self.signer(second)} +yes +1 +0 .*\n{self.signer(first)} +yes +1 +1 ")

        count = self.count()
        self.assertIn("is the primary one already", self.root_key("replace"))
        self.assertEqual((self.kms_keys(), self.count()), ((new, old), count))
        said = self.root_key("finish", status=1)
        self.assertEqual(set(re.findall("gaia_[0-9A-Z]{26}", said)), {first[:31]})

        said = self.root_key("replace", "--kms-key", old)  # the way back
        self.assertEqual(self.kms_keys(), (old, new))
        self.assertEqual([self.keys.reason(first), self.keys.reason(second)], [None, None])
        self.assertIn("isn't the primary one yet", self.root_key("finish", status=1))
        self.assertIn(second[:31], self.root_key("finish", "--kms-key", new, status=1))
        self.root_key("replace")
        self.assertEqual((self.kms_keys(), self.count()), ((new, old), count))

        said = self.root_key("finish", status=1)
        (rotate,) = re.findall(r"gaia-keys (rotate .*) --grace 7d --mapping", said)
        grace = ["--grace", "1h", "--mapping", "mapping.csv", "--yes"]
        self.assertIn("1 rotated, 0 failed", self.gaia_keys(*rotate.split(), *grace))
        self.assertIn("the last grace period ends at", self.root_key("finish", status=1))
        self.gaia_keys("disable", first[:31])

        self.interrupted("cloudformation:ExecuteChangeSet", "finish")
        self.assertEqual(self.kms_keys(), (new, old))
        self.interrupted("dynamodb:UpdateItem", "finish")
        self.assertEqual((self.kms_keys(), self.named()), ((new, ""), {self.signer(first), self.signer(second)}))
        self.root_key("finish")
        self.assertEqual(self.named(), {self.signer(second)})
        self.assertEqual([self.keys.reason(first), self.keys.reason(second)], ["invalid", None])
        self.assertEqual(self.kms.describe_key(KeyId=old)["KeyMetadata"]["KeyState"], "Enabled")
        self.assertIn("nothing to finish", self.root_key("finish", status=1))

        self.kms.disable_key(KeyId=old)
        said = self.root_key("replace", "--kms-key", old, status=1)
        self.assertIn(f"first run aws kms enable-key --key-id {old}", said)
        self.kms.enable_key(KeyId=old)
        self.root_key("replace", "--kms-key", old)
        self.assertEqual(self.keys.reason(first), "disabled")

    def test_a_replacement_is_interrupted_at_each_step(self):
        first, old, count = self.keys.create(permissions="read"), self.old, self.count()
        self.assertIn("stopped", self.root_key("replace", yes=False, typed="n\n", status=1))
        self.assertEqual(self.count(), count)
        self.assertIn("stopped", self.root_key("replace", yes=False, typed="y\nn\n", status=1))
        self.assertNotIn("gaia-keys-", str(self.keys.cloudformation.list_change_sets(StackName=self.keys.name)))
        for denied in ("cloudformation:CreateChangeSet", "cloudformation:ExecuteChangeSet"):
            self.interrupted(denied, "replace")
            self.assertEqual((self.kms_keys(), self.count()), (("", ""), count + 1))
        self.interrupted("execute-api:Invoke", "replace")  # between the deployments
        primary, new = self.kms_keys()
        self.assertEqual(primary, "")
        self.assertIn("isn't the primary one yet", self.root_key("finish", status=1))
        other = self.kms.create_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")["KeyMetadata"]["KeyId"]
        self.assertIn(f"{new} is the secondary one. To make it", self.root_key("replace", "--kms-key", other, status=1))
        self.assertIn("isn't the secondary one", self.root_key("finish", "--kms-key", other, status=1))
        self.root_key("replace")
        self.assertEqual((self.kms_keys(), self.count()), ((new, old), count + 2))
        self.assertIsNone(self.keys.reason(first))

        said = self.root_key("finish", "--kms-key", old, status=1)
        self.assertIn(first[:31], said)
        self.keys.send("DELETE", f"/delete/{first[:31]}").expect(200)
        self.root_key("finish")
        self.keys.deploy(KmsKeyId=new, SecondaryKmsKeyId=other)
        said = self.root_key("replace", status=1)
        self.assertIn(f"To make it the primary one: gaia-keys root-key replace --kms-key {other}", said)
        self.keys.deploy(SecondaryKmsKeyId="")
        symmetric = self.kms.create_key()["KeyMetadata"]["KeyId"]
        self.assertIn("GENERATE_VERIFY_MAC is needed", self.root_key("replace", "--kms-key", symmetric, status=1))
        self.assertIn("there is no KMS key mrk-0", self.root_key("replace", "--kms-key", "mrk-0", status=1))

    def test_several_regions_take_each_step_together(self):
        there = boto3.Session(*ADMINISTRATOR).client("kms", "us-east-1", endpoint_url=shared().url)
        self.kms.replicate_key(KeyId=self.old, ReplicaRegion="us-east-1")
        said = self.root_key("replace")
        _, new = self.kms_keys()
        self.assertIn(f"in us-east-1: gaia-keys root-key replace --region REGION --kms-key {new}", said)
        self.assertEqual(self.policy(new), json.loads(there.get_key_policy(KeyId=new)["Policy"]))
        self.root_key("replace")
        self.assertEqual(self.kms_keys(), (new, self.old))

    def test_a_theft(self):
        first, old, count = self.keys.create(permissions="read"), self.old, self.count()
        stolen = self.signer(first)
        policy = self.policy(old)
        policy["Statement"].append({"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*"})
        self.kms.put_key_policy(KeyId=old, Policy=json.dumps(policy))
        self.assertIn("gaia-keys root-key repair", self.root_key("accept", status=1))
        self.assertIn("gaia-keys root-key repair", self.root_key("status", yes=False))
        self.assertRegex(self.root_key("repair"), "(?m)^now +Allow +\\* +kms:\\*")

        self.interrupted("cloudformation:CreateChangeSet", "accept")
        self.interrupted("dynamodb:UpdateItem", "accept")
        self.assertEqual((self.kms_keys(), self.count()), (("", ""), count + 1))
        self.assertNotIn("accept_any_until", self.item())
        self.interrupted("cloudformation:ExecuteChangeSet", "accept")
        self.assertAlmostEqual(int(self.item()["accept_any_until"]["N"]), time.time() + 3600, delta=60)
        for command in ("replace", "finish"):
            self.assertIn("gaia-keys root-key accept was started", self.root_key(command, status=1))
        self.interrupted("execute-api:Invoke", "accept")  # deployed, all at once
        self.interrupted("apigateway:GET", "accept")
        said = self.root_key("accept")
        self.assertIn("gaia-keys stack set DeploymentType=Canary10Percent5Minutes", said)
        self.keys.deploy(KmsKeyId=self.keys.parameters()["KmsKeyId"], DeploymentType="Canary10Percent5Minutes")
        new, secondary = self.kms_keys()
        self.assertEqual((secondary, self.count()), ("", count + 1))
        self.assertEqual(self.keys.reason(first), "invalid")
        self.assertNotIn("accept_any_until", self.item())
        self.assertNotIn(stolen, self.named())
        (rotate,) = re.findall(r"gaia-keys (rotate .*) --mapping", said)
        self.gaia_keys(*rotate.split(), "--mapping", "mapping.csv", "--yes")
        replaced = (self.folder / "mapping.csv").read_text().split()[1].split(",")
        self.assertEqual((replaced[0], self.keys.reason(replaced[1])), (first[:31], None))
        self.assertEqual(self.named(), {self.signer(replaced[1])})

        # Another theft, or the command run once more by mistake.
        self.assertIn("needs a person", self.root_key("accept", status=2))
        self.assertEqual((self.kms_keys(), self.count()), ((new, ""), count + 1))
        said = self.root_key("accept", yes=False, typed="y\nn\n", status=1)  # nothing is deployed yet
        self.assertIn("the API keys created since become invalid too", said)
        self.root_key("accept", yes=False, typed="y\n")
        self.assertNotEqual(self.kms_keys()[0], new)
        self.assertEqual((self.count(), len(self.named())), (count + 2, 1))
        self.assertEqual(self.keys.reason(replaced[1]), "invalid")

    def test_a_repair(self):
        policy = self.policy(self.old)
        self.assertIn("nothing to repair", self.root_key("repair"))
        self.kms.schedule_key_deletion(KeyId=self.old)
        self.kms.put_key_policy(KeyId=self.old, Policy=json.dumps(policy).replace("kms:GenerateMac", "kms:VerifyMac"))
        self.interrupted("kms:EnableKey", "repair")
        self.assertEqual(self.kms.describe_key(KeyId=self.old)["KeyMetadata"]["KeyState"], "Disabled")
        self.assertIn("gaia-keys root-key accept", self.root_key("repair"))
        self.assertEqual(self.kms.describe_key(KeyId=self.old)["KeyMetadata"]["KeyState"], "Enabled")
        self.assertEqual(self.policy(self.old), policy)
