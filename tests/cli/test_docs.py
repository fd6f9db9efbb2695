"""The commands in docs/ do what these say. (docs/migrating.md: test_import.py, docs/tutorial.md: test_tutorial.py)"""

import datetime
import re
import tomllib
import unittest

from command import SAMPLE, Case, normal, settings
from local import ROOT, Local, blocks


class Docs(Case):
    def test_the_life_of_a_key(self):
        (session,) = blocks("docs/cli.md", "console")
        lines = [line[2:] for line in session.splitlines() if line.startswith("$ ")]
        self.assertGreaterEqual(len(lines), 10)
        failing = next(line for line in lines if "verify --permission write" in line)
        script = "".join(f"echo {quoted(f'$ {line}')}\n{line}{' || :' * (line == failing)}\n" for line in lines)
        with Local(sample=False) as local:
            printed = self.shell(script, local)
            self.assertEqual(normal(printed), normal(session))
            self.assertEqual(len(local.list()), 1)

    def test_rotating_many(self):
        scripts = [block for block in blocks("docs/manage-keys.md", "bash") if "rotate --older-than 90d" in block]
        self.assertIn("0 failed", self.shell("".join(scripts)))
        self.assertEqual(len(self.local.list()), 2, "the sample key, and its new one")

    def test_finding_keys(self):
        (script,) = [block for block in blocks("docs/manage-keys.md", "bash") if "--unused-for" in block]
        printed = self.shell(script)
        self.assertEqual(printed.count(SAMPLE), 2, printed)

    def test_the_cron_job(self):
        """A mail if there is something to say, and only then."""
        (script,) = blocks("docs/manage-keys.md", "sh")
        mail = self.folder / "mail"
        mail.write_text('#!/bin/sh\n{ echo "$@"; cat; } >mailed\n')
        mail.chmod(0o755)
        mailed = self.folder / "mailed"
        path = f"{self.folder}:{settings(self.local.address)['PATH']}"
        run = lambda **variables: self.shell(f"set +e +u\n{script}", PATH=path, **variables)
        self.assertEqual((run(), mailed.exists()), ("", False))
        expires = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=13)
        key = self.local.create({"permissions": "read", "name": "reports", "expires_at": expires.isoformat()})
        self.assertEqual(run(), "")
        self.assertRegex(mailed.read_text(), f"^-s API keys expire within 14 days keys@example.com\nID .*\n{key[:31]}  reports ")
        self.assertEqual(run(GAIA_KEYS_URL="http://127.0.0.1:1"), "")
        self.assertRegex(mailed.read_text(), "^-s gaia-keys failed with status 2 keys@example.com\ngaia-keys: no response from ")

    def test_the_help(self):
        """The examples of `--help` do what they say, for a key with the ID in them."""
        for command in ("", "create", "delete", "disable", "enable", "get", "import", "list", "rotate", "update", "verify"):
            printed = self.run_command(*filter(None, [command]), "--help")[0]
            examples = re.split(r"\n  Examples?:\n", printed)[1].splitlines()
            self.assertTrue(examples, command)
            for example in map(str.strip, examples):
                with self.subTest(example), Local() as local:
                    (sample,) = local.list()
                    (self.folder / "keys.csv").write_text("api_key,permissions\na,read\n")
                    (self.folder / "mapping.csv").unlink(missing_ok=True)
                    route = "--route" in example and "verify" in example
                    key = local.create({"routes": ["POST /search"]}) if route else sample
                    self.shell(example, local, KEY=key)

    def test_the_commands_at_a_glance(self):
        (block,) = blocks("docs/cli.md", "bash")
        key = self.local.create({"permissions": "read"})
        (self.folder / "keys.csv").write_text("api_key,permissions\na,read\n")
        commands = block.splitlines()
        self.assertEqual(len(commands), 10)
        for command in sorted(commands, key=lambda command: "disable" in command):
            self.shell(command, KEY=key, ID=key[:31])
            (self.folder / "new.csv").unlink(missing_ok=True)

    def test_one_version(self):
        version = lambda path, table: tomllib.loads((ROOT / path).read_text())[table]["version"]
        self.assertEqual(version("cli/pyproject.toml", "project"), version("Cargo.toml", "package"))
        self.assertIn(version("cli/pyproject.toml", "project"), self.run_command("--version")[0])


def quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"


if __name__ == "__main__":
    unittest.main()
