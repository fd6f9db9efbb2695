"""What is typed wrong, how the API is reached, what a terminal shows, and that no secret goes anywhere but to the service."""

import re
from unittest import mock

from command import KEY, SAMPLE, Case, Commands, Scripted
from local import KEYS, REGION, Gateway
from test_responses import DETAILS

READ = ["create", "x", "--permissions", "read"]
SIGNED = {"auth": "sigv4", "AWS_REGION": "eu-central-1"}


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
            self.run_command("list", address=f"{gateway.address}{KEYS}/", auth="bearer", GAIA_KEYS_TOKEN="a.b.c")
        ((_, _, headers, _),) = gateway.received
        self.assertEqual(headers["Authorization"], "Bearer a.b.c")


class Secrets(Commands):
    def silent(self, *arguments, **where):
        """The error of a command, which tells nothing of what is secret."""
        told = self.error(*arguments, **where)
        self.assertNotIn("SECRET", told)
        return told

    def test_proxies(self):
        """None for a loopback address. Elsewhere one is used, and its password is sent to it, but not shown."""
        server = self.enterContext(Scripted(lambda *_: (200, {}, [])))
        proxied = self.enterContext(Scripted(lambda *_: (403, {}, b"SECRET")))
        proxy, self.where = proxied.address, {"address": server.address}
        variables = dict.fromkeys(("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"), f"http://{proxy}")
        port = server.address.split(":")[1]
        for name in ("127.0.0.1", "localhost", "LOCALHOST"):
            self.run_command("list", "--url", f"http://{name}:{port}", auth="bearer", GAIA_KEYS_TOKEN="x", **variables)
        self.assertEqual((proxied.received, len(server.received)), ([], 3))
        for url, said in (
            (f"http://user:SECRET@{proxy}", "no response from https://keys.example"),
            ("http://user:SECRET@127.0.0.1:1", "no response from https://keys.example"),
            ("user:SECRET@127.0.0.1:1:1", "the proxy of the environment"),
            ("http://user:SECRET@[::1", "the proxy of the environment"),
            ("x://SECRET", "the proxy of the environment"),
        ):
            self.assertIn(said, self.silent("list", "--url", "https://keys.example", https_proxy=url))
        asked = {(path, headers.get("proxy-authorization")) for _, path, headers, _ in proxied.received}
        self.assertEqual(asked, {("keys.example:443", "Basic dXNlcjpTRUNSRVQ=")})
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
            told = self.silent("list", address="", **where)
        self.assertEqual(told, "gaia-keys: DescribeStacks: SignatureDoesNotMatch: check the credentials and the clock\n")

    def test_patience(self):
        """Whoever waits for longer than a second is told why, once."""
        with Scripted(lambda *_: (503, {}, {"detail": "Service Unavailable"})) as server:
            with mock.patch("gaia_keys.transport.PATIENCE", 0):
                told = self.run_command("list", address=server.address, status=2)[1]
        again = f"503 from http://{server.address}; trying again\n"
        self.assertEqual(told, f"{again}gaia-keys: 503: Service Unavailable (after 6 attempts)\n")

    def test_a_reader_that_goes_away(self):
        with Scripted(lambda *_: (200, {}, DETAILS)) as server:
            process = self.start("get", SAMPLE, address=server.address)
            process.stdout.close()
            process.stdout = None
            self.assertEqual((process.communicate(timeout=60)[1], process.returncode), ("", 1))

    def test_a_change_that_can_not_be_shown(self):
        reads = iter([(200, {}, DETAILS), (403, {}, {"message": "Forbidden"})])
        with Scripted(lambda method, *_: next(reads) if method == "GET" else (200, {}, {"api_key": KEY, "result": "updated"})) as server:
            said = self.error("disable", SAMPLE, address=server.address)
        self.assertEqual(said, f"gaia-keys: {SAMPLE} was changed, but can't be shown: 403: Forbidden\n")


class Terminal(Case):
    def talk(self, *arguments, answer="", status=0, **more):
        """What stands on a terminal of 80 columns; `answer` is typed at a prompt."""
        where = {"status": status, "COLUMNS": "80", "NO_COLOR": "1"} | more
        return "".join(self.run_command(*arguments, stdin=f"{answer}\n", terminal=True, **where))

    def test_what_changes_asks(self):
        key = self.local.create({"name": "reports \x1b[31m"})
        for answer, status in (("", 1), ("y", 0)):
            self.assertIn(key, self.made())
            seen = self.talk("delete", key, answer=answer, status=status)
            self.assertRegex(seen, rf"{key[:31]}  reports \\x1b\[31m  active .*\n *Delete this key permanently\? \[y/N\]:")
        rotate = ("rotate", "--older-than", "2100-01-01", "--grace", "1d", "--mapping", "rotated.csv")
        for answer, status in (("n", 1), ("y", 0)):
            self.assertEqual(self.made(), {})
            seen = self.talk(*rotate, answer=answer, status=status)
            self.assertRegex(seen, r"Rotate 1 keys\? The old ones are denied from \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ on. \[y/N\]: ?")
        for arguments, status in ((rotate, 0), (["delete", key[:31]], 1)):
            self.assertNotIn("[y/N]", self.talk(*arguments, status=status), "nothing to ask about")

    def test_a_key_is_typed_unseen(self):
        key = self.local.create({})
        with mock.patch("click.termui.hidden_prompt_func", return_value=key):
            self.assertIn(f"valid: {key[:31]}\n", self.talk("verify"))

    def test_a_line_a_key(self):
        """It fits: long cells are cut, columns that are less important left out; the ID never is."""
        wide = {"name": "süd 日本語 " * 20, "expires_at": "2031-01-31T12:00:00.5+02:00", "allowed_ips": ["192.0.2.1"], "permissions": "read"}
        key = self.local.create(wide)
        self.used(key, 72)
        for columns, headings in ((200, 8), (80, 6), (40, 5)):
            seen = self.talk("list", COLUMNS=str(columns))
            heading, *rows = seen.splitlines()
            self.assertEqual((len(rows), len(re.split("  +", heading))), (2, headings), seen)
            self.assertEqual([row[:31] for row in rows], [SAMPLE, key[:31]])
            self.assertIn("…", rows[1])
            if columns > 40:
                self.assertLessEqual(len(rows[1]), columns)
                self.assertIn("3 days ago", rows[1])
        self.assertIn("\x1b[32mactive\x1b[0m", self.talk("list", NO_COLOR=""))
        self.assertIn(f"{wide['name']}  read", self.run_command("list")[0], "whole lines for programs")
        self.assertEqual(self.talk("list", "--name", "nobody's"), "no keys\n")

    def test_last_used(self):
        for hours, said in ((0, "within the hour"), (1, "1 hour ago"), (47, "47 hours ago"), (72, "3 days ago")):
            key = self.local.create({"permissions": "read"})
            self.used(key, hours)
            self.assertIn(said, self.talk("get", key))

    def test_progress(self):
        (self.folder / "keys.csv").write_text("api_key,permissions\n" + "".join(f"k{n},read\n" for n in range(20)) + "x,admin\n")
        seen = self.talk("import", "keys.csv", "--mapping", "mapping.csv", status=1)
        self.assertIn("21/21", seen)
        self.assertRegex(seen, "\x1b\\[Kline 22: 422: .*\n")
        self.assertTrue(seen.endswith("20 imported, 1 failed\n"), seen[-200:])
