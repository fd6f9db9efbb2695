"""The commands in docs/ and README.md do what these say. (docs/migrating.md: test_import.py)"""

import datetime
import re
import subprocess
import tomllib
import unittest

from command import SAMPLE, Case, settings
from gaia_keys.main import cli
from local import KEYS, ROOT, Gateway, Local, blocks


def normal(text):
    """A printed text with its IDs numbered and all times alike, as neither is the same twice."""
    ids = {}
    text = re.sub(r"gaia_[0-9A-Z]{26}", lambda found: ids.setdefault(found[0], f"ID-{len(ids)}"), text)
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z", "TIME", text)
    text = re.sub(r"\b\d{4}-\d\d-\d\d\b", "DATE", text)
    return re.sub(r" +$", "", text, flags=re.MULTILINE)


class Docs(Case):
    def shell(self, script, local=None, **variables):
        """What a script prints to the terminal."""
        command = ["bash", "-euo", "pipefail", "-c", f"exec 2>&1\n{script}"]
        env = settings((local or self.local).address, **variables)
        done = subprocess.run(command, env=env, cwd=self.folder, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

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
        for document in ("docs/manage-keys.md", "docs/operations.md"):
            (script,) = [block for block in blocks(document, "bash") if "rotate --older-than" in block]
            self.assertIn("0 failed", self.shell(script))
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

    def test_the_runbook(self):
        text = (ROOT / "docs/operations.md").read_text()
        commands = [command for command in re.findall(r"gaia-keys [^`\n]+", text) if '"$ID"' in command]
        self.assertEqual(len({command.split()[1] for command in commands}), 5, commands)
        for command in commands:
            self.shell(f"{command}{' --yes' * ('delete' in command)}", ID=self.local.create({"permissions": "read"}))

    def test_the_commands_at_a_glance(self):
        (block,) = blocks("docs/cli.md", "bash")
        key = self.local.create({"permissions": "read"})
        (self.folder / "keys.csv").write_text("api_key,permissions\na,read\n")
        commands = block.splitlines()
        self.assertEqual(len(commands), 10)
        for command in sorted(commands, key=lambda command: "disable" in command):
            self.shell(command, KEY=key, ID=key[:31])
            (self.folder / "new.csv").unlink(missing_ok=True)

    def test_every_option(self):
        """The tables have each command's options, and no others."""
        text = (ROOT / "docs/cli.md").read_text()
        options = lambda section: set(re.findall(r"--[a-z][a-z-]+", " ".join(re.findall(r"^\| (`.*?) \|", section, flags=re.MULTILINE))))
        common = options(text.split("\n## Options of every command\n")[1].split("\n## ")[0])
        sections = re.split(r"^### (.+)\n", text.split("\n## Commands\n")[1].split("\n## ")[0], flags=re.MULTILINE)[1:]
        described = {name: options(section) for heading, section in zip(sections[::2], sections[1::2]) for name in re.split(", | and ", heading)}
        described["disable"] = described["enable"] = set()  # --yes is for delete
        self.assertEqual(set(described), set(cli.commands))
        for name, command in cli.commands.items():
            with self.subTest(name):
                expected = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
                self.assertEqual(described[name] | common, expected - {"--json"})
                self.assertEqual("--json" in expected, name not in ("delete", "import"))

    def test_every_task(self):
        """Each block of docs/manage-keys.md works on its own for a key of its own, signed as in AWS."""
        setup, *tasks = blocks("docs/manage-keys.md", "bash")
        self.assertEqual(blocks("docs/clients.md", "bash")[0].split("api() {")[1].split("\n}")[0], setup.split("api() {")[1].split("\n}")[0])
        self.assertGreaterEqual(len(tasks), 17)
        with Gateway(self.local) as gateway:
            for task in tasks:
                with self.subTest(task):
                    key = self.local.create({"permissions": "write", "name": "reports", "allowed_ips": ["10.0.0.0/8"]})
                    if '"grace_seconds"' in task:  # with an expires_at, the new key's must be given
                        self.local.send("PUT", f"{KEYS}/{key}", {"config": {"permissions": "read"}})
                    where = {"GAIA_KEYS_URL": f"http://{gateway.address}", "GAIA_KEYS_AUTH": "sigv4"}
                    paged = task.replace("limit=1000", "limit=2")
                    printed = self.shell(f"{setup}{paged}\necho \"made: ${{NEW-$KEY}}\"", KEY=key, ID=key[:31], **where)
                    self.consequences(task, key, printed)
                    (self.folder / "mapping.csv").unlink(missing_ok=True)
            self.assertEqual({status for *_, status in gateway.requests}, {200})

    def consequences(self, task, key, printed):
        """What is in the table after a task, or what it printed."""
        listed, made = self.local.list(), printed.splitlines()[-1].removeprefix("made: ")
        if "create " in task or "KEY=$(api" in task:
            self.assertNotEqual(made, key)
            self.assertIn(listed[made]["name"], ("reports", "search"))
        elif "NEW=" in task:
            self.assertEqual(listed[made]["permissions"], listed[key]["permissions"])
            self.assertIn("expires_at", listed[key])
        elif "$page" in task:
            self.assertEqual(sum(line.startswith("[") for line in printed.splitlines()), len(listed))
        elif "--route 'POST" in task:
            self.assertEqual(listed[key]["routes"], ["POST /search"])
            self.assertNotIn("allowed_ips", listed[key])
        elif "delete" in task.lower():
            self.assertNotIn(key, listed)
        elif "verify" in task:
            self.assertRegex(printed, r'"valid":true|^valid: ')
        elif task.count("Idempotency-Key") == 2:
            first, second, _ = printed.splitlines()
            self.assertEqual(first, second)
            self.assertIn(first, listed)
        elif "permissions: " in task:
            self.assertEqual(listed[key]["allowed_ips"], ["10.0.0.0/8"])

    def test_one_version(self):
        version = lambda path, table: tomllib.loads((ROOT / path).read_text())[table]["version"]
        self.assertEqual(version("cli/pyproject.toml", "project"), version("Cargo.toml", "package"))
        self.assertIn(version("cli/pyproject.toml", "project"), self.run_command("--version")[0])


def quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"


if __name__ == "__main__":
    unittest.main()
