#!/usr/bin/env bash
# The error of `plan` on SmolLM2-135M: a table of planned and measured peak memory and disk.
# Takes 15 minutes on 2 cores.
#   scripts/plan-error.sh [DIR]    DIR: directory of the runs, created anew (runs/plan-error)
# Needs `make build`, and what `make bench` sets up (.bench/model, .bench/rows).
set -euo pipefail
cd "$(dirname "$0")/.."

dir=${1:-runs/plan-error}
rm -rf "$dir" && mkdir -p "$dir"
all='lora.targets=["q_proj","k_proj","v_proj","o_proj","gate_proj","up_proj","down_proj"]'

# number KEY: the first value of KEY in the JSON on stdin
number() { sed -n "s/^ *\"$1\": \([0-9.]*\),*$/\1/p" | head -1; }

# row NAME BINARY CONFIG SET...
row() {
    local name=$1 binary=target/release/$2 config=$3 sets=() plan run=$dir/$1
    shift 3
    for set in "$@"; do sets+=(--set "$set"); done
    plan=$("$binary" plan --config "$config" --run "$run" --json "${sets[@]}" 2> "$dir/$name.log")
    "$binary" --config "$config" --run "$run" "${sets[@]}" >> "$dir/$name.log" 2>&1
    local planned peak disk on_disk tokens layers
    planned=$(number estimate_gb <<< "$plan")
    tokens=$(number largest_forward_tokens <<< "$plan")
    layers=$(number checkpointed_blocks <<< "$plan")
    disk=$(number run_bytes <<< "$plan")
    peak=$(number peak_memory_bytes < "$run/run.json")
    # a checkpoint holds the results as links
    on_disk=$(find "$run" -type f -printf '%i %s\n' | sort -u |
        awk '{ sum += $2 } END { print sum }')
    awk -v n="$name" -v t="$tokens" -v l="$layers" -v s="$planned" -v p="$peak" -v d="$disk" \
        -v o="$on_disk" 'BEGIN {
        printf "| %s | %d | %d | %.2f | %.2f | %.3f | %.1f : %.1f |\n", n, t, l, s, p / 1e9, s * 1e9 / p, d / 1e6, o / 1e6 }'
}

echo "| run | tokens of the largest forward | layers checkpointed | plan, GB | peak, GB | plan / peak | disk, MB, plan : run |"
echo "|---|---|---|---|---|---|---|"
sft=configs/bench/sft.toml rm=configs/bench/rm.toml
for tokens in 256 512 1024 2048; do
    row sft-$tokens sft $sft train.max_steps=2 train.micro_batch_tokens=$tokens
done
row sft-half sft $sft train.max_steps=2 train.micro_batch_tokens=2048 train.checkpoint_blocks=15
row sft-all sft $sft train.max_steps=2 train.micro_batch_tokens=2048 train.checkpoint_blocks=30
row sft-seven-dropout sft $sft train.max_steps=2 train.micro_batch_tokens=1024 "$all" lora.dropout=0.1
row sft-full sft $sft train.max_steps=2 train.micro_batch_tokens=512 method=full
for tokens in 512 1024 4096; do
    row rm-$tokens reward-model $rm train.max_steps=2 train.micro_batch_tokens=$tokens
done
row rm-all reward-model $rm train.max_steps=2 train.micro_batch_tokens=4096 train.checkpoint_blocks=30
for algorithm in ppo esrl; do
    rl=(esrl-rlhf configs/bench/$algorithm.toml train.steps=2 "model.reward=$dir/rm-512")
    for tokens in 512 1024 2048; do
        row $algorithm-$tokens "${rl[@]}" train.micro_batch_tokens=$tokens
    done
    row $algorithm-all "${rl[@]}" train.micro_batch_tokens=1024 train.checkpoint_blocks=30
done
row ppo-sampling esrl-rlhf configs/bench/ppo.toml train.steps=1 "model.reward=$dir/rm-512" rollout.max_new_tokens=128 rollout.temperature=1.5 \
    train.micro_batch_tokens=256 train.checkpoint_blocks=30
# as shipped, except for the number of steps
real=configs/smollm2-135m
row shipped-sft sft $real/sft.toml train.max_steps=3
row shipped-rm reward-model $real/rm.toml train.max_steps=3 "model.source=$dir/shipped-sft"
for algorithm in ppo esrl; do
    row shipped-$algorithm esrl-rlhf $real/$algorithm.toml train.steps=2 "model.policy=$dir/shipped-sft" "model.reward=$dir/shipped-rm"
done
