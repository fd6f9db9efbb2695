"""The programs of examples/clients as processes, with what they need."""

import functools
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

from local import ROOT, environment  # the service as a process, and a gateway before it; tests/docs has them

PROGRAMS = ROOT / "examples/clients"
FOLDER = ROOT / "target/clients"
PYTHON = [sys.executable, "-B"]


def copied(name, *files):
    """A new folder with these programs."""
    folder = FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copy(PROGRAMS / file, folder)
    return folder


def built(name):
    """A program in Rust. Cargo waits for a build that runs already, and has nothing to do after it."""
    command = ["cargo", "build", "--quiet", "--locked", "--target-dir", str(FOLDER)]
    done = subprocess.run(command, cwd=PROGRAMS / "rust", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return str(FOLDER / "debug" / name)


def node():
    """manage.mjs, beside what package.json asks for."""
    folder = copied("node", "package.json", "manage.mjs")
    command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error", "--prefer-offline"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
    return str(folder / "manage.mjs")


def generated():
    """manage_generated.py beside what openapi-python-client makes of openapi.yaml, without a warning, by the program's command."""
    folder = copied("generated", "manage_generated.py", "sigv4.py", "../../openapi.yaml")
    generate = re.search(r"^openapi-python-client .*", (folder / "manage_generated.py").read_text(), flags=re.MULTILINE)[0]
    env = os.environ | {"PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = f"{generate} --fail-on-warning --overwrite"
    subprocess.run(command, shell=True, cwd=folder, env=env, check=True, capture_output=True)
    return str(folder / "manage_generated.py")


MANAGE = {
    "curl": lambda: ["bash", str(PROGRAMS / "manage.sh")],
    "requests": lambda: [*PYTHON, str(PROGRAMS / "manage_requests.py")],
    "boto3": lambda: [*PYTHON, str(PROGRAMS / "manage_boto3.py")],
    "generated": lambda: [*PYTHON, generated()],
    "JavaScript": lambda: ["node", node()],
    "Rust": lambda: [built("manage")],
}
VERIFY = {
    "FastAPI": lambda: [*PYTHON, "-m", "uvicorn", "--port", "0", "fastapi_verify:app"],
    "axum": lambda: [built("axum_verify"), "127.0.0.1:0"],
}


@functools.cache
def command(name):
    return (MANAGE | VERIFY)[name]()


class Service:
    """`with Service(command, gateway, log) as service:` starts a service that checks keys, on a free port."""

    def __init__(self, command, gateway, log):
        self.gateway, self.log = gateway, log
        with log.open("w") as file:
            env = environment(gateway.address)
            self.process = subprocess.Popen(command, cwd=PROGRAMS, env=env, stdout=file, stderr=file)

    def __enter__(self):
        for _ in range(200):
            if found := re.search(r"http://(127\.0\.0\.1:[1-9][0-9]*)", self.log.read_text()):
                self.address = found[1]
                return self
            time.sleep(0.05)
        self.__exit__()
        raise AssertionError(self.log.read_text())

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
