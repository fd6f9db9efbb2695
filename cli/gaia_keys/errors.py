"""Why something was not done. Each text is one line for people, and holds no secret."""

from __future__ import annotations

import sys

# What an error of botocore may say of its values: only names that are no secrets.
NAMES = ("profile", "service_name", "operation_name", "provider")
# What to do about an error of botocore.
HINTS = {
    "NoCredentialsError": "; use --profile, AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "EndpointConnectionError": "; check the network, and --region",
}


class Stopped(Exception):
    """Nothing more can be done, with this key or any other."""


class Unexpected(Stopped):
    """A response doesn't have the shape that the API documents, so nothing is known to be done."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}. Check that --url is the stack's ApiUrl.")


class Failed(Exception):
    """This can't be done with this key; it may with others."""


class TooLong(Failed):
    """The config doesn't fit."""


class Missed(Failed):
    """`doubtful`: an earlier attempt of the same request got no response or a 5xx, so it may be the cause."""

    text = ""

    def __init__(self, doubtful: bool = False) -> None:
        super().__init__(self.text)
        self.doubtful = doubtful


class NoSuchKey(Missed):
    text = "no such key"


class Changed(Missed):
    """The key is no longer what was read."""

    text = "others keep changing this key: try again"


class Gone(Failed):
    """The key that was created with this Idempotency-Key has been deleted."""


def of_aws(error: Exception) -> str | None:
    """What an error of AWS, or of botocore on the way there, says without values. None for any other error."""
    botocore = sys.modules.get("botocore.exceptions")  # who hasn't imported it has no such error
    if botocore and isinstance(error, botocore.ClientError):
        code, message = error.response["Error"].get("Code", "Unknown"), error.response["Error"].get("Message", "")
        if "ignature" in code:  # the texts of these repeat the request's headers, session token included
            message = "check the credentials and the clock"
        return f"{error.operation_name}: {code}: {' '.join(message.split())}"
    if botocore and isinstance(error, botocore.BotoCoreError):
        values = {name: value if name in NAMES else "..." for name, value in error.kwargs.items()}
        hint = next((hint for kind, hint in HINTS.items() if isinstance(error, getattr(botocore, kind))), "")
        return " ".join(error.fmt.format(**values).split()) + hint
    return None
