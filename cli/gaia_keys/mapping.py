"""Which new key takes the place of which old one, in a file for its owner alone."""

import csv
import io
import os

from gaia_keys.errors import Stopped


class Mapping:
    """The CSV `old,new`: made so that only its owner can read it, each line on disk before the next key is made.

    `known` holds what an earlier run wrote, which may have been killed in the middle of a line.
    """

    def __init__(self, path):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
            self.file = open(descriptor, "r+", encoding="utf-8", newline="")
        except OSError as error:
            raise Stopped(f"{path}: {error.strerror}") from None
        if os.name == "posix" and os.fstat(descriptor).st_mode & 0o077:
            raise Stopped(f"{path}: others may read it; chmod 600 it first")
        try:
            text = self.file.read()
            whole = text[: text.rfind("\n") + 1]
            rows = list(csv.reader(io.StringIO(whole, newline="")))
        except (UnicodeDecodeError, csv.Error):
            rows = [[]]
        if rows and rows[0] != ["old", "new"] or any(len(row) != 2 for row in rows):
            raise Stopped(f"{path}: no mapping that gaia-keys wrote")
        self.known = dict(rows[1:])
        self.file.seek(len(whole.encode()))
        self.file.truncate()
        self.writer = csv.writer(self.file, lineterminator="\n")
        if not rows:
            self.write("old", "new")

    def add(self, old, new):
        self.write(old, new)
        self.known[old] = new

    def write(self, *row):
        self.writer.writerow(row)
        self.file.flush()
        os.fsync(self.file.fileno())
