"""gaia-keys import: lists of another system's keys, and the mapping of old keys to new ones."""

import csv
import fcntl
import json
import signal
import time

from command import Case

GAIA = [
    {"api_key": "OLD-1", "config": {"permissions": "read"}},
    {"api_key": "OLD-2", "config": {"permissions": "write", "team": "süd", "n": 123456789012345678901234567890, "x": 1.0}},
    {"api_key": "OLD-3", "config": {}},
]
NUMBERED = [{"api_key": f"k{number}", "config": {"number": number}} for number in range(300)]


class Import(Case):
    def setUp(self):
        super().setUp()
        self.mapping = self.folder / "mapping.csv"

    def file(self, content):
        path = self.folder / "keys"
        content = content if isinstance(content, (str, bytes)) else json.dumps(content)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def run_import(self, content, dry=False, status=0, **where):
        options = ["--dry-run"] if dry else ["--mapping", self.mapping]
        printed, told = self.run_command("import", self.file(content), *options, status=status, **where)
        self.assertEqual(printed, "")
        self.assertNotRegex(told, "OLD-|gaia_", "what is printed contains a key")
        return told

    def mapped(self):
        with open(self.mapping, newline="") as file:
            header, *rows = csv.reader(file)
        self.assertEqual(header, ["old", "new"])
        return dict(rows)

    def configs(self):
        """The config of each new key, by the old key."""
        made = self.made()
        self.assertEqual(len(made), len(self.mapped()), "none was created twice")
        return {old: made[new] for old, new in self.mapped().items()}

    def test_a_dry_run_says_what_the_import_would(self):
        configs = ['{"permissions": "read"}', '{"permissions": "admin"}', '{"expiresAt": "2030-01-01T00:00:00Z"}']
        configs += ['{"expires_at": "tomorrow"}', '{"allowed_ips": ["10.0.0.1/8"]}', json.dumps({"x": "y" * 4096})]
        configs += ['{"a": 1, "a": 1}', '{"a": {"b": [{"c": 1, "c": 1}]}}', '{"a": NaN}', '{"a": "\\ud800"}', '{"\\ud800": 1}']
        configs += ["[]", "null", "[" * 200 + "]" * 200]
        entries = [f'{{"api_key": "k{number}", "config": {config}}}' for number, config in enumerate(configs)]
        text = f"[{', '.join(entries)}, {{\"api_key\": \"\\ud800\", \"config\": {{}}}}]"
        dry = self.run_import(text, status=1, dry=True)
        self.assertFalse(self.mapping.exists())
        self.assertEqual(self.made(), {})
        self.assertIn("1 can be imported, 14 failed", dry)
        real = self.run_import(text, status=1)
        self.assertEqual(self.configs(), {"k0": {"permissions": "read"}})
        self.assertEqual(real.splitlines()[:-1], dry.splitlines()[:-1])
        # Corrected, the same command imports the rest.
        self.run_import([{"api_key": f"k{number}", "config": {}} for number in range(len(configs))])
        self.assertEqual(len(self.configs()), len(configs))

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

    def test_a_mapping_that_can_not_be_used(self):
        for text in ("something else\n", "something else", "old,new\r\nk,\r\nl,x\r\n", "old,new\nk\nl\n", "new,old\n", "old,new\nk,\xff\n"):
            self.mapping.write_bytes(text.encode("latin-1"))
            self.mapping.chmod(0o600)
            self.assertIn("is not a mapping file written by gaia-keys", self.run_import(GAIA, status=2))
            self.assertEqual(self.mapping.read_bytes(), text.encode("latin-1"), "it may be somebody's only copy")
        self.assertEqual(self.made(), {})
        self.mapping.unlink()
        self.run_import(GAIA)
        with open(self.mapping, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self.assertIn("is in use by another run of gaia-keys", self.run_import(GAIA, status=2))

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
