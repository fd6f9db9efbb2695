#!/usr/bin/env python3
"""Makes a new key for each key of a list, with the same config, and writes down which new key takes the place of which.

The old secrets can't be kept: a key of this service is computed, not stored. So each caller has to be given its new key.

  FILE     GAIA's list, [{"api_key": ..., "config": {...}}, ...], or a CSV with a column api_key and either a column config
           (JSON) or a column for each member of it: permissions, enabled, expires_at, allowed_ips (separated by spaces);
           other columns become members with a text. Empty cells are left out. "-" reads standard input.
  MAPPING  a CSV old,new that only you can read. If it is there, the import goes on where it was: run the same command again
           after an interruption, within 24 hours and as the same caller, and no key is made twice.

Requests are signed with the credentials that botocore finds (pip install botocore); --auth bearer sends the token in the
variable API_TOKEN; --auth none is for `cargo local`.

Exit status: 0 all keys are imported, 1 some were refused (each has a line that says why), 2 stopped by an error that would
meet the others too, 130 interrupted.
"""

import argparse
import csv
import decimal
import hashlib
import http.client
import io
import json
import os
import pathlib
import re
import sys
import time
import urllib.parse

COLLECTION = "/es/api/v1/credentials/api_keys"
# An id that no key has: a config sent to it is checked (422, 413), and then there is no such key (404).
NOBODY = "gaia_00000000000000000000000000"
ATTEMPTS = 6
RETRIED = {429, 500, 502, 503, 504}


class Fatal(Exception):
    """Nothing more can be done: one line for people."""


class Refused(Exception):
    """This key can't be imported; others may."""


# ------------------------------------------------------------------------------------------------------- reading


def unambiguous(pairs):
    names = [name for name, _ in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    return ValueError(f"member named twice: {', '.join(twice)}") if twice else dict(pairs)


def exact(text):
    number = float(text)
    if decimal.Decimal(text) != decimal.Decimal(repr(number)):
        return ValueError(f"the number {text} would lose digits")
    return number


def parse(text):
    """JSON, with a ValueError in place of each value that would not come out as it stands there."""
    constant = lambda text: ValueError(f"{text} is no JSON")
    try:
        return json.loads(text, object_pairs_hook=unambiguous, parse_float=exact, parse_constant=constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def fault(value):
    """The first ValueError in what was parsed."""
    if isinstance(value, ValueError):
        return value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next(filter(None, map(fault, inner)), None)


def cell(name, text):
    if name == "enabled":
        words = {"true": True, "false": False}
        if text.lower() not in words:
            raise ValueError("enabled is neither true nor false")
        return words[text.lower()]
    return text.split() if name == "allowed_ips" else text


def rows_of_csv(text):
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    columns = reader.fieldnames or []
    if "api_key" not in columns:
        raise Fatal("the CSV has no column api_key")
    if len(set(columns)) != len(columns):
        raise Fatal("the CSV has two columns of one name")
    rows = []
    for row in reader:
        if None in row or None in row.values():
            raise Fatal(f"line {reader.line_num}: {len(columns)} columns are expected")
        place, old = f"line {reader.line_num}", row.pop("api_key")
        try:
            if "config" in columns:
                config = parse(row["config"])
            else:
                config = {name: cell(name, text) for name, text in row.items() if text != ""}
        except ValueError as error:
            config = error
        rows.append((place, old, config))
    return rows


def rows_of_json(text):
    try:
        entries = parse(text)
    except ValueError as error:
        raise Fatal(f"no list of keys: {error}") from None
    if not isinstance(entries, list):
        raise Fatal("no list of keys: expected [{\"api_key\": ..., \"config\": {...}}, ...]")
    rows = []
    for number, entry in enumerate(entries, 1):
        if isinstance(entry, ValueError):
            raise Fatal(f"entry {number}: {entry}")
        entry = entry if isinstance(entry, dict) else {}
        rows.append((f"entry {number}", entry.get("api_key"), entry.get("config")))
    return rows


def read(path):
    """(place, old key, config or what is wrong with it) of each key."""
    try:
        text = (sys.stdin.buffer.read() if path == "-" else pathlib.Path(path).read_bytes()).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise Fatal(f"{path}: {error}") from None
    try:
        rows = rows_of_json(text) if text.lstrip()[:1] in ("[", "{") else rows_of_csv(text)
    except csv.Error as error:
        raise Fatal(f"{path}: {error}") from None
    seen = {}
    for place, old, config in rows:
        if not isinstance(old, str) or not old:
            raise Fatal(f"{path}: {place} has no api_key")
        if old in seen:
            raise Fatal(f"{path}: {place} has the api_key of {seen[old]}")
        seen[old] = place
    return rows


# ------------------------------------------------------------------------------------------------------- mapping


class Mapping:
    """The file old,new: made so that only its owner can read it, and on disk before the next key is made."""

    def __init__(self, path):
        self.known = {}
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
            self.file = open(descriptor, "r+", encoding="utf-8", newline="")
        except OSError as error:
            raise Fatal(f"{path}: {error.strerror}") from None
        if os.name == "posix" and os.fstat(descriptor).st_mode & 0o077:
            raise Fatal(f"{path}: others may read it; chmod 600 it first")
        text = self.file.read()
        whole = text[: text.rfind("\n") + 1]  # an interrupted run may have left half a line
        rows = list(csv.reader(io.StringIO(whole, newline="")))
        if rows and rows[0] != ["old", "new"] or any(len(row) != 2 for row in rows):
            raise Fatal(f"{path}: no file that an import wrote")
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


# -------------------------------------------------------------------------------------------------------- asking


class Api:
    def __init__(self, url, auth, region):
        url = urllib.parse.urlsplit(url)
        if url.scheme not in ("http", "https") or not url.hostname or url.query:
            raise Fatal("--url: expected https://HOST, as the stack's output ApiUrl has it")
        if url.scheme == "http" and url.hostname not in ("127.0.0.1", "localhost", "::1"):
            raise Fatal("--url: keys are only sent over https")
        self.base = url.path.rstrip("/").removesuffix(COLLECTION) + COLLECTION
        self.origin = f"{url.scheme}://{url.netloc}"
        kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        self.connection = kind(url.hostname, url.port, timeout=30)
        self.sign = {"sigv4": self.sigv4, "bearer": self.bearer, "none": lambda: lambda *_: {}}[auth]()
        found = re.search(r"\.execute-api\.([a-z0-9-]+)\.", url.hostname)
        self.region = region or (found and found[1]) or os.environ.get("AWS_REGION")
        if auth == "sigv4" and not self.region:
            raise Fatal("--region: needed to sign, as the URL names none")

    def sigv4(self):
        try:
            import botocore.auth
            import botocore.awsrequest
            import botocore.session
        except ImportError:
            raise Fatal("botocore signs the requests: pip install botocore, or see --auth") from None
        credentials = botocore.session.Session().get_credentials()
        if credentials is None:
            raise Fatal("no AWS credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")

        def sign(method, path, body):
            request = botocore.awsrequest.AWSRequest(method, self.origin + path, data=body)
            frozen = credentials.get_frozen_credentials()
            botocore.auth.SigV4Auth(frozen, "execute-api", self.region).add_auth(request)
            return dict(request.headers)

        return sign

    def bearer(self):
        token = os.environ.get("API_TOKEN")
        if not token:
            raise Fatal("API_TOKEN is not set")
        return lambda *_: {"Authorization": f"Bearer {token}"}

    def send(self, method, below, body, headers=None):
        """The status, and the answer as JSON; what may pass is tried again."""
        try:
            path, data = self.base + below, json.dumps(body, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise Refused("half of a character (a lone surrogate)") from None
        for attempt in range(1, ATTEMPTS + 1):
            try:
                sent = {"Content-Type": "application/json"} | (headers or {}) | self.sign(method, path, data)
                self.connection.request(method, path, data, sent)
                response = self.connection.getresponse()
                status, text = response.status, response.read().decode("utf-8", "replace")
            except (OSError, http.client.HTTPException) as error:
                self.connection.close()
                status, text = None, f"{self.origin}: {error or type(error).__name__}"
            if status is not None and status not in RETRIED:
                break
            if attempt == ATTEMPTS:
                raise Fatal(f"{text if status is None else f'{status} {text}'}, {ATTEMPTS} times")
            time.sleep(0.1 * 2**attempt)
        try:
            answer = json.loads(text)
        except ValueError:
            raise Fatal(f"{status}, and no JSON: is this the management API?") from None
        if status in (401, 403):
            raise Fatal(f"{status}: {reason(answer)}")
        return status, answer

    def check(self, config):
        """Whether the service would take a config; nothing is made."""
        status, answer = self.send("PUT", f"/{NOBODY}", {"config": config})
        if (status, answer) == (404, {"detail": "API key not found"}):
            return
        raise (Refused if status in (413, 422) else Fatal)(f"{status}: {reason(answer)}")

    def create(self, old, config):
        """The new key for an old one, the same again if asked again. The old key itself stays here."""
        header = "import-" + hashlib.sha256(f"gaia-api-keys import of {old}".encode()).hexdigest()
        status, answer = self.send("POST", "/", {"config": config}, {"Idempotency-Key": header})
        if status == 200 and isinstance(answer.get("api_key"), str):
            return answer["api_key"]
        raise (Refused if status in (409, 413, 422) else Fatal)(f"{status}: {reason(answer)}")


def reason(answer):
    """What an error says, without the values."""
    if not isinstance(answer, dict):
        return "an answer without a reason"
    detail = answer.get("detail", answer.get("message", ""))
    if isinstance(detail, list):
        return "; ".join(f"{'.'.join(str(step) for step in entry['loc'][1:])}: {entry['msg']}" for entry in detail)
    return str(detail)


# -------------------------------------------------------------------------------------------------------- running


class Progress:
    """A line that counts: in place on a terminal, every 100 keys elsewhere."""

    def __init__(self, total):
        self.total, self.done = total, 0
        self.terminal = sys.stderr.isatty()

    def step(self):
        self.done += 1
        if self.terminal:
            print(f"\r{self.done} of {self.total}", end="\n" if self.done == self.total else "", file=sys.stderr, flush=True)
        elif self.done % 100 == 0:
            print(f"{self.done} of {self.total}", file=sys.stderr, flush=True)

    def say(self, line):
        print(f"\r{line}" if self.terminal else line, file=sys.stderr, flush=True)


def run(arguments):
    rows = read(arguments.file)
    api = Api(arguments.url, arguments.auth, arguments.region)
    mapping = None if arguments.dry_run else Mapping(arguments.mapping)
    known = mapping.known if mapping else {}
    left = [row for row in rows if row[1] not in known]
    if len(left) < len(rows):
        print(f"{len(rows) - len(left)} of {len(rows)} are in {arguments.mapping} already", file=sys.stderr)
    progress, refused = Progress(len(left)), 0
    for place, old, config in left:
        try:
            if fault(config):
                raise Refused(fault(config))
            if not isinstance(config, dict):
                raise Refused("config is no object")
            if mapping:
                mapping.add(old, api.create(old, config))
            else:
                api.check(config)
        except Refused as error:
            refused += 1
            progress.say(f"{place}: {error}")
        progress.step()
    done = "can be imported" if arguments.dry_run else "imported"
    print(f"{len(left) - refused} {done}, {refused} refused", file=sys.stderr)
    return 1 if refused else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("--url", required=True, help="the stack's output ApiUrl")
    parser.add_argument("--mapping", metavar="MAPPING", help="where old,new is written; needed without --dry-run")
    parser.add_argument("--dry-run", action="store_true", help="let the service check each config, and make nothing")
    parser.add_argument("--auth", choices=["sigv4", "bearer", "none"], default="sigv4")
    parser.add_argument("--region", help="of the signature; else the URL's, else AWS_REGION")
    arguments = parser.parse_args()
    if not arguments.dry_run and not arguments.mapping:
        parser.error("--mapping is needed, or --dry-run")
    try:
        return run(arguments)
    except Fatal as error:
        print(f"import-keys: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nimport-keys: interrupted; the same command goes on from here", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
