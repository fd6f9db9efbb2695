"""gaia-keys import: lists of another system's keys, and the mapping of old keys to new ones."""

import csv
import fcntl
import json
import signal
import stat
import time
import unittest

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

    def test_gaias_list(self):
        self.assertEqual(self.run_import(GAIA), "3 imported, 0 failed\n")
        made = self.configs()
        self.assertEqual(made, {row["api_key"]: row["config"] for row in GAIA})
        self.assertEqual(stat.S_IMODE(self.mapping.stat().st_mode), 0o600)
        self.assertIn("3 of 3 are in", self.run_import(GAIA))
        self.assertEqual(self.configs(), made, "a second run creates none")
        digits = '{"a":1.10,"b":1e400,"c":0.1234567890123456789,"d":-0}'
        self.run_import(f'[{{"api_key": "a", "config": {digits}}}]')
        self.assertIn(digits, self.items().values())

    def test_csv(self):
        """Also with a mark, in UTF-16, and with another system's line ends, as spreadsheets write them."""
        columns = 'api_key,permissions,enabled,expires_at,allowed_ips,routes,team\n'
        whole = {"enabled": False, "expires_at": "2030-01-31T12:00:00Z", "allowed_ips": ["10.0.0.0/8", "192.0.2.7"]}
        named = b"api_key,name\r\nk,s\xc3\xbcd\r\n".decode()
        for text, config in [
            (columns + "k,read,FALSE,2030-01-31T12:00:00Z,10.0.0.0/8 192.0.2.7,,", {"permissions": "read"} | whole),
            (columns + 'k,,,,,"GET /items/*, POST /search",süd', {"routes": ["GET /items/*", "POST /search"], "team": "süd"}),
            ('config,api_key\n"{""permissions"": ""read"", ""n"": 1}",k\n', {"permissions": "read", "n": 1}),
            *[(named.encode(encoding), {"name": "süd"}) for encoding in ("utf-8-sig", "utf-16")],
            *[(f"\ufeff{named}".encode(encoding), {"name": "süd"}) for encoding in ("utf-16-le", "utf-16-be")],
        ]:
            with self.subTest(text):
                self.setUp()
                self.run_import(text)
                self.assertEqual(self.configs(), {"k": config})
        self.assertIn("is neither UTF-8 nor UTF-16", self.run_import(b"api_key\nk\xff\n", status=2))

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

    def test_files_that_can_not_be_used(self):
        for text, expected in [
            ("", "no column api_key"),
            ("{}", "not a list of keys"),
            ("[", "not a list of keys"),
            ("[1]", "entry 1 has no api_key"),
            ('[{"api_key": "a", "api_key": "b"}]', "entry 1: field named twice"),
            ([GAIA[0], GAIA[0]], "entry 2 has the same api_key as entry 1"),
            ("key,config\na,{}\n", "no column api_key"),
            ("api_key,a,a\nx,1,2\n", "two columns with the same name"),
            ("api_key,a\nx,1,2\n", "line 2: expected 2 columns"),
            ("api_key,a\nx\n", "line 2: expected 2 columns"),
            ('api_key,a\nx,"1\n', "unexpected end of data"),
        ]:
            self.assertIn(expected, self.run_import(text, status=2))
        self.assertEqual(self.made(), {})

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

    def test_a_mapping_that_a_spreadsheet_saved(self):
        """With other line ends or without the last one, no key is lost or created twice."""
        for change in (lambda text: text.replace("\n", "\r\n"), lambda text: text.replace("\n", "\r"), lambda text: text.rstrip("\n")):
            self.setUp()
            self.run_import(GAIA[:2])
            before = self.mapped()
            self.mapping.write_bytes(change(self.mapping.read_text()).encode())
            self.forget()
            self.assertIn("2 of 3 are in", self.run_import(GAIA))
            self.assertEqual(list(self.configs()), ["OLD-1", "OLD-2", "OLD-3"])
            self.assertEqual(before | self.mapped(), self.mapped())

    def test_a_mapping_that_can_not_be_used(self):
        for text in ("something else\n", "something else", "old,new\r\nk,\r\nl,x\r\n", "old,new\nk\nl\n", "new,old\n", "old,new\nk,\xff\n"):
            self.mapping.write_bytes(text.encode("latin-1"))
            self.mapping.chmod(0o600)
            self.assertIn("is not a mapping file written by gaia-keys", self.run_import(GAIA, status=2))
            self.assertEqual(self.mapping.read_bytes(), text.encode("latin-1"), "it may be somebody's only copy")
        self.mapping.chmod(0o644)
        self.assertIn(f"{self.mapping} is readable by other users; run: chmod 600", self.run_import(GAIA, status=2))
        self.mapping.unlink()
        self.assertIn("/dev/full is not a regular file", self.error("import", self.file(GAIA), "--mapping", "/dev/full"))
        self.assertEqual(self.made(), {})
        self.run_import(GAIA)
        with open(self.mapping, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self.assertIn("is in use by another run of gaia-keys", self.run_import(GAIA, status=2))

    def test_a_lost_line_of_the_mapping_is_restored(self):
        self.run_import(GAIA)
        whole = self.mapping.read_text()
        for text in (*(whole[:kept] for kept in (len(whole) - 1, len(whole) - 40, len("old,new\n"), 3, 0)), f"{whole}OLD-4,gaia_"):
            self.mapping.write_text(text)
            self.run_import(GAIA)
            self.assertEqual(self.mapping.read_text(), whole)
        self.assertEqual(len(self.configs()), 3)

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
            self.assertEqual("run the same command again" in told, code == 130)
        self.assertRegex(self.run_import(NUMBERED), r"^\d+ of 300 are in .*mapping.csv already\n")
        self.assertEqual(self.configs(), {row["api_key"]: row["config"] for row in NUMBERED})

    def test_signed_and_through_failures(self):
        with self.gateway("throttled", "done, then 503", None, "done, then 503") as gateway:
            self.run_import(GAIA)
            self.assertEqual([status for *_, status in gateway.requests], [429, 503, 200, 503, 200, 200])
            self.assertEqual(len(self.configs()), 3)
            self.mapping.unlink()
            told = self.run_import(GAIA, status=2, AWS_SECRET_ACCESS_KEY="another")
        self.assertIn("gaia-keys: 403: wrong signature", told)


if __name__ == "__main__":
    unittest.main()
