"""What documents and sessions.txt show: each command does it."""

import datetime
import os
import pathlib
import re
import shlex
import subprocess

from command import Case, settings
from local import blocks

SESSIONS = pathlib.Path(__file__).with_name("sessions.txt")
PAGES = ("docs/tutorial.md", "docs/manage-keys.md")  # tests/docs has the README
# Programs that can't do their work here.
ELSEWHERE = ("cargo", "pipx", "mail")


def normal(text):
    """A text with the IDs of new keys numbered, and all secrets, ports and times of today alike: none is the same twice."""
    ids = {}
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    text = re.sub(r"(gaia_[0-9A-Z]{26})_[0-9A-Z]{26}", r"\1_SECRET", text)
    text = re.sub(r"gaia_01(?!ARZ3)[0-9A-Z]{24}", lambda found: ids.setdefault(found[0], f"ID-{len(ids)}"), text)
    text = re.sub(rf"{today}T\d\d:\d\d:\d\d(\.\d{{3}})?Z", "TIME", text).replace(today, "TODAY")
    text = re.sub(r"127\.0\.0\.1:\d{4,}", "HOST", text)
    return re.sub(r" +$", "", text, flags=re.MULTILINE)


class Docs(Case):
    maxDiff = None

    def shell(self, script, options="-eu", **variables):
        """The exit status of a script, and what it prints to the terminal."""
        command = ["bash", options, "-o", "pipefail", "-c", f"exec 2>&1\n{script}"]
        env = settings(self.local.address, COLUMNS="100", LC_ALL="C.UTF-8", **variables)
        done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
        return done.returncode, done.stdout

    def test_sessions(self):
        head, *parts = SESSIONS.read_text().split("\n## ")
        printed = [head]
        for part in parts:
            with self.subTest(part.splitlines()[0]):
                title, *lines = part.splitlines()
                self.variables = dict(re.findall(r"([A-Z_]+)=(\w+)", title))
                self.setUp()
                commands = [line[2:] for line in lines if line.startswith("$ ")]
                script = "".join(f"echo {shlex.quote(f'$ {line}')}\n{line}\nstatus $?\n" for line in commands)
                status, shown = self.shell(f"status() {{ [ $1 = 0 ] || echo \"= $1\"; }}\n{script}", "+e")
                printed.append(f"{title}\n{normal(shown)}")
                if "UPDATE" not in os.environ:
                    self.assertEqual(printed[-1].strip(), part.strip())
        if "UPDATE" in os.environ:
            SESSIONS.write_text("\n## ".join(printed))

    def test_pages(self):
        """The blocks of a page that a shell runs, in order. Who says `$ID` without setting it gets a new key for each block."""
        for page in PAGES:
            self.setUp()
            for name in ELSEWHERE:
                (self.folder / name).write_text("#!/bin/sh\n")
                (self.folder / name).chmod(0o755)
            found = [block.replace("127.0.0.1:3000", self.local.address) for block in blocks(page, "(?:sh|bash)")]
            script = ""
            for block in found:
                if not any(re.search("^ID=", each, flags=re.MULTILINE) for each in found):
                    script += "KEY=$(gaia-keys create x --permissions read --allowed-ip 10.0.0.0/8) ID=${KEY:0:31}\n"
                # Nobody can be asked here. A script of its own may fail on purpose.
                block = re.sub(r"(gaia-keys (?:delete|rotate --older-than)[^|\n#]*)", r"\1 --yes ", block)
                script += f"sh -c {shlex.quote(block)}\n" if block.startswith("#!") else block
                script += "rm -f *.csv\nprintf 'api_key,permissions\\na,read\\n' >keys.csv\n"
            with self.subTest(page):
                status, printed = self.shell(f"PATH={self.folder}:$PATH\n{script}")
                self.assertEqual(status, 0, printed)
