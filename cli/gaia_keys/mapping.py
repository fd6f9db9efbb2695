"""Which new key replaces which old one, in a file for its owner alone."""

from __future__ import annotations

import csv
import io
import os
import stat
import sys
from collections.abc import Iterator

from gaia_keys.errors import Stopped
from gaia_keys.keys import ID_LENGTH, id_of

if sys.platform != "win32":
    import fcntl

HEADING = ("old", "new")
# Stands where the new key will: all keys are as long.
RESERVED = " " * 58


def line(old: str, new: str) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow([old, new])
    return text.getvalue().encode()


def rows(data: bytes) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Each row, and where it begins. Line ends may be those of a spreadsheet. Errors: UnicodeDecodeError, csv.Error."""
    begin = end = 0

    def lines() -> Iterator[str]:
        nonlocal end
        for text in io.StringIO(data.decode(), newline=""):
            end += len(text.encode())
            yield text

    for row in csv.reader(lines()):
        yield begin, tuple(row)
        begin = end


class Mapping:
    """The CSV `old,new`, with mode 0600. Before a new key is created, its line is on disk, with room for the key.

    `known` holds what an earlier run wrote. A run that was killed, or whose disk was full, may leave its last line
    without a new key: then `pending` is the old key, whose new one may exist though nobody has seen it. That line stays
    until `begin` or `drop` replaces it.
    """

    def __init__(self, path: str) -> None:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise Stopped(f"{path} is not a regular file")
            self.file = open(descriptor, "r+b", buffering=0)  # noqa: SIM115, it stays open as long as the command runs
            if sys.platform != "win32":
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Stopped(f"{path} is in use by another run of gaia-keys") from None
        except OSError as error:
            raise Stopped(f"{path}: {error.strerror}") from None
        if os.name == "posix" and mode & 0o077:
            raise Stopped(f"{path} is readable by other users; run: chmod 600 {path}")
        data = self.file.read()
        self.known: dict[str, str] = {}
        self.pending: str | None = None
        self.end = len(data)
        if line(*HEADING).startswith(data):  # new, or killed while it wrote that
            self.end = 0
            self.end += self.write(line(*HEADING))
        elif not self.understood(data):
            raise Stopped(f"{path} is not a mapping file written by gaia-keys")
        elif self.end == len(data) and not data.endswith(b"\n"):
            self.end += self.write(b"\n")

    def understood(self, data: bytes) -> bool:
        """Reads what an earlier run wrote. False if it isn't a mapping, which must not be overwritten."""
        try:
            (_, heading), *found = rows(data)
        except (UnicodeDecodeError, csv.Error):
            return False
        for begin, row in found:
            if len(row) == 2 and id_of(row[1]) and len(row[1]) > ID_LENGTH:
                self.known[row[0]] = row[1]
            elif begin == found[-1][0]:
                self.end = begin
                self.pending = row[0] if len(row) == 2 else None
            else:
                return False
        return heading == HEADING

    def begin(self, old: str) -> None:
        """Writes that a new key for `old` is being created: `add` or `drop` replaces that line."""
        self.write(line(old, RESERVED))

    def add(self, old: str, new: str) -> None:
        self.end += self.write(line(old, new))
        self.known[old] = new

    def drop(self) -> None:
        """Removes what `begin` wrote, or a run that was killed."""
        self.write(b"")

    def write(self, data: bytes) -> int:
        """Replaces what follows the last whole line: overwrites it first, so that a full disk leaves it as it was."""
        self.file.seek(self.end)
        left = data
        while left:
            left = left[self.file.write(left) :]
        self.file.truncate()
        os.fsync(self.file.fileno())
        return len(data)
