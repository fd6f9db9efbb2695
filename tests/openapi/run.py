"""schemathesis against the local service: python tests/openapi/run.py [options of `st run`]"""

import os
import pathlib
import subprocess
import sys
import tempfile

from service import DOCUMENT, Service

HERE = pathlib.Path(__file__).resolve().parent
SCHEMATHESIS = pathlib.Path(sys.executable).with_name("st")


def main():
    environment = dict(os.environ, SCHEMATHESIS_HOOKS="hooks", PYTHONPATH=str(HERE), PYTHONDONTWRITEBYTECODE="1")
    with Service() as service, tempfile.TemporaryDirectory() as folder:
        command = [SCHEMATHESIS, "--config-file", HERE / "schemathesis.toml", "run", DOCUMENT]
        command += ["--url", f"http://{service.address}"]
        command += ["--seed", "1", "--max-time", "60", "--generation-database", "none", "--continue-on-failure"]
        return subprocess.run([*command, *sys.argv[1:]], env=environment, cwd=folder).returncode


if __name__ == "__main__":
    sys.exit(main())
