"""The English of the repository: banned words, headings of columns, sentences that are too long, spelling."""

import subprocess
import sys
import unittest

import prose
from local import ROOT

SPELLING = [sys.executable, "-m", "codespell_lib"]


class Prose(unittest.TestCase):
    def test_the_check_notices(self):
        """Each kind of mistake, and what looks like one."""
        wrong = "| a | |\n|---|---|\nThe ids are void.\n\n```\nids\n```\nCall `ids`.\n"
        self.assertEqual(list(prose.banned("x.md", wrong)), ["x.md:3: “void”: invalid", "x.md:3: “ids”: ID"])
        self.assertEqual(list(prose.empty_headings("x.md", wrong)), ["x.md:1: a column without a heading"])
        self.assertEqual(len(list(prose.too_long("x.md", "One " + "word " * prose.LONGEST + ".\n"))), 1)
        self.assertEqual(list(prose.too_long("x.md", f"{'Five words make a sentence. ' * 20}\n")), [])
        self.assertEqual(len(list(prose.banned("x.rs", 'let ids = "the answer is"; // no answer\nlet answer = 1;\n'))), 2)
        self.assertEqual(len(list(prose.banned("x.yaml", "Description: It refuses the key.\nid: 5 # an id\n"))), 2)

    def test_every_document(self):
        for name in prose.markdown():
            text = (ROOT / name).read_text()
            found = [*prose.banned(name, text), *prose.empty_headings(name, text), *prose.too_long(name, text)]
            self.assertEqual(found, [])

    def test_what_else_speaks(self):
        for name in prose.spoken():
            self.assertEqual(list(prose.banned(name, (ROOT / name).read_text())), [])

    def test_spelling(self):
        names = prose.markdown() + prose.spoken()
        done = subprocess.run([*SPELLING, *names], cwd=ROOT, capture_output=True, text=True)
        self.assertEqual((done.stdout, done.stderr, done.returncode), ("", "", 0))


if __name__ == "__main__":
    unittest.main()
