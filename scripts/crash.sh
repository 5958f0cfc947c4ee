#!/usr/bin/env bash
# Kills runs of each stage on the tiny world KILLS times (default 50) at random moments, resumes
# them, and compares every byte with an uninterrupted run (--verify-resume). RUNS: a directory with
# finished sft/ and rm/ runs; without it they are trained first.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${BIN:-target/release}
kills=${KILLS:-50}
export RAYON_NUM_THREADS=${RAYON_NUM_THREADS:-1}
from=${RUNS:-}
if [ -z "$from" ]; then
    from=$(mktemp -d)
    trap 'rm -rf "$from"' EXIT
    "$bin/wick" sft --config configs/tiny/sft.toml --run "$from/sft" 2>/dev/null
    "$bin/wick" rm --config configs/tiny/rm.toml --set "model.source=$from/sft" \
        --run "$from/rm" 2>/dev/null
fi
often=(--set train.save_every=1 --set train.eval_every=3 --set train.sample_every=2)
# check NAME STAGE CONFIG SETS…
check() {
    local name=$1 stage=$2 config=$3
    shift 3
    local sets=()
    for set in "$@"; do sets+=(--set "$set"); done
    printf '%-13s' "$name"
    "$bin/wick" "$stage" --config "configs/tiny/$config.toml" "${often[@]}" "${sets[@]}" \
        --verify-resume "$kills" 2>/dev/null ||
        { echo "FAILED; run it without 2>/dev/null to see where" >&2; exit 1; }
}
rl=(model.policy="$from/sft" model.reward="$from/rm" train.eval_prompts=8)
check sft sft sft train.max_steps=15 data.max_rows=300 samples.n=2
check reward-model rm rm model.source="$from/sft" train.max_steps=15 data.max_rows=300
check esrl rlhf esrl "${rl[@]}" train.steps=8 rollout.prompts=8
check ppo rlhf ppo "${rl[@]}" train.steps=8 rollout.prompts=8
check rest rlhf rest "${rl[@]}" train.steps=8 rollout.prompts=8 data.max_rows=60
