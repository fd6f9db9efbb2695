"""The commands in docs/ and README.md do what stands there. (docs/migrating.md: test_import.py)"""

import re
import subprocess
import tomllib
import unittest

from command import Case, settings
from local import ROOT, Local, blocks


def normal(text):
    """A printed text whose ids are numbered and whose times are all alike; neither is the same twice."""
    ids = {}
    text = re.sub(r"gaia_[0-9A-Z]{26}", lambda found: ids.setdefault(found[0], f"ID-{len(ids)}"), text)
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME", text)
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
        failing = next(line for line in lines if "verify" in line)
        script = "".join(f"echo {quoted(f'$ {line}')}\n{line}{' || :' * (line == failing)}\n" for line in lines)
        with Local(sample=False) as local:
            printed = self.shell(script, local)
            self.assertEqual(normal(printed), normal(session))
            self.assertEqual(len(local.list()), 1)

    def test_rotating_many(self):
        for document in ("docs/cli.md", "docs/operations.md"):
            (script,) = [block for block in blocks(document, "bash") if "--older-than" in block]
            self.assertIn("0 refused", self.shell(script))
            self.assertEqual(len(self.local.list()), 2, "the sample key, and its new one")

    def test_the_runbook(self):
        text = (ROOT / "docs/operations.md").read_text()
        commands = [command for command in re.findall(r"gaia-keys [^`\n]+", text) if '"$ID"' in command]
        self.assertEqual(len({command.split()[1] for command in commands}), 5, commands)
        for command in commands:
            self.shell(f"{command}{' --yes' * ('delete' in command)}", ID=self.local.create({"permissions": "read"}))

    def test_the_readme(self):
        readme = (ROOT / "README.md").read_text().split("## From a terminal")[1].split("\n## ")[0]
        key = self.local.create({"permissions": "read"})
        (self.folder / "keys.csv").write_text("api_key,permissions\na,read\n")
        commands = re.findall(r"^gaia-keys .*$", readme, flags=re.MULTILINE)
        self.assertEqual(len(commands), 7)
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
