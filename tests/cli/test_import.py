"""gaia-keys import: lists of another system's keys, and the mapping of old keys to new ones."""

import json
import signal
import time

from command import Case

NUMBERED = [{"api_key": f"k{number}", "config": {"number": number}} for number in range(300)]


class Import(Case):
    def command(self, entries):
        (self.folder / "keys").write_text(json.dumps(entries))
        return ["import", "keys", "--mapping", self.mapping]

    def configs(self):
        """The config of each new key, by the old key."""
        made = self.made()
        self.assertEqual(len(made), len(self.mapped()), "none was created twice")
        return {old: made[new] for old, new in self.mapped().items()}

    def test_a_full_disk(self):
        """Before a key is created, there is room for its line; with more room, the same command creates each key once."""
        command = self.command(NUMBERED[:20])
        for room in (100, 150, 200, 213, 260):
            process = self.start(*command, room=room)
            self.assertIn("gaia-keys: File too large\n", process.communicate(timeout=60)[1])
            self.assertEqual(process.returncode, 2)
            self.assertEqual(set(self.made()), {new for new in self.mapped().values() if new.strip()}, "each key is in the file")
        self.run_command(*command)
        self.assertEqual(self.configs(), {row["api_key"]: row["config"] for row in NUMBERED[:20]})

    def test_a_killed_import_goes_on(self):
        for killed, code in ((signal.SIGKILL, -9), (signal.SIGINT, 130)):
            process = self.start(*self.command(NUMBERED))
            size = lambda: self.mapping.stat().st_size if self.mapping.exists() else 0
            enough = size() + 2000
            while process.poll() is None and size() < enough:
                time.sleep(0.01)
            process.send_signal(killed)
            told = process.communicate(timeout=60)[1]
            self.assertEqual(process.returncode, code, told)
            self.assertEqual("run it again" in told, code == 130)
        self.assertRegex(self.run_command(*self.command(NUMBERED))[1], r"^\d+ of 300 are in .*mapping.csv already\n")
        self.assertEqual(self.configs(), {row["api_key"]: row["config"] for row in NUMBERED})
