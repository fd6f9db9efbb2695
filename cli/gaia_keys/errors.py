"""Why something was not done. Each text is one line for people, and holds no secret."""

from __future__ import annotations


class Stopped(Exception):
    """Nothing more can be done, with this key or any other."""


class Unexpected(Stopped):
    """A response doesn't have the shape that the API documents, so nothing is known to be done."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}. Check that --url is the stack's ApiUrl.")


class Failed(Exception):
    """This can't be done with this key; it may with others."""


class NoSuchKey(Failed):
    """`doubtful`: an earlier attempt of the same request got no response or a 5xx, so it may be the cause."""

    def __init__(self, doubtful: bool = False) -> None:
        super().__init__("no such key")
        self.doubtful = doubtful


class Changed(Failed):
    """The key is no longer what was read. `doubtful`: as in NoSuchKey."""

    def __init__(self, doubtful: bool = False) -> None:
        super().__init__("others keep changing this key: try again")
        self.doubtful = doubtful


class Gone(Failed):
    """The key that was created with this Idempotency-Key has been deleted."""
