"""gaia-keys import, as docs/migrating.md describes it."""

import csv
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

    def test_a_mapping_that_can_not_be_used(self):
        self.mapping.write_text("old,new\n")
        self.mapping.chmod(0o644)
        self.assertIn("chmod 600", self.run_import(self.file(GAIA), status=2))
        self.mapping.chmod(0o600)
        self.mapping.write_text("something else\n")
        self.assertIn("is not a mapping file written by gaia-keys", self.run_import(self.file(GAIA), status=2))
        self.assertEqual(self.mapping.read_text(), "something else\n")
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
