"""The commands of README.md do what it says, on the local service."""

import re
import subprocess
import unittest

from local import Local, blocks


class Readme(unittest.TestCase):
    def test_the_quick_start(self):
        """Its commands, pasted as they are, print the responses that are shown, except that the key is another."""
        script, expected = "".join(blocks("README.md", "bash")), "".join(blocks("README.md", "text"))
        with Local(sample=False) as local:
            script = "exec 2>&1\n" + script.replace("127.0.0.1:3000", local.address)
            shell = ["bash", "-euo", "pipefail", "-c", script]
            printed = subprocess.run(shell, capture_output=True, text=True, timeout=60, check=True).stdout
            self.assertEqual(local.list(), {})
        self.assertEqual(*[re.sub(r"gaia_\w{26}", "ID", text) for text in (printed, expected)])


if __name__ == "__main__":
    unittest.main()
