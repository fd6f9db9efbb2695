#!/usr/bin/env bash
# The stacks on an emulator of AWS: bash tests/e2e/run.sh [test_keys ...]. Installs what it needs into target/e2e.
set -euo pipefail
cd "$(dirname "$0")/../.."

requirements=(tests/e2e/requirements.txt tests/cli/requirements.txt)
if ! cat "${requirements[@]}" cli/pyproject.toml | cmp -s - target/e2e/installed; then
  python3 -m venv --clear target/e2e
  target/e2e/bin/pip install --quiet "${requirements[@]/#/--requirement=}" --editable ./cli
  cat "${requirements[@]}" cli/pyproject.toml >target/e2e/installed
fi

cd tests/e2e
if [ $# = 0 ]; then
  exec ../../target/e2e/bin/python -B -m unittest discover
fi
exec ../../target/e2e/bin/python -B -m unittest "$@"
