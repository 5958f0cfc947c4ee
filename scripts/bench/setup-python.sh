#!/bin/sh
# Installs TRL, PEFT and transformers into .bench/env, a private Python environment; what is there
# is kept.
set -eu
cd "$(dirname "$0")/../.."
mkdir -p .bench
if [ ! -x .bench/env/bin/python ]; then
    python3 -m venv .bench/env
fi
if ! cmp -s scripts/bench/requirements.txt .bench/requirements.txt; then
    .bench/env/bin/pip install -q -r scripts/bench/requirements.txt
    cp scripts/bench/requirements.txt .bench/requirements.txt
fi
