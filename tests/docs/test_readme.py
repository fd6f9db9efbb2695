"""The commands of README.md do what it says, on the local service."""

import re
import subprocess
import unittest

from local import Local, blocks


class Readme(unittest.TestCase):
    def test_the_quick_start(self):
        """Its commands, pasted as they are, print the responses that are shown, except that the key is another."""
        script, expected = "".join(blocks("README.md", "bash")), "".join(blocks("README.md", "text"))
        (shown,) = set(re.findall(r"gaia_\w{26}_\w{26}", expected))
        with Local(sample=False) as local:
            shell = ["bash", "-euo", "pipefail", "-c", script.replace("127.0.0.1:3000", local.address)]
            printed = subprocess.run(shell, capture_output=True, text=True, timeout=60, check=True)
            self.assertEqual(local.list(), {})
        created = printed.stdout.splitlines()[0]
        self.assertEqual(printed.stderr, "")
        self.assertEqual(printed.stdout, expected.replace(shown, created).replace(shown[:31], created[:31]))


if __name__ == "__main__":
    unittest.main()
