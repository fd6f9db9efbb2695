"""TLS to KMS and DynamoDB: AWS_CA_BUNDLE names the authorities to trust, and nothing else is trusted."""

import tempfile
import unittest

import deployment
import emulator as emulators
from deployment import Stack, templates
from tls import Authority, Server


class Tls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.emulator = emulators.shared()
        folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.own, cls.other = Authority(folder, "own"), Authority(folder, "other")
        cls.server = cls.enterClassContext(Server(cls.own.context("localhost"), cls.emulator.port))
        cls.misnamed = cls.enterClassContext(Server(cls.own.context("example.org"), cls.emulator.port))
        cls.keys = Stack("tls", cls.template(cls.server, cls.own.file), cls.emulator)

    @staticmethod
    def template(server, bundle=None):
        variables = {"AWS_ENDPOINT_URL_DYNAMODB": server.url, "AWS_ENDPOINT_URL_KMS": server.url}
        if bundle:
            variables["AWS_CA_BUNDLE"] = bundle
        lines = "".join(f"        {name}: {value}\n" for name, value in variables.items())
        line = "        AWS_ENDPOINT_URL_DYNAMODB: !Ref AWS::NoValue\n"
        assert templates.MAIN.count(line) == 1
        return templates.MAIN.replace(line, lines)

    def test_the_authority_in_the_bundle_is_trusted(self):
        self.keys.deploy(self.template(self.server, self.own.file), Tracing="Active")
        self.server.operations.clear()
        key = self.keys.send("POST", "/", {"config": {"permissions": "read"}}).expect(200)["api_key"]
        self.assertTrue(self.keys.send("POST", "/verify", {"api_key": key}).expect(200)["valid"])
        expected = {b"TrentService.GenerateMac"} | {
            b"DynamoDB_20120810." + name for name in (b"TransactWriteItems", b"GetItem", b"PutItem")
        }
        self.assertLessEqual(expected, self.server.operations)

    def test_nothing_else_is_trusted(self):
        for name, server, bundle, expected in (
            ("no bundle", self.server, None, "UnknownIssuer"),
            ("another authority", self.server, self.other.file, "UnknownIssuer"),
            ("a certificate for another name", self.misnamed, self.own.file, "not valid for name"),
            ("no file", self.server, "/no/such/file", "AWS_CA_BUNDLE: /no/such/file: No such file or directory"),
        ):
            server.operations.clear()
            self.keys.deploy(self.template(server, bundle))
            for function in ("ApiFunction", "AuthorizerFunction"):
                with self.subTest(f"{name}: {function}"):
                    entry = deployment.failed_start(self.keys, function)
                    self.assertEqual((entry["level"], entry["message"]), ("ERROR", "start failed"))
                    self.assertIn(expected, entry["error"])
            self.assertEqual(server.operations, set())


if __name__ == "__main__":
    unittest.main()
