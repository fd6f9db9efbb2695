"""Why something was not done. Each text is one line for people, and holds no secret."""


class Stopped(Exception):
    """Nothing more can be done, with this key or any other."""


class Refused(Exception):
    """This can't be done with this key; it may with others."""


class NoSuchKey(Refused):
    """`repeated`: the request was sent more than once, so that an earlier attempt may be why."""

    def __init__(self, repeated=False):
        super().__init__("no such key")
        self.repeated = repeated


class Gone(Refused):
    """The key that an Idempotency-Key made was deleted."""
