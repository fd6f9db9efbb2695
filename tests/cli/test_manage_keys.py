"""docs/manage-keys.md, each command of it, and the options in docs/cli.md."""

import re
import unittest

from command import Case
from gaia_keys.main import cli
from local import KEYS, ROOT, Gateway, blocks


class ManageKeys(Case):
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
        self.assertGreaterEqual(len(tasks), 22)
        with Gateway(self.local) as gateway:
            for task in tasks:
                with self.subTest(task):
                    key = self.local.create({"permissions": "read", "name": "reports", "allowed_ips": ["10.0.0.0/8"]})
                    if '"grace_seconds"' in task:  # with an expires_at, the new key's must be given
                        self.local.send("PUT", f"{KEYS}/{key}", {"config": {"permissions": "read"}})
                    where = {"GAIA_KEYS_URL": f"http://{gateway.address}", "GAIA_KEYS_AUTH": "sigv4"}
                    # Fewer keys per page; --yes, since no terminal can be prompted here.
                    here = re.sub(r"(gaia-keys delete .*)", r"\1 --yes", task.replace("limit=1000", "limit=2"))
                    if task.startswith("gaia-keys enable"):
                        self.shell('gaia-keys disable "$ID"', ID=key[:31])
                    printed = self.shell(f"{setup}{here}\necho \"made: ${{NEW-$KEY}}\"", KEY=key, ID=key[:31], **where)
                    self.consequences(task, key, printed)
                    (self.folder / "mapping.csv").unlink(missing_ok=True)
            self.assertEqual({status for *_, status in gateway.requests}, {200})

    def test_a_failed_get_changes_nothing(self):
        """Whoever may update a key but not get it, or gets a 503, doesn't lose its config."""
        config = {"permissions": "read", "allowed_ips": ["10.0.0.0/8"]}
        for document in ("docs/manage-keys.md", "docs/operations.md"):
            pipes = [block for block in blocks(document, "bash") if "| api -X PUT" in block]
            self.assertTrue(pipes, document)
            for pipe in pipes:
                for body in ('{"message":"Forbidden"}', '{"detail":"Service Unavailable"}', ""):
                    with self.subTest(pipe, body=body), Gateway(self.local) as gateway:
                        key = self.local.create(config)
                        function = blocks(document, "bash")[0] + f"\nget() {{ echo '{body}'; return 22; }}\n"
                        where = {"GAIA_KEYS_URL": f"http://{gateway.address}", "ID": key[:31]}
                        self.shell(function + pipe.strip().replace('api "$API/$ID" |', "get |") + " || true", **where)
                        self.assertEqual(self.local.list()[key], config)

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
        elif "keys disable" in task or "enabled: false" in task:
            self.assertFalse(listed[key]["enabled"])
        elif "keys enable" in task:
            self.assertTrue(listed[key]["enabled"])
        elif "--expires" in task:
            self.assertIn("expires_at", listed[key])
        elif "delete" in task.lower():
            self.assertNotIn(key, listed)
        elif "verify" in task:
            self.assertRegex(printed, r'"valid":true|^valid: ')
        elif task.count("Idempotency-Key") == 2:
            first, second, _ = printed.splitlines()
            self.assertEqual(first, second)
            self.assertIn(first, listed)
        elif "permissions: " in task or "--permissions" in task:
            self.assertEqual((listed[key]["permissions"], listed[key]["allowed_ips"]), ("write", ["10.0.0.0/8"]))


if __name__ == "__main__":
    unittest.main()
