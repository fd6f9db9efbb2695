"""Why something was not done. Each text is one line for people, and holds no secret."""


class Stopped(Exception):
    """Nothing more can be done, with this key or any other."""


class Failed(Exception):
    """This can't be done with this key; it may with others."""


class NoSuchKey(Failed):
    """`repeated`: the request was sent more than once, so an earlier attempt may be the cause."""

    def __init__(self, repeated=False):
        super().__init__("no such key")
        self.repeated = repeated


class Gone(Failed):
    """The key that was created with this Idempotency-Key has been deleted."""
