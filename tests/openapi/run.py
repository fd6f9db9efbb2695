"""schemathesis against the local service: python tests/openapi/run.py [options of `st run`]"""

import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "docs"))

from local import ROOT, Local

environment = dict(os.environ, SCHEMATHESIS_HOOKS="hooks", PYTHONPATH=str(HERE), PYTHONDONTWRITEBYTECODE="1")
with Local() as service, tempfile.TemporaryDirectory() as folder:
    command = [pathlib.Path(sys.executable).with_name("st"), "--config-file", HERE / "schemathesis.toml", "run"]
    command += [ROOT / "openapi.yaml", "--url", f"http://{service.address}", "--seed", "1", "--max-time", "30"]
    command += ["--generation-database", "none", "--continue-on-failure", *sys.argv[1:]]
    sys.exit(subprocess.run(command, env=environment, cwd=folder).returncode)
