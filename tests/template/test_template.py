"""template.yaml and examples/protected-api/template.yaml, against what the code and the design expect of them.

    python -m unittest discover -s tests/template

Needs aws-sam-translator (part of aws-sam-cli), no network and no AWS account.
"""

import unittest

# Each file adds its checks to CHECKS.
import check_api  # noqa: F401
import check_data
import check_events  # noqa: F401
import check_example  # noqa: F401
import check_functions  # noqa: F401
import check_watching  # noqa: F401
from check import CHECKS
from stack import EXAMPLE


class Template(unittest.TestCase):
    def test_holds(self):
        for check, text, _ in CHECKS:
            with self.subTest(check.__name__):
                check(text)
        check_data.no_cycles(EXAMPLE)

    def test_every_check_can_fail(self):
        for check, text, broken in CHECKS:
            self.assertNotEqual(broken, (), check.__name__)
            for old, new in broken:
                with self.subTest(check.__name__, broken=f"{old.strip()!r} -> {new.strip()!r}"):
                    self.assertIn(old, text)
                    with self.assertRaises((AssertionError, KeyError, ValueError)):
                        check(text.replace(old, new))


if __name__ == "__main__":
    unittest.main()
