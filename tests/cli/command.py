"""The command gaia-keys against the local service: in this process, as most of a process's time is its start, or as one."""

import atexit
import contextlib
import csv
import datetime
import functools
import gc
import io
import json
import os
import pathlib
import re
import resource
import signal
import subprocess
import sys
import tempfile
import unittest
import warnings
from unittest import mock

from gaia_keys.main import main
from local import Gateway, Local, environment  # the service as a process; tests/docs has it

# A shell's background job ignores Ctrl-C, and what it starts does too; the commands of these tests must not.
signal.signal(signal.SIGINT, signal.default_int_handler)

COMMAND = pathlib.Path(sys.executable).parent / "gaia-keys"
SAMPLE = "gaia_01ARZ3NDEKTSV4RRFFQ69G5FAV"
KEY = f"{SAMPLE}_7ZZZZZZZZZZZZZZZZZZZZZZZZZ"


def settings(address, auth="none", **more):
    """The environment of a command."""
    env = environment(address, GAIA_KEYS_URL=f"http://{address}", GAIA_KEYS_AUTH=auth)
    env["PYTHONDONTWRITEBYTECODE"] = ""  # each start would compile all modules
    return env | {"PATH": f"{COMMAND.parent}:{env['PATH']}"} | more


def in_days(days):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)).isoformat()


@functools.lru_cache(None)
def service(**variables):
    """One process of the service for all tests with the same settings, its table, and what is in that at first."""
    local = Local(**variables).__enter__()
    atexit.register(local.__exit__)
    table = local.table()
    return local, table, table.scan()["Items"]


class Scripted(Gateway):
    """A server that answers what a function says: from a method, a path, headers and a body, a status, headers and a body."""

    def __init__(self, answer):
        super().__init__(None, checks=False)
        self.answer = answer
        self.server.handle_error = lambda *_: None  # of a client that goes away

    def forward(self, local, *request):
        status, headers, content = self.answer(*request)
        return status, headers, content if isinstance(content, bytes) else json.dumps(content).encode()


class Commands(unittest.TestCase):
    """The command in an empty folder."""

    def setUp(self):
        warnings.simplefilter("ignore", ResourceWarning)  # a process ends with its files open
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.mapping = self.folder / "mapping.csv"
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.folder)
        self.where = {}

    def start(self, *arguments, room=None, stdout=subprocess.PIPE, text=True, **variables):
        """The running command. `room`: how many bytes a file may have, in place of a full disk."""
        env = settings(**(self.where | variables))
        limit = room and (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)))
        pipes = {"stdin": subprocess.PIPE, "stdout": stdout, "stderr": subprocess.PIPE}
        return subprocess.Popen([COMMAND, *map(str, arguments)], env=env, text=text, preexec_fn=limit, **pipes)

    def sleep(self, seconds):
        self.pauses.append(seconds)

    def run_command(self, *arguments, status=0, stdin="", terminal=False, **variables):
        """What it printed to standard output, and to standard error, which never holds a secret.

        `pauses` has the seconds that the command would have waited.
        """
        streams = [io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8") for text in (stdin, "", "")]
        for stream in streams:
            stream.isatty = lambda: terminal
        given, printed, told = streams
        self.pauses = []
        with contextlib.ExitStack() as stack:
            stack.enter_context(mock.patch.dict(os.environ, settings(**(self.where | variables)), clear=True))
            stack.enter_context(mock.patch("sys.argv", ["gaia-keys", *map(str, arguments)]))
            stack.enter_context(mock.patch("sys.stdin", given))
            stack.enter_context(mock.patch("time.sleep", self.sleep))
            stack.enter_context(contextlib.redirect_stdout(printed))
            stack.enter_context(contextlib.redirect_stderr(told))
            if "--mapping" in arguments:
                gc.collect()  # which one that ended or was killed keeps open no longer
            with self.assertRaises(SystemExit) as ended:
                main()
        printed, told = (stream.flush() or stream.buffer.getvalue().decode() for stream in (printed, told))
        self.assertIn(ended.exception.code, (0, 1, 2) if status is None else (status,), printed + told)
        self.assertNotIn("Traceback", told)
        shown = printed + told
        if terminal:  # colours and a bar are its own
            shown = re.sub(r"\r|\x1b\[[\d;?]*[A-Za-z]", "", shown)
        self.assertNotRegex(shown, "[\x00-\x09\x0b-\x1f\x80-\x9f\u202e]")
        self.assertNotRegex(told, "gaia_[0-9A-Z]{26}_")
        return printed, told

    def error(self, *arguments, status=2, **where):
        """The one line of an error; nothing else is printed."""
        printed, told = self.run_command(*arguments, status=status, **where)
        self.assertEqual((printed, told.count("\n")), ("", 1), told)
        self.assertTrue(told.startswith("gaia-keys"), told)
        return told

    def json(self, *arguments, **where):
        return json.loads(self.run_command(*arguments, "--json", **where)[0])


class Case(Commands):
    """A service with the sample key alone."""

    variables = {}

    def setUp(self):
        super().setUp()
        self.local, self.table, first = service(**self.variables)
        with self.table.batch_writer(overwrite_by_pkeys=["service", "id"]) as batch:
            for item in self.scan():
                batch.delete_item(Key={"service": item["service"], "id": item["id"]})
            for item in first:
                batch.put_item(Item=item)
        self.where = {"address": self.local.address}
        self.before = set(self.local.list())

    def scan(self):
        pages = self.table.meta.client.get_paginator("scan").paginate(TableName=self.table.name)
        return [item for page in pages for item in page["Items"]]

    @contextlib.contextmanager
    def gateway(self, *faults, checks=True):
        """Commands reach the service through a Gateway, on which these faults befall the next requests."""
        with Gateway(self.local, checks=checks) as gateway:
            gateway.faults = list(faults)
            with mock.patch.object(self, "where", {"address": gateway.address, "auth": "sigv4" if checks else "none"}):
                yield gateway

    def made(self):
        """The configs of the keys that were not there at first, by key."""
        return {key: config for key, config in self.local.list().items() if key not in self.before}

    def config(self, key):
        return json.loads(self.table.get_item(Key={"service": "demo", "id": key[5:31]})["Item"]["config"])

    def mapped(self):
        """The new keys by the old ones, in the file `mapping`."""
        with open(self.mapping, newline="") as file:
            header, *rows = csv.reader(file)
        self.assertEqual((header, len(rows)), (["old", "new"], len(dict(rows))))
        return dict(rows)

    def store(self, key, attribute, value):
        """Sets an attribute of a key's item; the key's ID."""
        changed = {attribute: {"Value": value, "Action": "PUT"}}
        self.table.update_item(Key={"service": "demo", "id": key[5:31]}, AttributeUpdates=changed)
        return key[:31]

    def used(self, key, hours):
        """Records that a key was used so long ago; the time as the service has it."""
        time = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=hours)
        text = time.strftime("%Y-%m-%dT%H:00:00Z")
        self.table.put_item(Item={"service": "demo#use", "id": key[5:31], "last_used_at": text})
        return text

    def forget(self):
        """Makes the service forget its responses, as it does after 24 hours."""
        for item in self.scan():
            if item["service"] == "demo#idem":
                self.table.delete_item(Key={"service": item["service"], "id": item["id"]})
