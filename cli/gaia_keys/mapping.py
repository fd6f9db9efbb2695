"""Which new key replaces which old one, in a file for its owner alone."""

import csv
import io
import os

from gaia_keys.errors import Stopped


class Mapping:
    """The CSV `old,new`, with mode 0600: each line is on disk before the next key is created.

    `known` holds what an earlier run wrote. That run may have been killed in the middle of a line, or after `begin`: then
    `pending` is the old key whose new one may exist, though nobody has seen it.
    """

    def __init__(self, path):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
            self.file = open(descriptor, "r+", encoding="utf-8", newline="")
        except OSError as error:
            raise Stopped(f"{path}: {error.strerror}") from None
        if os.name == "posix" and os.fstat(descriptor).st_mode & 0o077:
            raise Stopped(f"{path} is readable by other users; run: chmod 600 {path}")
        try:
            text = self.file.read()
            whole = text[: text.rfind("\n") + 1]
            rows = list(csv.reader(io.StringIO(whole, newline="")))
        except (UnicodeDecodeError, csv.Error):
            rows = [[]]
        if rows and rows[0] != ["old", "new"] or any(len(row) != 2 for row in rows):
            raise Stopped(f"{path} is not a mapping file written by gaia-keys")
        self.pending = rows.pop()[0] if rows and not rows[-1][1] else None
        self.known = dict(rows[1:])
        self.end = len(whole.encode()) - (len(f"{self.pending},\n".encode()) if self.pending else 0)
        self.drop()
        if not rows:
            self.write("old", "new")

    def begin(self, old):
        """Writes that a new key for `old` is being created: `add` or `drop` replaces that line."""
        end = self.end
        self.write(old, "")
        self.end = end

    def add(self, old, new):
        self.write(old, new)
        self.known[old] = new

    def drop(self):
        """Removes what `begin` wrote, or a run that was killed."""
        self.file.seek(self.end)
        self.file.truncate()

    def write(self, *row):
        self.drop()
        csv.writer(self.file, lineterminator="\n").writerow(row)
        self.file.flush()
        os.fsync(self.file.fileno())
        self.end = self.file.tell()
