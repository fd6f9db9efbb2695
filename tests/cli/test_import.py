"""gaia-keys import: lists of another system's keys, and the mapping of old keys to new ones."""

import json
import signal
import time

from command import Case

NUMBERED = [{"api_key": f"k{number}", "config": {"number": number}} for number in range(300)]


class Import(Case):
    def file(self, content):
        path = self.folder / "keys"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def run_import(self, content, dry=False, status=0):
        options = ["--dry-run"] if dry else ["--mapping", self.mapping]
        printed, told = self.run_command("import", self.file(content), *options, status=status)
        self.assertEqual(printed, "")
        self.assertNotIn("gaia_", told, "what is printed contains a key")
        return told

    def configs(self):
        """The config of each new key, by the old key."""
        made = self.made()
        self.assertEqual(len(made), len(self.mapped()), "none was created twice")
        return {old: made[new] for old, new in self.mapped().items()}

    def test_no_cell_is_repeated(self):
        """Whatever is wrong with a file, an error names the line: each cell may be an old key."""
        old = "0LDKEY"
        fields = {"permissions": old, "enabled": old, "expires_at": old}
        deep = [f'[{{"api_key": "a", "config": {{"x": {"[" * depth}"{old}"{"]" * depth}}}}}]' for depth in (400, 5000)]
        for text in (
            *(f'api_key,routes\na,"{routes}"\n' for routes in (f"{old}, GET /{old}//..", f"GET {old}", f"GET /{old}{{x}}")),
            *(f"api_key,config\na,{cell}\n" for cell in (old, f'"""{old}"""', f'"[""{old}""]"', f'"{{""{old}"": 1, ""{old}"": 2}}"')),
            f'api_key,config\na,"{{""x"": {{""{old}"": 1, ""{old}"": 2}}}}"\n',
            [{"api_key": "a", "config": fields}],
            f"api_key,enabled\na,{old}\n",
            f"api_key,permissions,expires_at,allowed_ips,routes\na,{old},{old},{old},{old}\n",
            f"api_key\n{old}\n{old}\n",
            f"api_key,x\n{old}\n",
            [{"api_key": "a", "config": old}],
            f'[{{"api_key": "a", "config": {{"{old}": 1, "{old}": 2}}}}]',
            f'[{{"api_key": "a", "{old}": 1, "{old}": 2}}]',
            *({old: 1}, [old], f'["{old}'),
            *deep,
        ):
            for dry in (True, False):
                with self.subTest(text, dry=dry):
                    self.assertNotIn(old, self.run_import(text, dry=dry, status=None))

    def test_a_full_disk(self):
        """Before a key is created, there is room for its line; with more room, the same command creates each key once."""
        command = ["import", self.file(NUMBERED[:20]), "--mapping", self.mapping]
        for room in (100, 150, 200, 213, 260):
            process = self.start(*command, room=room)
            self.assertIn("gaia-keys: File too large\n", process.communicate(timeout=60)[1])
            self.assertEqual(process.returncode, 2)
            self.assertEqual(set(self.made()), {new for new in self.mapped().values() if new.strip()}, "each key is in the file")
        self.run_import(NUMBERED[:20])
        self.assertEqual(self.configs(), {row["api_key"]: row["config"] for row in NUMBERED[:20]})

    def test_a_killed_import_goes_on(self):
        for killed, code in ((signal.SIGKILL, -9), (signal.SIGINT, 130)):
            process = self.start("import", self.file(NUMBERED), "--mapping", self.mapping)
            size = lambda: self.mapping.stat().st_size if self.mapping.exists() else 0
            enough = size() + 2000
            while process.poll() is None and size() < enough:
                time.sleep(0.01)
            process.send_signal(killed)
            told = process.communicate(timeout=60)[1]
            self.assertEqual(process.returncode, code, told)
            self.assertEqual("run it again" in told, code == 130)
        self.assertRegex(self.run_import(NUMBERED), r"^\d+ of 300 are in .*mapping.csv already\n")
        self.assertEqual(self.configs(), {row["api_key"]: row["config"] for row in NUMBERED})
