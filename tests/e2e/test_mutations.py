"""Each edit of the templates in mutations.yaml makes a test of this folder fail.

Only the named tests run, until the first failure, in as many processes as there are processors; each has an emulator, which is
emptied for each edit. VERBOSE=1 prints what the tests say.
"""

import io
import json
import os
import pathlib
import subprocess
import sys
import unittest

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
        count = os.cpu_count()
        said, processes = {}, []
        for number in range(count):
            command = [sys.executable, "-B", __file__, str(count), str(number)]
            environment = os.environ | {"TEST_EMULATOR": f"edits-{number}"}
            processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE))
        for process in processes:
            output, _ = process.communicate(timeout=600)
            self.assertEqual(process.returncode, 0)
            said |= json.loads(output)
        for test, edits in EDITS.items():
            for edit in edits:
                with self.subTest(edit["what"]):
                    self.assertTrue(said[edit["what"]], f"{test} doesn't notice")
                    if "VERBOSE" in os.environ:
                        print(f"{edit['what']}: {said[edit['what']]}", file=sys.stderr)


if __name__ == "__main__":
    count, number = map(int, sys.argv[1:])
    mine = [(test, edit) for test, edits in EDITS.items() for edit in edits][number::count]
    print(json.dumps({edit["what"]: notices(test, edit) for test, edit in mine}))
