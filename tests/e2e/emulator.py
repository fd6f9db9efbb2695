"""An emulator of AWS as a process: MiniStack, which checks signatures and evaluates IAM policies."""

import atexit
import functools
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import boto3
from botocore.config import Config

ROOT = pathlib.Path(__file__).resolve().parents[2]
LOGS = ROOT / "target/e2e/logs"
ACCOUNT, REGION = "111122223333", "eu-central-1"
ADMINISTRATOR = ("administrator", "a-secret-of-the-tests")  # the account's root user


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Emulator:
    """`with Emulator("name") as emulator:` starts one on a free port, and stops it with the functions that it runs.

    Its log is target/e2e/logs/<name>.log. `variables` are settings of MiniStack, and reach the functions too.
    """

    def __init__(self, name, **variables):
        self.name, self.variables = name, variables

    def __enter__(self):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environment = clean | {
            "AUTH": "true",
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self.port),
            "MINISTACK_ACCOUNT_ID": ACCOUNT,
            "MINISTACK_REGION": REGION,
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "AWS_ACCESS_KEY_ID": ADMINISTRATOR[0],
            "AWS_SECRET_ACCESS_KEY": ADMINISTRATOR[1],
            "AWS_ENDPOINT_URL": self.url,  # for the functions
        } | self.variables
        LOGS.mkdir(parents=True, exist_ok=True)
        self.log = open(LOGS / f"{self.name}.log", "w")
        command = [sys.executable, "-B", ROOT / "tests/e2e/completed.py"]
        # A session of its own, so that the functions' processes can be stopped with it.
        self.process = subprocess.Popen(command, env=environment, stdout=self.log, stderr=self.log, start_new_session=True)
        try:
            self.wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def wait(self):
        for _ in range(240):
            if self.process.poll() is not None:  # another process may have taken the port
                break
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=5):
                    return
            except OSError:
                time.sleep(0.25)
        raise SystemExit(f"the emulator did not start; see {self.log.name}")

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.log.close()

    @functools.cache
    def client(self, service, access_key=ADMINISTRATOR[0], secret_key=ADMINISTRATOR[1], token=None):
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            aws_session_token=token,
            config=Config(retries={"total_max_attempts": 1}, read_timeout=120),
        )


@functools.cache
def shared():
    """The emulator that all test files share; it stops when the tests end."""
    emulator = Emulator(os.environ.get("TEST_EMULATOR", "emulator")).__enter__()
    atexit.register(emulator.__exit__)
    return emulator
