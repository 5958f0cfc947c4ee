#!/usr/bin/env bash
# 50 steps of RLOO on real models for each choice of adapter and learning rate: does the policy
# move, and does the reward (ROUGE-L against the row's answer) rise? Continues where it stopped.
#   scripts/adapter-defaults.sh [MODEL…]    default: smollm2 qwen
# Variables: OUT=runs/adapter-defaults; BIN; STEPS=50; WICK_REAL_DATA.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${BIN:-target/release}
out=${OUT:-runs/adapter-defaults}
data=${WICK_REAL_DATA:-data/real}
[ $# -gt 0 ] || set -- smollm2 qwen
declare -A file=(
    [smollm2]=.models/smollm2-135m-instruct.gguf
    [qwen]=.models/qwen2.5-coder-0.5b-instruct.gguf
)
mkdir -p "$out"
cat >"$out/config.toml" <<TOML
[data]
path = "$data/alpaca_gpt4.json"
max_rows = 240
held_out = 0.2
max_prompt_len = 64
[algorithm]
name = "rloo"
samples = 4
[[rewards]]
kind = "rouge_l"
[rollout]
prompts = 4
max_new_tokens = 16
max_rows = 16
[train]
steps = ${STEPS:-50}
micro_batch_tokens = 1024
eval_every = 25
eval_prompts = 24
save_every = 25
seed = 1
[train.policy]
schedule = "linear"
TOML
for model in "$@"; do
    for choice in 'q_v 1e-5 ["q_proj","v_proj"]' 'all 1e-4 "all-linear"' 'all 3e-4 "all-linear"'; do
        read -r name lr targets <<<"$choice"
        run=$out/$model-$name-$lr
        grep -qs '"status": "finished"' "$run/run.json" && continue
        resume=()
        [ ! -d "$run" ] || resume=(--resume)
        "$bin/wick" rlhf --config "$out/config.toml" --run "$run" "${resume[@]}" \
            --set "model.policy=${file[$model]}" --set "lora.targets=$targets" \
            --set "train.policy.lr=$lr" >"$run.log" 2>&1 || {
            echo "$run failed: $(tail -n 1 "$run.log")" >&2
            exit 1
        }
        echo "$model $name $lr: $(tail -n 20 "$run.log" | grep -iE 'reward|KL' | tail -n 2 | xargs)"
    done
done
