#!/usr/bin/env bash
# Trains the tiny world's base model again: tokenizer, text, random weights, bf16; about five
# minutes on one core. It uses one thread, so that sums have one order. The weights are not byte for
# byte the shipped ones (docs/tiny-world.md).
set -euo pipefail
cd "$(dirname "$0")/.."
bin=target/release
run=${1:-runs/tiny-base}
mkdir -p runs
$bin/tiny-world tokenizer --out data/tiny/base
$bin/tiny-world pretrain-text --out runs/pretrain.jsonl
RAYON_NUM_THREADS=1 $bin/wick sft --config configs/tiny/pretrain.toml --run "$run"
$bin/tiny-world round --from "$run/model/model.safetensors" --to data/tiny/base/model.safetensors
