"""TLS to KMS and DynamoDB: AWS_CA_BUNDLE names the authorities to trust, and nothing else is trusted."""

import pathlib
import ssl
import tempfile
import unittest

import trustme

from deployment import Stack, edited, templates
from emulator import shared
from local import Gateway


class Tls(unittest.TestCase):
    def server(self, authority, name):
        """The emulator's URL behind a certificate for a name."""
        gateway, context = Gateway(shared(), checks=False), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(context)
        gateway.server.socket = context.wrap_socket(gateway.server.socket, server_side=True)
        self.enterContext(gateway)
        return f"https://localhost:{gateway.server.server_port}"

    def deployed(self, url, bundle):
        variables = {"AWS_ENDPOINT_URL_DYNAMODB": url, "AWS_ENDPOINT_URL_KMS": url, "AWS_CA_BUNDLE": bundle}
        lines = "".join(f"        {name}: {value}\n" for name, value in variables.items())
        line = "        AWS_ENDPOINT_URL_DYNAMODB: !Ref AWS::NoValue\n"
        return Stack("tls", edited(templates.MAIN, (line, lines)))

    def test_the_bundle_is_trusted_and_nothing_else(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        own, other = trustme.CA(), trustme.CA()
        own.cert_pem.write_to_path(folder / "own.pem")
        other.cert_pem.write_to_path(folder / "other.pem")
        server, misnamed = [self.server(own, name) for name in ("localhost", "example.org")]

        keys = self.deployed(server, folder / "own.pem")
        self.assertIsNone(keys.reason(keys.create(permissions="read")))
        for url, bundle, expected in (
            (server, "!Ref AWS::NoValue", "UnknownIssuer"),
            (server, folder / "other.pem", "UnknownIssuer"),
            (misnamed, folder / "own.pem", "not valid for name"),
        ):
            keys = self.deployed(url, bundle)
            for function in ("ApiFunction", "AuthorizerFunction"):
                with self.subTest(expected, function=function):
                    name = f"{keys.resource(function)}:live"
                    result = shared().client("lambda").invoke(FunctionName=name, Payload=b"{}")
                    # The emulator puts the log entry into the function's error, and not into the log group.
                    self.assertRegex(result["Payload"].read().decode(), f"start failed.*{expected}")
