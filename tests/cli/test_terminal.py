"""What is asked and shown on a terminal."""

import os
import pty
import select
import subprocess
import unittest

from command import COMMAND, Case, settings


class Terminal(Case):
    def talk(self, *arguments, answer=None):
        """The command on a terminal of 80 columns: its exit status, and what stood there; `answer` is typed at a prompt."""
        own, other = pty.openpty()
        env = settings(self.local.address, TERM="xterm", COLUMNS="80")
        # In a session of its own, so that a prompt can't reach the terminal that the tests run on.
        ends = {"stdin": other, "stdout": other, "stderr": other, "start_new_session": True}
        process = subprocess.Popen([COMMAND, *arguments], env=env, cwd=self.folder, **ends)
        self.addCleanup(process.kill)
        os.close(other)
        seen = b""
        while True:
            self.assertTrue(select.select([own], [], [], 30)[0], f"waits after {seen}")
            try:
                seen += os.read(own, 4096)
            except OSError:  # Linux's way to say that the other end is closed
                break
            if answer is not None and seen.endswith(b": "):
                os.write(own, f"{answer}\n".encode())
                answer = None
        os.close(own)
        return process.wait(timeout=60), seen.decode().replace("\r", "")

    def test_delete_asks(self):
        key = self.local.create({"name": "reports \x1b[31m"})
        for answer, status in (("", 1), ("n", 1), ("y", 0)):
            self.assertIn(key, self.made())
            done, seen = self.talk("delete", key, answer=answer)
            self.assertEqual(done, status)
            self.assertIn(f"Delete {key[:31]} (reports \\x1b[31m) permanently? [y/N]:", seen)
        self.assertEqual(self.made(), {})
        self.assertEqual(self.talk("delete", key[:31])[0], 1, "nothing to ask about")

    def test_rotating_many_asks(self):
        rotate = ("rotate", "--older-than", "2100-01-01", "--grace", "1d", "--mapping", "rotated.csv")
        for answer, status in (("", 1), ("n", 1), ("y", 0)):
            self.assertEqual(self.made(), {})
            done, seen = self.talk(*rotate, answer=answer)
            self.assertEqual(done, status)
            self.assertRegex(seen, r"Rotate 1 keys\? The old ones are denied from \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ on. \[y/N\]: ")
        self.assertEqual(len(self.made()), 1)
        done, seen = self.talk(*rotate)
        self.assertEqual((done, "[y/N]" in seen), (0, False), "nothing to ask about")

    def test_verify_asks_and_does_not_show(self):
        key = self.local.create({})
        done, seen = self.talk("verify", answer=key)
        self.assertEqual((done, seen), (0, f"Key: \nvalid: {key[:31]}\n"))

    def test_one_line_a_key(self):
        name = "a long name " * 50
        key = self.local.create({"name": name})
        done, seen = self.talk("list")
        self.assertEqual((done, len(seen.splitlines())), (0, 3))
        self.assertIn(f"\n{key[:31]}  {name}", seen)

    def test_last_used(self):
        for hours, said in ((0, "within the hour"), (1, "1 hour ago"), (47, "47 hours ago"), (72, "3 days ago")):
            key = self.local.create({"permissions": "read"})
            self.used(key, hours)
            self.assertIn(said, self.talk("get", key)[1])
            self.assertIn(f"  {said}", self.talk("list")[1])

    def test_no_keys(self):
        self.assertEqual(self.talk("list", "--name", "nobody's"), (0, "no keys\n"))

    def test_a_key_that_is_asked_for(self):
        key = self.local.create({"permissions": "read"})
        done, seen = self.talk("get", "-", answer=key)
        self.assertEqual((done, seen[:8]), (0, "Key: \nid"))
        self.assertNotIn(key, seen)

    def test_progress(self):
        keys = self.folder / "keys.csv"
        keys.write_text("api_key,permissions\n" + "".join(f"k{number},read\n" for number in range(20)) + "x,admin\n")
        done, seen = self.talk("import", "keys.csv", "--mapping", "mapping.csv")
        self.assertEqual(done, 1)
        self.assertIn("21/21", seen)
        self.assertIn("line 22: 422", seen)
        self.assertTrue(seen.endswith("20 imported, 1 failed\n"), seen[-200:])
        rotate = ("rotate", "--older-than", "2100-01-01", "--grace", "1d", "--mapping", "rotated.csv")
        done, seen = self.talk(*rotate, "--yes")
        self.assertEqual(done, 0)
        self.assertIn("21/21", seen)

    def test_progress_elsewhere(self):
        keys = self.folder / "keys.csv"
        keys.write_text("api_key\n" + "".join(f"k{number}\n" for number in range(210)))
        told = self.run_command("import", keys, "--mapping", "mapping.csv")[1]
        self.assertEqual(told, "100 of 210\n200 of 210\n210 imported, 0 failed\n")


if __name__ == "__main__":
    unittest.main()
