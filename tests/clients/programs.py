"""The programs of examples/clients as processes, with what they need."""

import functools
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "docs"))
from local import ROOT, environment  # the service as a process, and a gateway before it; tests/docs has them

PROGRAMS = ROOT / "examples/clients"
FOLDER = ROOT / "target/clients"


@functools.cache
def built():
    """The folder with the programs in Rust."""
    command = ["cargo", "build", "--quiet", "--locked", "--target-dir", str(FOLDER)]
    done = subprocess.run(command, cwd=PROGRAMS / "rust", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return FOLDER / "debug"


@functools.cache
def node():
    """A folder with manage.mjs and what package.json asks for."""
    folder = FOLDER / "node"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "manage.mjs"):
        shutil.copy(PROGRAMS / name, folder)
    command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error", "--prefer-offline"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
    return folder


@functools.cache
def generated():
    """A folder with what openapi-python-client makes of openapi.yaml, without a warning, by the command of the program."""
    folder = FOLDER / "generated"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "openapi.yaml", folder)
    for name in ("manage_generated.py", "sigv4.py"):
        shutil.copy(PROGRAMS / name, folder)
    generate = re.search(r"^openapi-python-client .*", (folder / "manage_generated.py").read_text(), flags=re.MULTILINE)[0]
    path = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
    command = f"{generate} --fail-on-warning"
    subprocess.run(command, shell=True, cwd=folder, env=os.environ | {"PATH": path}, check=True, capture_output=True)
    return folder


def python(name):
    return [sys.executable, "-B", str(PROGRAMS / name)]


MANAGE = {
    "curl": lambda: ["bash", str(PROGRAMS / "manage.sh")],
    "requests": lambda: python("manage_requests.py"),
    "boto3": lambda: python("manage_boto3.py"),
    "generated": lambda: [sys.executable, "-B", str(generated() / "manage_generated.py")],
    "JavaScript": lambda: ["node", str(node() / "manage.mjs")],
    "Rust": lambda: [str(built() / "manage")],
}


class Service:
    """`with Service(command, gateway, pattern) as service:` starts a service that checks keys, on a free port.

    `pattern` finds its address in what it prints. `printed()` is what it logged.
    """

    def __init__(self, command, gateway, log):
        self.command, self.gateway, self.log = command, gateway, log

    def __enter__(self):
        env = environment(self.gateway.address)
        with self.log.open("w") as log:
            self.process = subprocess.Popen(self.command, cwd=PROGRAMS, env=env, stdout=log, stderr=log)
        for _ in range(200):
            found = re.search(r"http://(127\.0\.0\.1:[1-9][0-9]*)", self.printed())
            if found:
                self.address = found[1]
                return self
            time.sleep(0.05)
        self.__exit__()
        raise AssertionError(self.printed())

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def printed(self):
        return self.log.read_text()


VERIFY = {
    "FastAPI": lambda: [sys.executable, "-B", "-m", "uvicorn", "--port", "0", "fastapi_verify:app"],
    "axum": lambda: [str(built() / "axum_verify"), "127.0.0.1:0"],
}
