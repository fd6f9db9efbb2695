"""The commands of README.md do what it says of them, on the local service."""

import json
import re
import subprocess
import unittest

from local import ROOT, Local

README = (ROOT / "README.md").read_text()
# Language and text of every block, in order.
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
COMMANDS = [text for language, text in BLOCKS if not language]


def run(script, local, **variables):
    """A block's commands, sent to where the service is; what each answered."""
    script = script.replace("127.0.0.1:3000", local.address)
    settings = "".join(f"{name}={value}\n" for name, value in variables.items())
    shell = ["bash", "-euo", "pipefail", "-c", "curl() { command curl -sS \"$@\"; echo; }\n" + settings + script]
    done = subprocess.run(shell, capture_output=True, text=True, timeout=60, check=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line]


class Readme(unittest.TestCase):
    def test_the_first_key_and_the_demo_route(self):
        with Local() as local:
            script, = [block for block in COMMANDS if "-X POST http://127.0.0.1:3000/es" in block]
            created, = run(script, local)
            said, = [json.loads(text) for language, text in BLOCKS if language == "json"]
            self.assertEqual(created.keys(), said.keys())
            self.assertEqual(created["result"], said["result"])
            self.assertEqual(len(created["api_key"]), len(said["api_key"]))
            demo = re.search(r"`(curl http://127\.0\.0\.1:3000/demo [^`]*)`", README)[1]
            demo = demo.replace("API_KEY", created["api_key"])
            self.assertIn("you", run(demo, local)[0])
            self.assertEqual(run(demo.replace("curl", "curl -X POST"), local), [{"message": "Forbidden"}])

    def test_the_api(self):
        with Local() as local:
            key = local.create({"permissions": "read"})
            script, = [block for block in COMMANDS if block.startswith("KEYS=")]
            listed, updated, verified, deleted = run(script, local, API_KEY=key)
            self.assertIn({"api_key": key, "config": {"permissions": "read"}}, listed)
            self.assertEqual(updated, {"api_key": key, "result": "updated"})
            self.assertEqual((verified["valid"], verified["config"]["team"]), (True, "search"))
            self.assertEqual(deleted, {"api_key": key, "result": "deleted"})
            self.assertNotIn(key, local.list())

    def test_every_setting_stands_in_the_table(self):
        code = (ROOT / "src/settings.rs").read_text().split("#[cfg(test)]")[0]
        read = set(re.findall(r'"([A-Z]+_[A-Z_]+|FUNCTION)"', code))
        table = README[README.index("## Settings"):README.index("## Deploying")]
        told = set(re.findall(r"`([A-Z]+_[A-Z_]+|FUNCTION)`", table))
        given_by_lambda = {"AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
        self.assertEqual(read - given_by_lambda, told - {"AWS_LAMBDA_LOG_LEVEL"})

    def test_the_other_commands_are_tested_where_they_can_be(self):
        """`cargo local` and `cargo test` by CI itself, `sam` and its events by tests/sam-local.sh."""
        commands = {line.split("#")[0].strip() for block in COMMANDS for line in block.splitlines()}
        script = (ROOT / "tests/sam-local.sh").read_text()
        for command in filter(lambda line: line.startswith("sam local"), commands):
            self.assertIn(" ".join(command.split()[:3]), script)


if __name__ == "__main__":
    unittest.main()
