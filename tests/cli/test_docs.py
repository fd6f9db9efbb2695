"""The commands in docs/ and README.md do what these say. (docs/migrating.md: test_import.py)"""

import datetime
import re
import subprocess
import time
import tomllib
import unittest

from command import SAMPLE, Case, settings
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
        for document in ("docs/cli.md", "docs/operations.md"):
            scripts = [block for block in blocks(document, "bash") if "rotate --older-than 90d" in block]
            self.assertIn("0 failed", self.shell("".join(scripts)))
            self.assertEqual(len(self.local.list()), 2, "the sample key, and its new one")
            (self.folder / "mapping.csv").unlink()

    def test_finding_keys(self):
        (script,) = [block for block in blocks("docs/cli.md", "bash") if "--unused-for" in block]
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

    def test_the_runbooks(self):
        """Every block of Bash, each with a key of its own, signed as in AWS; the curl function and its variable come first."""
        functions, *scripts = blocks("docs/operations.md", "bash")
        self.assertIn("api() {", functions)
        text = (ROOT / "docs/operations.md").read_text()
        scripts += re.findall(r"`(gaia-keys [^`]*\$ID[^`]*)`", text)
        used = {word for script in scripts for word in re.findall(r"gaia-keys (\w+)|(?<!\w)(api) ", script) for word in word if word}
        self.assertEqual(used, {"api", "delete", "disable", "enable", "get", "list", "rotate", "update", "verify"})
        for script in scripts:
            with self.subTest(script), Local() as local, Gateway(local) as gateway:
                key = local.create({"permissions": "read", "n": 123456789012345})
                where = {"GAIA_KEYS_URL": f"http://{gateway.address}", "GAIA_KEYS_AUTH": "sigv4", "ID": key[:31], "KEY": key}
                fails = "verify" in script  # its exit status says that the key is valid, which the runbook wants to see denied
                if fails:
                    self.shell("gaia-keys disable $ID", local, **where)
                if script.startswith("git "):
                    leak = "git init -q . && echo $KEY >file && git add file && git -c user.name=x -c user.email=x commit -qm leaked"
                    self.shell(leak, local, **where)
                printed = self.shell(f"{functions}\n{script.rstrip()}{' || test $? = 1' * fails}", local, **where)
                self.assertTrue(printed or script.startswith("ID="))
                self.assertLessEqual({status for *_, status in gateway.requests}, {200})
                if script.startswith("git "):
                    self.assertRegex(printed, r"^\w+ leaked\n$")
                if fails:
                    self.assertEqual(printed, "not valid: disabled\n")
                if "disable" in script or "enabled: false" in script:
                    self.assertEqual(local.list()[key], {"permissions": "read", "n": 123456789012345, "enabled": False})
                if "--grace 0" in script and "older" not in script or '"grace_seconds": 0' in script:
                    valid = [local.send("POST", f"{KEYS}/verify", {"api_key": each})[1]["valid"] for each in local.list()]
                    self.assertEqual(valid.count(True), 2, "the sample key and the new one")

    def test_replacing_the_root_key(self):
        """The commands between the deployments, and what the runbooks say of each step."""
        old, new = "11" * 32, "22" * 32
        text = (ROOT / "docs/operations.md").read_text()
        for heading, keyrings in (
            ("Replace the root key", (f"{old},{new}", f"{new},{old}", new)),
            ("Handle a stolen root key", (new,)),
        ):
            section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
            rotation, = re.findall(r"^ *(SIGNED_BEFORE=.*)\n *(gaia-keys rotate .*)$", section, flags=re.MULTILINE)
            listing = re.findall(r"^ *(gaia-keys list .*)$", section, flags=re.MULTILINE)
            where = {"sample": False, "data": self.folder / f"{len(keyrings)}.db"}
            with Local(ROOT_KEY=old, **where) as local:
                before = local.create({"permissions": "read", "team": "x"})
                bounded = local.create({"permissions": "read", "expires_at": "2999-01-01T00:00:00Z"})
                local.send("PUT", f"{KEYS}/{local.create({})}", {"config": {"enabled": False}})
            for keyring in keyrings:
                with Local(ROOT_KEY=keyring, **where) as local:
                    verify = lambda key: local.send("POST", f"{KEYS}/verify", {"api_key": key})[1]
                    if keyring.startswith(new) and not (self.folder / "mapping.csv").exists():
                        time.sleep(1.1)  # the time in the command has whole seconds
                        self.assertIn("2 rotated, 0 failed", self.shell("\n".join(rotation), local))
                        mapping = (self.folder / "mapping.csv").read_text()
                        replaced = dict(line.split(",") for line in mapping.splitlines()[1:])
                        self.assertEqual(set(replaced), {before[:31], bounded[:31]})
                        for command in listing:
                            ids = {line.split("\t")[1] for line in self.shell(command, local).splitlines()}
                            self.assertEqual(len(ids), 2, "one of each root key")
                    if (self.folder / "mapping.csv").exists():
                        self.assertEqual([verify(key)["valid"] for key in replaced.values()], [True, True])
                        self.assertEqual(verify(replaced[before[:31]])["config"], {"permissions": "read", "team": "x"})
                    if "," not in keyring:
                        self.assertEqual(verify(before), {"valid": False, "reason": "invalid"})
                        self.assertIn(before[:31], local.list())
                        self.assertEqual(local.send("DELETE", f"{KEYS}/delete/{before}")[0], 404)
                        self.assertEqual(local.send("DELETE", f"{KEYS}/delete/{before[:31]}")[0], 200)
                    elif keyring.startswith(old):
                        self.assertTrue(verify(before)["valid"])
            (self.folder / "mapping.csv").unlink()

    def test_the_readme(self):
        readme = (ROOT / "README.md").read_text().split("## From a terminal")[1].split("\n## ")[0]
        key = self.local.create({"permissions": "read"})
        (self.folder / "keys.csv").write_text("api_key,permissions\na,read\n")
        commands = re.findall(r"^gaia-keys .*$", readme, flags=re.MULTILINE)
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
