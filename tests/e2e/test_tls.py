"""TLS to KMS and DynamoDB: AWS_CA_BUNDLE names the authorities to trust, and nothing else is trusted."""

import pathlib
import re
import socket
import ssl
import tempfile
import threading
import unittest

import trustme

import deployment
import emulator as emulators
from deployment import Stack, templates


class Server:
    """`with Server(certificate, port) as server:` hands on what comes by TLS to a port, and keeps the operations' names."""

    def __init__(self, certificate, port):
        self.context, self.port, self.operations = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), port, set()
        certificate.configure_cert(self.context)

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://localhost:{self.listener.getsockname()[1]}"
        self.start(self.accept)
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def start(self, target, *arguments):
        threading.Thread(target=target, args=arguments, daemon=True).start()

    def accept(self):
        try:
            while True:
                self.start(self.serve, self.listener.accept()[0])
        except OSError:
            return

    def serve(self, connection):
        try:
            with self.context.wrap_socket(connection, server_side=True) as client:
                with socket.create_connection(("127.0.0.1", self.port)) as emulator:
                    self.start(self.pump, emulator, client)
                    self.pump(client, emulator)
        except OSError:  # a client that doesn't trust the certificate
            pass

    def pump(self, source, target):
        try:
            while data := source.recv(65536):
                self.operations |= set(re.findall(rb"(?i)x-amz-target: *(\S+)", data))
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass


class Tls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.emulator = emulators.shared()
        folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        own, other = trustme.CA(), trustme.CA()
        cls.own, cls.other = folder / "own.pem", folder / "other.pem"
        own.cert_pem.write_to_path(cls.own)
        other.cert_pem.write_to_path(cls.other)
        cls.server = cls.enterClassContext(Server(own.issue_cert("localhost"), cls.emulator.port))
        cls.misnamed = cls.enterClassContext(Server(own.issue_cert("example.org"), cls.emulator.port))
        cls.keys = Stack("tls", cls.template(cls.server, cls.own), cls.emulator)

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
        self.keys.deploy(self.template(self.server, self.own), Tracing="Active")
        self.server.operations.clear()
        key = self.keys.send("POST", "/", {"config": {"permissions": "read"}}).expect(200)["api_key"]
        self.assertTrue(self.keys.send("POST", "/verify", {"api_key": key}).expect(200)["valid"])
        names = ("TransactWriteItems", "GetItem", "PutItem")
        expected = {b"TrentService.GenerateMac", *(f"DynamoDB_20120810.{name}".encode() for name in names)}
        self.assertLessEqual(expected, self.server.operations)

    def test_nothing_else_is_trusted(self):
        for name, server, bundle, expected in (
            ("no bundle", self.server, None, "UnknownIssuer"),
            ("another authority", self.server, self.other, "UnknownIssuer"),
            ("a certificate for another name", self.misnamed, self.own, "not valid for name"),
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
