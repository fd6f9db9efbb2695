"""tests/aws on the emulator, as far as that goes: its questions, and that it leaves nothing behind."""

import contextlib
import io
import json
import sys
import unittest
import unittest.mock

import deployment
import emulator as emulators
from deployment import BINARY, REGION, ROOT, templates
from samtranslator.yaml_helper import yaml_parse

sys.path.append(str(ROOT / "tests/aws"))
import questions
import run
from account import DENIED, Account


class EmulatedAccount(Account):
    emulated, pause = True, 0.5

    def __init__(self, emulator, edit=("", "")):
        super().__init__("proof", REGION, BINARY)
        self.emulator, self.edit = emulator, edit

    def client(self, service):
        return self.emulator.client(service)

    def client_of(self, found, service):
        return self.emulator.client(service, found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"])

    def packaged(self, text, parameters):
        deployment.upload_artifact(self.emulator)
        text = super().packaged(text, parameters).replace(*self.edit)
        template = templates.Stack(text, **parameters).template if "\nTransform:" in text else yaml_parse(text)
        # The emulator reads no ANY from the body of a REST API. The probe is asked by POST there.
        return json.dumps(deployment.for_emulator(template), default=str).replace("x-amazon-apigateway-any-method", "post")

    credentials = deployment.ADMINISTRATOR

    def send(self, method, url, body=None, headers=None, credentials=None):
        path = "/" + url.split("/", 3)[3]
        return deployment.send(self.emulator, url, method, path, body, caller=credentials, headers=headers)

    def everything(self):
        """What there is in the account, but for what e2e itself put there."""
        clients = {name: self.client(name) for name in ("cloudformation", "dynamodb", "iam", "kms", "lambda", "logs", "s3")}
        keys = [clients["kms"].describe_key(KeyId=key["KeyId"])["KeyMetadata"] for key in clients["kms"].list_keys()["Keys"]]
        return [
            [stack["StackName"] for stack in clients["cloudformation"].describe_stacks()["Stacks"]],
            clients["dynamodb"].list_tables()["TableNames"],
            [role["RoleName"] for role in clients["iam"].list_roles()["Roles"]],
            [key["KeyId"] for key in keys if key["KeyState"] != "PendingDeletion"],
            [function["FunctionName"] for function in clients["lambda"].list_functions()["Functions"]],
            [group["logGroupName"] for group in clients["logs"].describe_log_groups()["logGroups"]],
            [bucket["Name"] for bucket in clients["s3"].list_buckets()["Buckets"] if bucket["Name"] != deployment.BUCKET],
            self.client("apigateway").get_account().get("cloudwatchRoleArn") or None,
        ]


class Proof(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.emulator = cls.enterClassContext(emulators.Emulator("aws"))

    @contextlib.contextmanager
    def nothing_left(self, account):
        before = account.everything()
        yield
        self.assertEqual(account.everything(), before)

    def ask(self, account, *names):
        """Exit status and output of a run with these questions, or all."""
        asked = [each for each in questions.QUESTIONS if each.ask.__name__ in names or not names]
        output = io.StringIO()
        with self.nothing_left(account), contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            return run.run(account, asked), output.getvalue()

    def test_every_question_is_answered_or_skipped(self):
        status, output = self.ask(EmulatedAccount(self.emulator))
        self.assertEqual(status, 0, output)
        self.assertGreaterEqual(output.count("| as expected |"), 7, output)
        print(next(line for line in output.splitlines() if line.startswith("skipped: ")))

    def test_what_is_not_as_expected_is_said(self):
        edit = ('[!Ref ServiceName, !Sub "${ServiceName}#meta"]', '[!Ref ServiceName, another, !Sub "${ServiceName}#meta"]')
        status, output = self.ask(EmulatedAccount(self.emulator, edit), "roles", "arn")
        self.assertEqual(status, 1, output)
        self.assertRegex(output, r"get_item.*another.*\| NOT AS EXPECTED \|")
        self.assertEqual(output.count("| as expected |"), 1, output)

    def test_an_interrupted_deployment_is_removed(self):
        account = EmulatedAccount(self.emulator)
        with self.nothing_left(account), contextlib.redirect_stderr(io.StringIO()):
            with unittest.mock.patch.object(questions.Deployment, "deploy", interrupt):
                self.assertRaises(KeyboardInterrupt, run.run, account, [])

    def test_a_killed_question_is_removed(self):
        """What CloudFormation doesn't know of: a role, and a policy that would keep it from deleting a role."""
        account = EmulatedAccount(self.emulator)
        with self.nothing_left(account), contextlib.redirect_stderr(io.StringIO()):
            account.deploy(account.name, templates.MAIN, {"ServiceName": account.name})
            account.twin("ApiFunctionRole")
            role = account.resource(account.name, "AuthorizerFunctionRole")
            policy = {"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}}
            account.client("iam").put_role_policy(RoleName=role, PolicyName=DENIED, PolicyDocument=json.dumps(policy))
            delete, seen = account.client("cloudformation").delete_stack, []

            def delete_stack(**arguments):
                seen.extend(account.client("iam").list_role_policies(RoleName=role)["PolicyNames"])
                delete(**arguments)

            with unittest.mock.patch.object(account.client("cloudformation"), "delete_stack", delete_stack):
                self.assertEqual(account.remove(), [])
            self.assertEqual(seen, ["AuthorizerFunctionRole"])

    def test_what_a_deleted_stack_left_is_removed(self):
        account = EmulatedAccount(self.emulator)
        with self.nothing_left(account), contextlib.redirect_stderr(io.StringIO()):
            account.deploy(account.name, templates.MAIN, {"ServiceName": account.name})
            account.client("cloudformation").delete_stack(StackName=account.name)
            account.settled(account.name)
            self.assertTrue(account.client("dynamodb").list_tables()["TableNames"])
            self.assertEqual(account.remove(), [])


def interrupt(here):
    """Ctrl-C while the first stack is being created."""

    def pressed():
        raise KeyboardInterrupt

    here.account.deploy(here.keys, here.template, {"ServiceName": here.account.name}, pressed)


if __name__ == "__main__":
    unittest.main()
