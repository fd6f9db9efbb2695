"""One request, as it is typed."""

from __future__ import annotations

import pathlib
import re
import sys

import click

from gaia_keys import options
from gaia_keys.api import Api
from gaia_keys.connection import connected
from gaia_keys.errors import Stopped
from gaia_keys.output import printable, say


def below(path: str) -> str:
    """Only characters that are signed and sent as they are. What was typed may hold a key, so no error repeats it."""
    if not re.fullmatch(r"/[A-Za-z0-9._~/-]*(\?[A-Za-z0-9._~=&%-]*)?", path):
        raise ValueError("expected a path like / or /verify, without other characters than a URL may have")
    return path


def body(data: str | None) -> bytes | None:
    if data is None:
        return None
    if data == "-":
        return sys.stdin.buffer.read()
    return pathlib.Path(data[1:]).read_bytes() if data.startswith("@") else data.encode("utf-8", "surrogateescape")


@click.command(
    "api",
    epilog=options.example(
        "gaia-keys api GET '/?details=true&limit=2'",
        'gaia-keys api POST / --data \'{"config": {"permissions": "read"}}\'',
    ),
)
@click.argument("method", type=click.Choice(["GET", "POST", "PUT", "DELETE"], case_sensitive=False))
@click.argument("path", type=options.Parsed(below))
@click.option("--data", metavar="JSON", help="Body of the request: JSON, @FILE, or - for standard input.")
@connected
def api(api: Api, method: str, path: str, data: str | None) -> int:
    """Send one signed request, and print the response.

    PATH is below /es/api/v1/credentials/api_keys. The request isn't repeated if it fails. If the status of the response
    isn't 2xx, it goes to standard error, and the exit status is 1.
    """
    import urllib3

    url = f"{api.transport.base}{path}"
    try:
        response = api.transport.attempt(method, url, body(data), {})
    except urllib3.exceptions.HTTPError as error:
        raise Stopped(api.transport.unreachable(error)) from None
    if sys.stdout.isatty():
        print(printable(response.data.decode(errors="replace")))
    else:
        sys.stdout.buffer.write(response.data + b"\n" * (not response.data.endswith(b"\n")))
    sys.stdout.flush()
    if 200 <= response.status < 300:
        return 0
    say(f"gaia-keys: {response.status} ({method} {url})")
    return 1
