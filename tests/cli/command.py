"""The installed command `gaia-keys` against the local service."""

import datetime
import http.server
import json
import pathlib
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "docs"))
from local import Local, environment  # the service as a process; tests/docs has it

# A shell's background job ignores Ctrl-C, and what it starts does too; the commands of these tests must not.
signal.signal(signal.SIGINT, signal.default_int_handler)

COMMAND = pathlib.Path(sys.executable).parent / "gaia-keys"
SECRET = r"gaia_[0-9A-Z]{26}_"
SAMPLE = "gaia_01ARZ3NDEKTSV4RRFFQ69G5FAV"
# Fields of which a program that reads and writes JSON would change something, as it comes to mind first.
ODD = (
    '"a":1.10,"b":1e400,"c":-0,"d":123456789012345678901234567890,"e":[1E-7,{"z":0.1234567890123456789,"y":1}],'
    '"f":"süd\\n\U0001f511"'
)


def settings(address, auth="none", **more):
    """The environment of a command."""
    env = environment(address)
    env.pop("PYTHONUNBUFFERED", None)
    return env | {"PATH": f"{COMMAND.parent}:{env['PATH']}", "GAIA_KEYS_URL": f"http://{address}", "GAIA_KEYS_AUTH": auth} | more


def normal(text):
    """A printed text with its IDs numbered, and all secrets and all times alike: none is the same twice."""
    ids = {}
    text = re.sub(r"(gaia_[0-9A-Z]{26})_[0-9A-Z]{26}", r"\1_SECRET", text)
    text = re.sub(r"gaia_[0-9A-Z]{26}", lambda found: ids.setdefault(found[0], f"ID-{len(ids)}"), text)
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z", "TIME", text)
    text = re.sub(r"\b\d{4}-\d\d-\d\d\b", "DATE", text)
    return re.sub(r" +$", "", text, flags=re.MULTILINE)


class Scripted:
    """A server that answers what a function says: from a method, a path, headers and a body, a status, headers and a body."""

    def __init__(self, answer):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # one packet, or the client waits for the second one

            def handle_any(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                status, headers, content = answer(self.command, self.path, self.headers, body)
                content = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in (headers | {"content-length": str(len(content))}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = do_CONNECT = handle_any

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=[0.05], daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class Commands(unittest.TestCase):
    """The command in an empty folder."""

    def setUp(self):
        if not COMMAND.exists():
            raise SystemExit(f"{COMMAND} is missing; make it with: pip install -e cli")
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def start(self, *arguments, address=None, auth="none", text=True, room=None, stdout=None, **variables):
        """The running command. `room`: how many bytes a file may have, in place of a full disk."""
        env = settings(address or self.local.address, auth, **variables)
        pipes = {name: subprocess.PIPE for name in ("stdin", "stdout", "stderr")} | ({"stdout": stdout} if stdout else {})
        limit = room and (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)))
        return subprocess.Popen([COMMAND, *map(str, arguments)], env=env, cwd=self.folder, text=text, preexec_fn=limit, **pipes)

    def run_command(self, *arguments, status=0, stdin="", **where):
        """What it printed to standard output, and to standard error, which never holds a secret."""
        process = self.start(*arguments, text=False, **where)
        stdin = stdin if isinstance(stdin, bytes) else stdin.encode()
        printed, told = (output.decode() for output in process.communicate(stdin, timeout=60))
        self.assertIn(process.returncode, (0, 1, 2) if status is None else (status,), printed + told)
        self.assertNotIn("Traceback", told)
        self.assertNotIn("\x1b", printed + told)
        self.assertNotRegex(told, SECRET)
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
    """A service with the sample key alone, and an empty folder."""

    variables = {}

    def setUp(self):
        super().setUp()
        self.local = self.enterContext(Local(**self.variables))
        self.before = set(self.local.list())

    def shell(self, script, local=None, **variables):
        """What a script prints to the terminal. Nobody can be asked there, so it rotates many keys with --yes."""
        script = script.replace("gaia-keys rotate --older-than", "gaia-keys rotate --yes --older-than")
        command = ["bash", "-euo", "pipefail", "-c", f"exec 2>&1\n{script}"]
        env = settings((local or self.local).address, **variables)
        done = subprocess.run(command, env=env, cwd=self.folder, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def made(self):
        """The configs of the keys that were not there at first, by key."""
        return {key: config for key, config in self.local.list().items() if key not in self.before}

    def items(self):
        """What the table holds: the texts of configs by id."""
        return {f"gaia_{item['id']}": item["config"] for item in self.local.table().scan()["Items"] if item["service"] == "demo"}

    def put(self, text):
        """A new key with exactly this text as its config; its ID."""
        return self.store(self.local.create({}), "config", text)

    def store(self, key, attribute, value):
        """Sets an attribute of a key's item; the key's ID."""
        self.local.table().update_item(
            Key={"service": "demo", "id": key[5:31]},
            UpdateExpression="SET #attribute = :value",
            ExpressionAttributeNames={"#attribute": attribute},
            ExpressionAttributeValues={":value": value},
        )
        return key[:31]

    def used(self, key, hours):
        """Records that a key was used so long ago; the time as the service has it."""
        time = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=hours)
        text = time.strftime("%Y-%m-%dT%H:00:00Z")
        self.local.table().put_item(Item={"service": "demo#use", "id": key[5:31], "last_used_at": text})
        return text
