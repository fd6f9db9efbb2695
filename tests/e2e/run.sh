#!/usr/bin/env bash
# The stacks on an emulator of AWS: bash tests/e2e/run.sh [test_keys ...]. Installs what it needs into target/e2e.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=$(bash .ci/tools tests/e2e)/python

cd tests/e2e
if [ $# = 0 ]; then
  set -- discover
fi
export PYTHONPATH=../aws:../cdk:../cli:../docs:../template:../../.ci
exec "$python" -B -m unittest "$@"
