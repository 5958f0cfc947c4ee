#!/usr/bin/env bash
# Trains the tiny world's base again, from random weights: tokenizer and text, about ten minutes on one core, bf16.
# One thread: the sums then have one order, and the bytes come out the same on the same processor.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=target/release
run=${1:-runs/tiny-base}
mkdir -p runs
$bin/tiny-world tokenizer --out data/tiny/base
$bin/tiny-world pretrain-text --out runs/pretrain.jsonl
RAYON_NUM_THREADS=1 $bin/sft --config configs/tiny/pretrain.toml --run "$run"
$bin/tiny-world round --from "$run/model/model.safetensors" --to data/tiny/base/model.safetensors
