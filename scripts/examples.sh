#!/usr/bin/env bash
# Runs the examples in order: the later ones use the adapter of the first.
set -euo pipefail
cd "$(dirname "$0")/.."
export RAYON_NUM_THREADS=${RAYON_NUM_THREADS:-1}
for name in train_an_adapter sample_from_it write_a_reward add_a_method; do
    printf '\n== %s\n' "$name"
    target/release/examples/$name
done
