"""Each edit of the templates in mutations.yaml makes a test of this folder fail.

Only the named tests run, on an emulator of their own, until the first failure. VERBOSE=1 prints what they say.

Three edits go unnoticed here and are left to tests/template: another path for a route of the management API, since `$default`
serves it too; a statement without its condition "Null", since each operation that it allows names a key; an authorizer that
other accounts' APIs may ask.
"""

import concurrent.futures
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import yaml

from deployment import templates

FOLDER = pathlib.Path(__file__).parent


def edited(what, where, old, new, template="MAIN"):
    """The template's text, and its name."""
    text = getattr(templates, template)
    assert where in text, f"{what}: no {where!r}"
    before, after = text.split(where, 1)
    assert old in after, f"{what}: no {old!r}"
    return before + where + after.replace(old, new, 1), template


def notices(number, test, edit):
    """The named test's last line about the edit, if it fails."""
    text, template = edited(**edit)
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(text)
        file.flush()
        process = subprocess.run(
            [sys.executable, "-B", "-m", "unittest", "--failfast", test],
            cwd=FOLDER,
            env=os.environ | {f"TEST_{template}": file.name, "TEST_EMULATOR": f"edit-{number}"},
            capture_output=True,
            text=True,
            timeout=120,
        )
    if process.returncode == 0:
        return None
    assert "unittest.loader._FailedTest" not in process.stderr, f"{edit['what']}: {test} isn't a test"
    lines = [line for line in process.stderr.splitlines() if line and not line.startswith((" ", "-", "=", "Ran", "FAILED"))]
    return lines[-1][:200]


class Mutations(unittest.TestCase):
    def test_every_edit_is_noticed(self):
        tests = yaml.safe_load((FOLDER / "mutations.yaml").read_text())
        edits = [(test, edit) for test, edits in tests.items() for edit in edits]
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            found = list(pool.map(notices, range(len(edits)), *zip(*edits)))
        for (test, edit), line in zip(edits, found):
            with self.subTest(edit["what"]):
                self.assertIsNotNone(line, f"{test} doesn't notice")
            if "VERBOSE" in os.environ:
                print(f"{edit['what']}: {line}", file=sys.stderr)


if __name__ == "__main__":
    unittest.main()
