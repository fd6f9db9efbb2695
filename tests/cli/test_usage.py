"""What is typed wrong, how the API is reached, what a terminal shows, and that no secret goes anywhere but to the service."""

import os
import pty
import re
import select
import subprocess
import sys
from unittest import mock

from command import COMMAND, KEY, SAMPLE, Case, Commands, Scripted, settings
from local import KEYS, REGION, Gateway
from test_responses import DETAILS

READ = ["create", "x", "--permissions", "read"]
SIGNED = {"auth": "sigv4", "AWS_REGION": "eu-central-1"}
# What the variables of a shell or a file may hold by accident.
ODD = ("SECRET\nX-Other: y", "SECRET\r", "SECRET\n", "\nSECRET", "SECRET\x7f", "SECRETü", "SECRET\U0001f511", "SECRET\x1b[31m", "SECRET\udcff")


class Usage(Case):
    def test_credentials(self):
        profile = self.folder / "credentials"
        profile.write_text("[ops]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = a-secret-of/the+tests\n")
        nothing = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"), "")
        with Gateway(self.local, token=None) as gateway:
            where = {"address": gateway.address, "auth": "sigv4", "AWS_SHARED_CREDENTIALS_FILE": str(profile)}
            self.run_command("list", "--profile", "ops", "--region", REGION, **where, **nothing)
            self.assertIn("403: wrong signature", self.error("list", "--profile", "ops", "--region", "elsewhere", **where, **nothing))
        with self.gateway(checks=False) as gateway:
            seen, forward = [], gateway.forward
            gateway.forward = lambda *request: seen.append(request[3]) or forward(*request)
            self.run_command("list", address=f"{gateway.address}{KEYS}/", auth="bearer", GAIA_KEYS_TOKEN="a.b.c")
        self.assertEqual(seen[0]["Authorization"], "Bearer a.b.c")

    def test_a_start_imports_only_what_it_needs(self):
        """botocore takes a third of a second."""
        script = "import sys, gaia_keys.main as m\ntry: m.main()\nfinally: print(sorted({'botocore', 'urllib3'} & set(sys.modules)))"
        for arguments, loaded in ((["--help"], []), (["list"], ["urllib3"])):
            done = subprocess.run(
                [sys.executable, "-c", script, *arguments], env=settings(self.local.address), capture_output=True, text=True
            )
            self.assertEqual(done.stdout.splitlines()[-1], str(loaded))


class Secrets(Commands):
    def setUp(self):
        super().setUp()
        self.seen = []
        self.server = self.enterContext(Scripted(self.answer))
        self.where = {"address": self.server.address}

    def answer(self, method, path, headers, body):
        self.seen.append((path, dict(headers)))
        return 200, {}, []

    def silent(self, *arguments, **where):
        """The error of a command, which tells nothing of what is secret and has sent nothing."""
        told = self.error(*arguments, **where)
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
        hosts = ["user:SECRET@keys.example", "", "SECRET:x", "keys.example:SECRET", "keys.example/?SECRET", "[::1SECRET"]
        hosts += ["keys.example/#SECRET", "keys.example/%0aSECRET", "keys.example/\nSECRET"]
        tricks = [f"SECRET@{self.server.address}", f"127.0.0.1.evil.test:{port}/SECRET", "[::1", "]"]
        tricks += [f"evil.test{trick}@{self.server.address}" for trick in ("\\", "#", "?", "/SECRET\\")]
        others = [" https://keys.example/SECRET", "ftp://keys.example/SECRET", "//keys.example/SECRET"]
        for url in (*(f"https://{host}" for host in hosts), *(f"http://{trick}" for trick in tricks), *others):
            with self.subTest(url):
                said = self.silent("list", "--url", url)
                self.assertRegex(said, "--url: (expected https://HOST|keys are sent only over https)")

    def test_proxies(self):
        """None for a loopback address. Elsewhere one is used, and its password is sent to it, but not shown."""
        proxied = []
        answer = lambda method, path, headers, body: proxied.append((path, headers.get("proxy-authorization"))) or (403, {}, b"SECRET")
        proxy = self.enterContext(Scripted(answer)).address
        variables = dict.fromkeys(("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"), f"http://{proxy}")
        port = self.server.address.split(":")[1]
        for name in ("127.0.0.1", "localhost", "LOCALHOST"):
            self.run_command("list", "--url", f"http://{name}:{port}", auth="bearer", GAIA_KEYS_TOKEN="x", **variables)
        self.assertEqual((proxied, len(self.seen)), ([], 3))
        self.seen.clear()
        for url, said in (
            (f"http://user:SECRET@{proxy}", "no response from https://keys.example"),
            ("http://user:SECRET@127.0.0.1:1", "no response from https://keys.example"),
            ("user:SECRET@127.0.0.1:1:1", "the proxy of the environment"),
            ("http://user:SECRET@[::1", "the proxy of the environment"),
            ("x://SECRET", "the proxy of the environment"),
        ):
            self.assertIn(said, self.silent("list", "--url", "https://keys.example", https_proxy=url))
        self.assertEqual(set(proxied), {("keys.example:443", "Basic dXNlcjpTRUNSRVQ=")})
        self.silent("list", "--url", "https://127.0.0.1.invalid", https_proxy=f"http://{proxy}", no_proxy=".invalid")

    def test_a_service_that_repeats_what_it_got(self):
        """Keys in its text are cut to their IDs; API Gateway repeats a request that is signed wrong, token included."""
        token = "SECRET-token-of-the-session"
        for status, text, code, said in (
            (422, f"what is {KEY}?", 1, f"what is {SAMPLE}?"),
            (403, "does not match.\n\nThe Canonical String is\nx-amz-security-token:SECRET", 2, "does not match."),
            (403, f"Bad token {token} and https://user:SECRET@host/", 2, "Bad token ... and https://host/"),
        ):
            with Scripted(lambda *_: (status, {}, {"message": text})) as server:
                told = self.error(*READ, address=server.address, status=code, **SIGNED | {"AWS_SESSION_TOKEN": token})
            self.assertEqual(told, f"gaia-keys: {status}: {said}\n")
        fault = f"<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code><Message>{token}</Message></Error></ErrorResponse>"
        with Scripted(lambda *_: (403, {}, fault.encode())) as server:
            where = {"GAIA_KEYS_URL": "", "GAIA_KEYS_STACK": "x", "AWS_ENDPOINT_URL": f"http://{server.address}"}
            told = self.silent("list", **where)
        self.assertEqual(told, "gaia-keys: DescribeStacks: SignatureDoesNotMatch: check the credentials and the clock\n")

    def test_whatever_else_fails(self):
        """One line without values; a traceback only for whoever asks for it."""
        (self.folder / "sitecustomize.py").write_text(
            "import gaia_keys.api\ndef broken(*_): raise KeyError('SECRET')\ngaia_keys.api.Api.keys = broken\n"
        )
        for debug, expected in (("0", "^gaia-keys: unexpected KeyError. For a traceback, .* set GAIA_KEYS_DEBUG=1.\n$"), ("1", "Traceback")):
            process = self.start("list", GAIA_KEYS_DEBUG=debug, PYTHONPATH=str(self.folder))
            self.assertRegex(process.communicate(timeout=60)[1], expected)
            self.assertEqual(process.returncode, 2)

    def test_patience(self):
        """Whoever waits for longer than a second is told why, once."""
        with Scripted(lambda *_: (503, {}, {"detail": "Service Unavailable"})) as server:
            with mock.patch("gaia_keys.transport.PATIENCE", 0):
                told = self.run_command("list", address=server.address, status=2)[1]
        again = f"503 from http://{server.address}; trying again\n"
        self.assertEqual(told, f"{again}gaia-keys: 503: Service Unavailable (after 6 attempts)\n")


class Output(Commands):
    """What the terminal's encoding lacks, or a full disk, doesn't turn a change that was made into a failure."""

    def setUp(self):
        super().setUp()
        shown = DETAILS | {"config": {"permissions": "read", "name": "süd \U0001f511", "enabled": False}}
        right = {"PUT": {"api_key": KEY, "result": "updated"}, "POST": {"api_key": KEY, "result": "created"}, "GET": shown}
        self.where = {"address": self.enterContext(Scripted(lambda method, *_: (200, {}, right[method]))).address}

    def test_an_encoding_that_lacks_a_character(self):
        for encoding, name in (("ascii", rb"s\xfcd \U0001f511"), ("cp1252", b"s\xfcd \\U0001f511")):
            process = self.start("disable", SAMPLE, text=False, PYTHONIOENCODING=encoding, PYTHONUTF8="0")
            printed, told = process.communicate(timeout=60)
            self.assertEqual((process.returncode, told), (0, b""))
            self.assertIn(name, printed)

    def test_a_full_disk_or_a_reader_that_goes_away(self):
        """What was done is told before the output fails."""
        full = self.enterContext(open("/dev/full", "w"))
        created = f"{SAMPLE} was created\n"
        for arguments, said in ((READ, created), ([*READ, "--json"], created), (["disable", SAMPLE], "")):
            process = self.start(*arguments, stdout=full)
            told = process.communicate(timeout=60)[1]
            self.assertEqual((process.returncode, told), (2, f"{said}gaia-keys: No space left on device\n"))
        process = self.start("get", SAMPLE)
        process.stdout.close()
        process.stdout = None
        self.assertEqual((process.communicate(timeout=60)[1], process.returncode), ("", 1))

    def test_a_change_that_can_not_be_shown(self):
        reads = iter([(200, {}, DETAILS), (403, {}, {"message": "Forbidden"})])
        with Scripted(lambda method, *_: next(reads) if method == "GET" else (200, {}, {"api_key": KEY, "result": "updated"})) as server:
            said = self.error("disable", SAMPLE, address=server.address)
        self.assertEqual(said, f"gaia-keys: {SAMPLE} was changed, but can't be shown: 403: Forbidden\n")


class Terminal(Case):
    def talk(self, *arguments, answer=None, **more):
        """The command on a terminal of 80 columns: its exit status, and what stood there; `answer` is typed at a prompt."""
        own, other = pty.openpty()
        env = settings(self.local.address, **{"TERM": "xterm", "COLUMNS": "80", "NO_COLOR": "1"} | more)
        # In a session of its own, so that a prompt can't reach the terminal that the tests run on.
        ends = {"stdin": other, "stdout": other, "stderr": other, "start_new_session": True}
        process = subprocess.Popen([COMMAND, *arguments], env=env, **ends)
        self.addCleanup(process.kill)
        os.close(other)
        seen = b""
        while True:
            self.assertTrue(select.select([own], [], [], 30)[0], f"waits after {seen}")
            try:
                seen += os.read(own, 4096)
            except OSError:  # Linux's way to say that the other end is closed
                break
            if answer is not None and seen.endswith(b": "):
                os.write(own, f"{answer}\n".encode())
                answer = None
        os.close(own)
        return process.wait(timeout=60), seen.decode().replace("\r", "")

    def test_what_changes_asks(self):
        key = self.local.create({"name": "reports \x1b[31m"})
        for answer, status in (("", 1), ("y", 0)):
            self.assertIn(key, self.made())
            done, seen = self.talk("delete", key, answer=answer)
            self.assertEqual(done, status)
            self.assertRegex(seen, rf"{key[:31]}  reports \\x1b\[31m  active .*\nDelete this key permanently\? \[y/N\]:")
        rotate = ("rotate", "--older-than", "2100-01-01", "--grace", "1d", "--mapping", "rotated.csv")
        for answer, status in (("n", 1), ("y", 0)):
            self.assertEqual(self.made(), {})
            done, seen = self.talk(*rotate, answer=answer)
            self.assertEqual(done, status)
            self.assertRegex(seen, r"Rotate 1 keys\? The old ones are denied from \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ on. \[y/N\]: ")
        for arguments, status in ((rotate, 0), (["delete", key[:31]], 1)):
            done, seen = self.talk(*arguments)
            self.assertEqual((done, "[y/N]" in seen), (status, False), "nothing to ask about")
        key = self.local.create({})
        self.assertEqual(self.talk("verify", answer=key), (0, f"Key: \nvalid: {key[:31]}\n"))

    def test_a_line_a_key(self):
        """It fits: long cells are cut, columns that are less important left out; the ID never is."""
        wide = {"name": "süd 日本語 " * 20, "expires_at": "2031-01-31T12:00:00.5+02:00", "allowed_ips": ["192.0.2.1"], "permissions": "read"}
        key = self.local.create(wide)
        self.used(key, 72)
        for columns, headings in ((200, 8), (80, 6), (40, 5)):
            done, seen = self.talk("list", COLUMNS=str(columns))
            heading, *rows = seen.splitlines()
            self.assertEqual((done, len(rows), len(re.split("  +", heading))), (0, 2, headings), seen)
            self.assertEqual([row[:31] for row in rows], [SAMPLE, key[:31]])
            self.assertIn("…", rows[1])
            if columns > 40:
                self.assertLessEqual(len(rows[1]), columns)
                self.assertIn("3 days ago", rows[1])
        self.assertIn("\x1b[32mactive\x1b[0m", self.talk("list", NO_COLOR="")[1])
        self.assertIn(f"{wide['name']}  read", self.run_command("list")[0], "whole lines for programs")
        self.assertEqual(self.talk("list", "--name", "nobody's"), (0, "no keys\n"))

    def test_last_used(self):
        for hours, said in ((0, "within the hour"), (1, "1 hour ago"), (47, "47 hours ago"), (72, "3 days ago")):
            key = self.local.create({"permissions": "read"})
            self.used(key, hours)
            self.assertIn(said, self.talk("get", key)[1])

    def test_progress(self):
        (self.folder / "keys.csv").write_text("api_key,permissions\n" + "".join(f"k{n},read\n" for n in range(20)) + "x,admin\n")
        done, seen = self.talk("import", "keys.csv", "--mapping", "mapping.csv")
        self.assertEqual(done, 1)
        self.assertIn("21/21", seen)
        self.assertRegex(seen, "\x1b\\[Kline 22: 422: .*\n")
        self.assertTrue(seen.endswith("20 imported, 1 failed\n"), seen[-200:])
        (self.folder / "keys.csv").write_text("api_key\n" + "".join(f"l{n}\n" for n in range(210)))
        told = self.run_command("import", "keys.csv", "--mapping", "mapping.csv")[1]
        self.assertEqual(told, "100 of 210\n200 of 210\n210 imported, 0 failed\n")
