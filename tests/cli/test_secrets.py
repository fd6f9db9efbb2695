"""No key, token or credential goes anywhere but to the service: not into an error, a traceback, a proxy or another host."""

import os
import unittest

from command import SAMPLE, Commands, Scripted
from test_responses import DETAILS, KEY

SIGNED = {"auth": "sigv4", "AWS_REGION": "eu-central-1"}
# What the variables of a shell or a file may hold by accident.
ODD = ("SECRET\nX-Other: y", "SECRET\r", "SECRET\n", "\nSECRET", "SECRET\x7f", "SECRETü", "SECRET\U0001f511", "SECRET\x1b[31m", "SECRET\udcff")


class Secrets(Commands):
    def setUp(self):
        super().setUp()
        self.seen = []
        self.server = self.enterContext(Scripted(self.answer))

    def answer(self, method, path, headers, body):
        self.seen.append((path, dict(headers)))
        return 200, {}, []

    def silent(self, *arguments, **where):
        """The error of a command, which tells nothing of what is secret and has sent nothing."""
        told = self.error(*arguments, **({"address": self.server.address} | where))
        self.assertNotIn("SECRET", told)
        self.assertEqual(self.seen, [])
        return told

    def test_credentials_that_no_header_may_have(self):
        for value in ODD:
            with self.subTest(value):
                said = self.silent("list", auth="bearer", GAIA_KEYS_TOKEN=value)
                self.assertIn("GAIA_KEYS_TOKEN", said)
        for name in ("AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ACCESS_KEY_ID"):
            for value in ODD[:5]:
                with self.subTest(name, value=value):
                    self.assertIn("AWS_", self.silent("list", **SIGNED | {name: value}))
        self.silent("list", "--region", "SECRET\nx", **SIGNED)

    def test_an_address_with_a_password_or_another_trick(self):
        """What is checked is what is called, and errors don't repeat it."""
        port = self.server.address.split(":")[1]
        for url in (
            "https://user:SECRET@keys.example",
            f"http://SECRET@{self.server.address}",
            f"http://evil.test\\@{self.server.address}",
            f"http://evil.test#@{self.server.address}",
            f"http://evil.test?@{self.server.address}",
            f"http://evil.test/SECRET\\@{self.server.address}",
            f"http://127.0.0.1.evil.test:{port}/SECRET",
            "http://[::1SECRET",
            "http://[::1",
            "http://]",
            "https://",
            "https://SECRET:x",
            "https://keys.example:SECRET",
            "https://keys.example/?SECRET",
            "https://keys.example/#SECRET",
            "https://keys.example/%0aSECRET",
            "https://keys.example/\nSECRET",
            " https://keys.example/SECRET",
            "ftp://keys.example/SECRET",
            "//keys.example/SECRET",
        ):
            with self.subTest(url):
                self.assertRegex(self.silent("list", "--url", url), "--url: (expected https://HOST|keys are sent only over https)")

    def test_no_proxy_for_a_loopback_address(self):
        proxied = []
        proxy = self.enterContext(Scripted(lambda *request: proxied.append(request[:2]) or (200, {}, [])))
        variables = dict.fromkeys(("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"), f"http://{proxy.address}")
        host, port = self.server.address.split(":")
        for name in (host, "localhost", "LOCALHOST"):
            self.run_command("list", "--url", f"http://{name}:{port}", auth="bearer", address=self.server.address, GAIA_KEYS_TOKEN="x", **variables)
        self.assertEqual((proxied, len(self.seen)), ([], 3))

    def test_a_proxy_is_used_elsewhere_and_its_password_is_not_shown(self):
        for proxy in ("http://user:SECRET@127.0.0.1:1", "user:SECRET@127.0.0.1:1:1", "http://user:SECRET@[::1", "x://SECRET"):
            said = self.silent("list", "--url", "https://keys.example", https_proxy=proxy, GAIA_KEYS_AUTH="none")
            self.assertIn("no response from https://keys.example", said)

    def test_whatever_else_fails(self):
        """One line without values; a traceback only for whoever asks for it."""
        (self.folder / "sitecustomize.py").write_text(
            "import gaia_keys.api\ndef broken(*_): raise KeyError('SECRET')\ngaia_keys.api.Api.keys = broken\n"
        )
        broken = {"PYTHONPATH": f"{self.folder}:{os.environ.get('PYTHONPATH', '')}"}
        said = self.silent("list", **broken)
        self.assertEqual(said, "gaia-keys: unexpected KeyError. For a traceback, which may show secrets, set GAIA_KEYS_DEBUG=1.\n")
        process = self.start("list", address=self.server.address, GAIA_KEYS_DEBUG="1", **broken)
        self.assertIn("Traceback", process.communicate(timeout=60)[1])
        self.assertEqual(process.returncode, 2)

    def test_a_service_that_repeats_what_it_got(self):
        """Keys in its text are cut to their IDs."""
        with Scripted(lambda *_: (422, {}, {"detail": f"what is {KEY}?"})) as server:
            self.assertEqual(self.error("create", "x", "--permissions", "read", address=server.address, status=1), f"gaia-keys: 422: what is {SAMPLE}?\n")


class Output(Commands):
    """What the terminal's encoding lacks, or a full disk, doesn't turn a change that was made into a failure."""

    def setUp(self):
        super().setUp()
        shown = DETAILS | {"config": {"permissions": "read", "name": "süd \U0001f511", "enabled": False}}
        self.server = self.enterContext(Scripted(lambda method, *_: (200, {}, {"api_key": KEY, "result": "updated"} if method == "PUT" else shown)))

    def test_an_encoding_that_lacks_a_character(self):
        for encoding, name in (("ascii", rb"s\xfcd \U0001f511"), ("latin-1", b"s\xfcd \\U0001f511"), ("cp1252", b"s\xfcd \\U0001f511")):
            for arguments in (["disable", SAMPLE], ["get", SAMPLE]):
                process = self.start(*arguments, text=False, address=self.server.address, PYTHONIOENCODING=encoding, PYTHONUTF8="0")
                printed, told = process.communicate(timeout=60)
                self.assertEqual((process.returncode, told), (0, b""))
                self.assertIn(name, printed)

    def test_a_key_that_can_not_be_printed(self):
        """What was done is told before the output fails."""
        new = {"api_key": KEY, "result": "created"}
        full = self.enterContext(open("/dev/full", "w"))
        for options in ([], ["--json"]):
            with Scripted(lambda *_: (200, {}, new)) as server:
                process = self.start("create", "x", "--permissions", "read", *options, address=server.address, stdout=full)
                told = process.communicate(timeout=60)[1]
            self.assertEqual((process.returncode, told), (2, f"{SAMPLE} was created\ngaia-keys: No space left on device\n"))
        process = self.start("disable", SAMPLE, address=self.server.address, stdout=full)
        self.assertEqual((process.communicate(timeout=60)[1], process.returncode), ("gaia-keys: No space left on device\n", 2))

    def test_a_change_that_can_not_be_shown(self):
        reads = []

        def answer(method, *_):
            if method == "PUT":
                return 200, {}, {"api_key": KEY, "result": "updated"}
            reads.append(1)
            return (200, {}, DETAILS) if len(reads) == 1 else (403, {}, {"message": "Forbidden"})

        with Scripted(answer) as server:
            said = self.error("disable", SAMPLE, address=server.address)
        self.assertEqual(said, f"gaia-keys: {SAMPLE} was changed, but can't be shown: 403: Forbidden\n")


if __name__ == "__main__":
    unittest.main()
