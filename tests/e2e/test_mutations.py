"""Each edit of the templates in mutations.yaml makes a test of this folder fail.

Only the named tests run, until the first failure, in as many processes as there are processors; each has an emulator, which is
emptied for each edit. VERBOSE=1 prints what the tests say.
"""

import io
import multiprocessing
import os
import pathlib
import sys
import unittest
from concurrent.futures import ProcessPoolExecutor

import yaml

import deployment
import emulator as emulators
from deployment import templates

EDITS = yaml.safe_load(pathlib.Path(__file__).with_name("mutations.yaml").read_text())
TEXTS = {"MAIN": templates.MAIN, "EXAMPLE": templates.EXAMPLE}


def edited(what, where, old, new, template="MAIN"):
    """The templates with `new` in place of the first `old` after `where`."""
    before, found, after = TEXTS[template].partition(where)
    assert old in after, f"{what}: no {where!r}, or no {old!r} after it"
    return TEXTS | {template: before + found + after.replace(old, new, 1)}


def notices(test, edit):
    """The test's last words about the edit, if it fails."""
    vars(templates).update(edited(**edit))
    emulators.shared().reset()
    deployment.keys.cache_clear()
    deployment.protected.cache_clear()
    loader = unittest.TestLoader()
    result = unittest.TextTestRunner(io.StringIO(), failfast=True).run(loader.loadTestsFromName(test))
    assert not loader.errors, loader.errors
    found = [text for _, text in result.failures + result.errors]
    return found and found[0].strip().splitlines()[-1][:200]


class Mutations(unittest.TestCase):
    def test_every_edit_is_noticed(self):
        tests, edits = zip(*((test, edit) for test, edits in EDITS.items() for edit in edits))
        nothing = {"what": "nothing", "where": "Globals:", "old": "Timeout", "new": "Timeout"}
        with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
            self.assertFalse(pool.submit(notices, tests[0], nothing).result(), "fails without an edit too")
            for test, edit, said in zip(tests, edits, pool.map(notices, tests, edits)):
                with self.subTest(edit["what"]):
                    self.assertTrue(said, f"{test} doesn't notice")
                    if "VERBOSE" in os.environ:
                        print(f"{edit['what']}: {said}", file=sys.stderr)
