"""gaia-keys import, as docs/migrating.md describes it."""

import csv
import fcntl
import json
import re
import signal
import stat
import subprocess
import time
import unittest

from command import Case, settings
from local import ROOT, Gateway, blocks

GAIA = [
    {"api_key": "OLD-1", "config": {"permissions": "read"}},
    {"api_key": "OLD-2", "config": {"permissions": "write", "team": "süd", "n": 123456789012345678901234567890, "x": 1.0}},
    {"api_key": "OLD-3", "config": {}},
]


class Import(Case):
    def setUp(self):
        super().setUp()
        self.mapping = self.folder / "mapping.csv"

    def file(self, text, name="keys"):
        path = self.folder / name
        path.write_text(text if isinstance(text, str) else json.dumps(text))
        return path

    def run_import(self, file, *options, dry=False, **where):
        options = [*options, "--dry-run"] if dry else [*options, "--mapping", self.mapping]
        printed, told = self.run_command("import", file, *options, **where)
        self.assertEqual(printed, "")
        self.assertNotRegex(told, "OLD-|gaia_", "what is printed contains a key")
        return told

    def mapped(self):
        with open(self.mapping, newline="") as file:
            header, *rows = csv.reader(file)
        self.assertEqual(header, ["old", "new"])
        return dict(rows)

    def test_gaias_list(self):
        printed = self.run_import(self.file(GAIA))
        self.assertEqual(printed, "3 imported, 0 failed\n")
        mapped, made = self.mapped(), self.made()
        self.assertEqual({old: made[new] for old, new in mapped.items()}, {row["api_key"]: row["config"] for row in GAIA})
        self.assertEqual(len(made), 3)
        self.assertEqual(stat.S_IMODE(self.mapping.stat().st_mode), 0o600)
        self.assertIn("3 of 3 are in", self.run_import(self.file(GAIA)))
        self.assertEqual(self.made(), made, "a second run creates none")

    def test_the_csv_of_the_document(self):
        (text,) = blocks("docs/migrating.md", "csv")
        self.run_import(self.file(text))
        made = self.made()
        self.assertEqual(
            {old: made[new] for old, new in self.mapped().items()},
            {
                "old-key-1": {
                    "permissions": "read",
                    "expires_at": "2030-01-31T12:00:00Z",
                    "allowed_ips": ["10.0.0.0/8", "192.0.2.7"],
                    "owner": "search team",
                },
                "old-key-2": {"permissions": "write", "owner": "billing"},
            },
        )

    def test_a_csv_with_json(self):
        self.run_import(self.file('config,api_key\n"{""permissions"": ""read"", ""enabled"": false}",a\n'))
        self.assertEqual(list(self.made().values()), [{"permissions": "read", "enabled": False}])
        self.mapping.unlink()
        self.run_import(self.file("api_key,enabled\nb,FALSE\n"))
        self.assertIn({"enabled": False}, self.made().values())
        self.mapping.unlink()
        self.run_import(self.file('api_key,routes\nc,"GET /items/*, POST /search"\n'))
        self.assertIn({"routes": ["GET /items/*", "POST /search"]}, self.made().values())

    def test_the_commands_of_the_document(self):
        self.file(blocks("docs/migrating.md", "csv")[0], "keys.csv")
        with Gateway(self.local) as gateway:
            env = settings(gateway.address, auth="sigv4")
            for command in blocks("docs/migrating.md", "bash"):
                done = subprocess.run(["bash", "-c", command], env=env, cwd=self.folder, capture_output=True, text=True)
                self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual([status for _, _, status in gateway.requests], [404, 404, 200, 200])
        self.assertEqual(len(self.mapped()), 2)

    def test_a_dry_run_says_what_the_import_would(self):
        configs = [
            '{"permissions": "read"}',
            '{"permissions": "admin"}',
            '{"expiresAt": "2030-01-01T00:00:00Z"}',
            '{"expires_at": "tomorrow"}',
            '{"allowed_ips": ["10.0.0.1/8"]}',
            json.dumps({"x": "y" * 4096}),
            '{"a": 1, "a": 1}',
            '{"a": {"b": [{"c": 1, "c": 1}]}}',
            '{"a": NaN}',
            '{"a": "\\ud800"}',
            "[]",
            "null",
            "[" * 200 + "]" * 200,
        ]
        entries = ", ".join(f'{{"api_key": "k{number}", "config": {config}}}' for number, config in enumerate(configs))
        file = self.file(f"[{entries}]")
        dry = self.run_import(file, status=1, dry=True)
        self.assertFalse(self.mapping.exists())
        self.assertEqual(self.made(), {})
        self.assertIn("1 can be imported, 12 failed", dry)
        real = self.run_import(file, status=1)
        self.assertEqual(list(self.mapped()), ["k0"])
        self.assertEqual(real.splitlines()[:-1], dry.splitlines()[:-1])
        section = (ROOT / "docs/migrating.md").read_text().split("\n## 2. Check the configs\n")[1].split("\n## ")[0]
        errors = re.findall(r"^\| `([^`…]+)", section, flags=re.MULTILINE)
        self.assertEqual(len(errors), 5)
        for error in errors:
            self.assertIn(error.strip(), dry, "the document's table")
        # Corrected, the same command imports the rest.
        self.run_import(self.file([{"api_key": f"k{number}", "config": {}} for number in range(len(configs))]))
        self.assertEqual(len(self.made()), len(configs))

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
            ('api_key,a\nx,"1\n', "unexpected end of data"),
        ]:
            self.assertIn(expected, self.run_import(self.file(text), status=2))
        self.assertIn("No such file", self.run_import(self.folder / "nowhere", status=2))
        self.assertEqual(self.made(), {})

    def test_text_that_has_no_utf_8(self):
        """One entry fails, in the dry run and in the import alike."""
        configs = [("k1", "{}"), (r"\ud800", "{}"), ("k3", r'{"x": "\udfff"}'), ("k4", r'{"\ud800": 1}')]
        entries = [f'{{"api_key": "{old}", "config": {config}}}' for old, config in configs]
        file = self.file(f"[{', '.join(entries)}]")
        dry = self.run_import(file, status=1, dry=True)
        self.assertIn("1 can be imported, 3 failed", dry)
        self.assertEqual(self.run_import(file, status=1), dry.replace("1 can be imported", "1 imported"))
        self.assertEqual(list(self.mapped()), ["k1"])

    def test_files_of_spreadsheets(self):
        """With a byte order mark, in UTF-16, and with another system's line ends."""
        for number, encoding in enumerate(("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be")):
            text = f"api_key,name\r\nk{number},süd\r\n"
            mark = "\ufeff" if encoding.endswith("e") else ""
            (self.folder / "keys").write_bytes((mark + text).encode(encoding))
            self.assertIn("1 imported, 0 failed", self.run_import(self.folder / "keys"))
        self.assertEqual(list(self.made().values()), [{"name": "süd"}] * 4)
        (self.folder / "keys").write_bytes(b"api_key\nk\xff\n")
        self.assertIn("is neither UTF-8 nor UTF-16", self.run_import(self.folder / "keys", status=2))

    def test_no_cell_is_repeated(self):
        """Whatever is wrong with a file, an error names the line: each cell may be an old key."""
        old = "0LDKEY"
        for text in (
            f'api_key,routes\na,"{old}, GET /{old}//.."\n',
            f'api_key,routes\na,"GET {old}"\n',
            f'api_key,routes\na,"GET /{old}{{x}}"\n',
            f"api_key,config\na,{old}\n",
            f'api_key,config\na,"{{""{old}"": 1, ""{old}"": 2}}"\n',
            f'api_key,config\na,"{{""x"": {{""{old}"": 1, ""{old}"": 2}}}}"\n',
            f'api_key,config\na,"""{old}"""\n',
            f'api_key,config\na,"[""{old}""]"\n',
            f'api_key,config\na,"{{""permissions"": ""{old}"", ""enabled"": ""{old}"", ""expires_at"": ""{old}""}}"\n',
            f"api_key,enabled\na,{old}\n",
            f"api_key,permissions,expires_at,allowed_ips,routes\na,{old},{old},{old},{old}\n",
            f"api_key\n{old}\n{old}\n",
            f"api_key,x\n{old}\n",
            f'[{{"api_key": "a", "config": "{old}"}}]',
            f'[{{"api_key": "a", "config": {{"{old}": 1, "{old}": 2}}}}]',
            f'[{{"api_key": "a", "{old}": 1, "{old}": 2}}]',
            f'{{"{old}": 1}}',
            f'["{old}"]',
            f'["{old}',
            f'[{{"api_key": "a", "config": {{"x": {"[" * 400}"{old}"{"]" * 400}}}}}]',
            f'[{{"api_key": "a", "config": {{"x": {"[" * 5000}"{old}"{"]" * 5000}}}}}]',
        ):
            for dry in (True, False):
                with self.subTest(text, dry=dry):
                    printed, told = self.run_command("import", self.file(text), *(["--dry-run"] if dry else ["--mapping", self.mapping]), status=None)
                    self.assertNotIn(old, printed + told)

    def test_a_full_disk(self):
        """Before a key is created, there is room for its line; with more room, the same command creates each key once."""
        rows = [{"api_key": f"k{number}", "config": {"number": number}} for number in range(20)]
        for room in (100, 150, 200, 213, 260):
            told = self.run_import(self.file(rows), status=2, room=room)
            self.assertIn("gaia-keys: File too large\n", told)
            self.assertEqual(set(self.made()), {new for new in self.mapped().values() if new.strip()}, "each key that was created is in the file")
        self.run_import(self.file(rows))
        self.assertEqual({old: self.made()[new]["number"] for old, new in self.mapped().items()}, {f"k{n}": n for n in range(20)})

    def test_a_mapping_that_a_spreadsheet_saved(self):
        """With other line ends or without the last one, no key is lost or created twice."""
        for change in (lambda text: text.replace("\n", "\r\n"), lambda text: text.replace("\n", "\r"), lambda text: text.rstrip("\n")):
            self.mapping.unlink(missing_ok=True)
            self.run_import(self.file(GAIA[:2]))
            before = self.mapped()
            self.mapping.write_bytes(change(self.mapping.read_text()).encode())
            for record in self.local.table().scan()["Items"]:  # as after 24 hours
                if record["service"] == "demo#idem":
                    self.local.table().delete_item(Key={"service": record["service"], "id": record["id"]})
            self.assertIn("2 of 3 are in", self.run_import(self.file(GAIA)))
            after = self.mapped()
            self.assertEqual(list(after), ["OLD-1", "OLD-2", "OLD-3"])
            self.assertEqual({old: after[old] for old in before}, before)
        self.assertEqual(len(self.made()), 9)

    def test_a_mapping_for_one_run_at_a_time(self):
        self.run_import(self.file(GAIA))
        with open(self.mapping, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self.assertIn("is in use by another run of gaia-keys", self.run_import(self.file(GAIA), status=2))

    def test_a_mapping_that_can_not_be_used(self):
        self.mapping.write_text("old,new\n")
        self.mapping.chmod(0o644)
        self.assertIn("chmod 600", self.run_import(self.file(GAIA), status=2))
        self.mapping.chmod(0o600)
        self.mapping.write_text("something else\n")
        self.assertIn("is not a mapping file written by gaia-keys", self.run_import(self.file(GAIA), status=2))
        self.assertEqual(self.mapping.read_text(), "something else\n")
        for text in ("something else", "old,new\r\nk,\r\nl,x\r\n", "old,new\nk\nl\n", "new,old\n", "old,new\nk,\xff\n"):
            self.mapping.write_bytes(text.encode("latin-1"))
            self.assertIn("is not a mapping file written by gaia-keys", self.run_import(self.file(GAIA), status=2))
            self.assertEqual(self.mapping.read_bytes(), text.encode("latin-1"), "it may be somebody's only copy")
        self.assertIn("/dev/full is not a regular file", self.error("import", self.file(GAIA), "--mapping", "/dev/full"))
        self.assertEqual(self.made(), {})

    def test_a_lost_line_of_the_mapping_is_restored(self):
        self.run_import(self.file(GAIA))
        whole, made = self.mapping.read_text(), self.made()
        for kept in (len(whole) - 1, len(whole) - 40, len("old,new\n"), 3, 0):
            self.mapping.write_text(whole[:kept])
            self.run_import(self.file(GAIA))
            self.assertEqual(self.mapping.read_text(), whole)
        self.mapping.write_text(f"{whole}OLD-4,gaia_")
        self.run_import(self.file(GAIA))
        self.assertEqual(self.mapping.read_text(), whole)
        self.assertEqual(self.made(), made)

    def test_a_killed_import_goes_on(self):
        rows = [{"api_key": f"k{number}", "config": {"number": number}} for number in range(300)]
        for killed in (signal.SIGKILL, signal.SIGINT):
            process = self.start("import", self.file(rows), "--mapping", self.mapping)
            known = len(self.mapping.read_text().splitlines()) if self.mapping.exists() else 0
            while process.poll() is None:
                if self.mapping.exists() and len(self.mapping.read_text().splitlines()) > known + 30:
                    process.send_signal(killed)
                    break
                time.sleep(0.01)
            printed = process.communicate()[1]
            if killed == signal.SIGINT:
                self.assertEqual(process.returncode, 130, printed)
                self.assertIn("run the same command again", printed)
        printed = self.run_import(self.file(rows))
        self.assertRegex(printed, r"^\d+ of 300 are in .*mapping.csv already\n")
        made = self.made()
        self.assertEqual({old: made[new]["number"] for old, new in self.mapped().items()}, {f"k{n}": n for n in range(300)})
        self.assertEqual(len(made), 300, "none was created twice")

    def test_signed_and_through_failures(self):
        with Gateway(self.local) as gateway:
            gateway.faults = ["throttled", "done, then 503", None, "done, then 503"]
            self.run_import(self.file(GAIA), "--region", "eu-central-1", address=gateway.address, auth="sigv4")
            self.assertEqual([status for _, _, status in gateway.requests], [429, 503, 200, 503, 200, 200])
            self.assertEqual(len(self.made()), 3)
            self.assertEqual(set(self.mapped().values()), set(self.made()))

            self.mapping.unlink()
            printed = self.run_import(
                self.file(GAIA), address=gateway.address, auth="sigv4", status=2, AWS_SECRET_ACCESS_KEY="another"
            )
            self.assertIn("gaia-keys: 403: wrong signature", printed)

    def test_a_mapping_is_asked_for(self):
        self.assertIn("expected --mapping or --dry-run", self.error("import", self.file(GAIA)))
        self.assertEqual(self.made(), {})

    def test_digits_stay(self):
        text = '{"a":1.10,"b":1e400,"c":0.1234567890123456789,"d":-0}'
        self.run_import(self.file(f'[{{"api_key": "a", "config": {text}}}]'))
        self.assertIn(text, self.items().values())


if __name__ == "__main__":
    unittest.main()
