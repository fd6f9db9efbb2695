#!/bin/sh
# Makes the environment of the Python function that `cargo bench --bench lambda` compares with: benches/peers/.venv.
set -eu
cd "$(dirname "$0")"
python3 -m venv .venv
.venv/bin/pip install --quiet --disable-pip-version-check --requirement requirements.txt
