"""TLS to KMS and DynamoDB: AWS_CA_BUNDLE names the authorities to trust, and nothing else is trusted."""

import contextlib
import pathlib
import socket
import socketserver
import ssl
import tempfile
import threading
import unittest

import trustme

import deployment
import emulator as emulators
from deployment import Stack, templates


class Server(socketserver.ThreadingTCPServer):
    """Hands on what comes by TLS to a port."""

    daemon_threads = True

    def __init__(self, certificate, port):
        super().__init__(("127.0.0.1", 0), None)
        self.context, self.port = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), port
        certificate.configure_cert(self.context)
        self.url = f"https://localhost:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def finish_request(self, request, _):
        with contextlib.suppress(OSError):  # a client that doesn't trust the certificate
            client = self.context.wrap_socket(request, server_side=True)
            emulator = socket.create_connection(("127.0.0.1", self.port))
            threading.Thread(target=self.pump, args=(emulator, client), daemon=True).start()
            self.pump(client, emulator)

    def pump(self, source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)


class Tls(unittest.TestCase):
    def deployed(self, server, bundle):
        variables = {"AWS_ENDPOINT_URL_DYNAMODB": server.url, "AWS_ENDPOINT_URL_KMS": server.url, "AWS_CA_BUNDLE": bundle}
        lines = "".join(f"        {name}: {value}\n" for name, value in variables.items())
        line = "        AWS_ENDPOINT_URL_DYNAMODB: !Ref AWS::NoValue\n"
        assert templates.MAIN.count(line) == 1
        return Stack("tls", templates.MAIN.replace(line, lines), emulators.shared())

    def test_the_bundle_is_trusted_and_nothing_else(self):
        folder, port = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())), emulators.shared().port
        own, other = trustme.CA(), trustme.CA()
        own.cert_pem.write_to_path(folder / "own.pem")
        other.cert_pem.write_to_path(folder / "other.pem")
        server, misnamed = [Server(own.issue_cert(name), port) for name in ("localhost", "example.org")]

        keys = self.deployed(server, folder / "own.pem")
        key = keys.send("POST", "/", {"config": {"permissions": "read"}}).expect(200)["api_key"]
        self.assertTrue(keys.send("POST", "/verify", {"api_key": key}).expect(200)["valid"])
        for server, bundle, expected in (
            (server, "!Ref AWS::NoValue", "UnknownIssuer"),
            (server, folder / "other.pem", "UnknownIssuer"),
            (misnamed, folder / "own.pem", "not valid for name"),
        ):
            keys = self.deployed(server, bundle)
            for function in ("ApiFunction", "AuthorizerFunction"):
                with self.subTest(expected, function=function):
                    self.assertIn(expected, deployment.failed_start(keys, function)["error"])
