"""tests/aws on the emulator, as far as that goes: its questions, and that it leaves nothing behind."""

import contextlib
import io
import unittest
from unittest import mock

import emulator as emulators
from account import DENIED, document

import questions
import run


class Proof(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.account = cls.enterClassContext(emulators.Emulator("proof", emulators.REGION))
        cls.account.pause = 0.5

    def everything(self):
        """What there is in the account."""
        kms, gateway = self.account.client("kms"), self.account.client("apigateway").get_account()
        keys = [kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"] for key in kms.list_keys()["Keys"]]
        calls = {
            ("cloudformation", "describe_stacks"): "Stacks[].StackName",
            ("dynamodb", "list_tables"): "TableNames[]",
            ("iam", "list_roles"): "Roles[].RoleName",
            ("lambda", "list_functions"): "Functions[].FunctionName",
            ("logs", "describe_log_groups"): "logGroups[].logGroupName",
            ("s3", "list_buckets"): "Buckets[].Name",
        }
        found = [list(self.account.client(s).get_paginator(call).paginate().search(path)) for (s, call), path in calls.items()]
        return found, [key for key in keys if key["KeyState"] != "PendingDeletion"], gateway.get("cloudwatchRoleArn") or None

    def ask(self):
        """Exit status and output of a run. It leaves nothing."""
        before, output = self.everything(), io.StringIO()
        try:
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
                return run.run(self.account, questions.QUESTIONS), output.getvalue()
        finally:
            self.assertEqual(self.everything(), before)
            del self.account.artifact  # its bucket is gone

    def test_every_question_is_answered_or_skipped(self):
        status, output = self.ask()
        self.assertEqual(status, 0, output)
        self.assertGreaterEqual(output.count("| as expected |"), 7, output)
        print(next(line for line in output.splitlines() if line.startswith("skipped: ")))

    def test_a_killed_run_is_removed(self):
        """Also with a policy that CloudFormation doesn't know, though only in AWS that keeps it from deleting a role."""

        def interrupt(here):
            here.keys.deploy(ServiceName=here.account.name)
            role = here.keys.resource("AuthorizerFunctionRole")
            here.client("iam").put_role_policy(RoleName=role, PolicyName=DENIED, PolicyDocument=document("*"))
            raise KeyboardInterrupt

        with mock.patch.object(questions.Deployment, "deploy", interrupt), self.assertRaises(KeyboardInterrupt):
            self.ask()
