#!/usr/bin/env bash
# Kills runs of each stage on the tiny world KILLS times (default 50) at random moments, resumes them, and compares every byte with
# a run that was left alone (--verify-resume). RUNS: a directory with finished sft/ and rm/ runs; without it they are trained first.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${BIN:-target/release}
kills=${KILLS:-50}
export RAYON_NUM_THREADS=${RAYON_NUM_THREADS:-1}
from=${RUNS:-}
if [ -z "$from" ]; then
    from=$(mktemp -d)
    trap 'rm -rf "$from"' EXIT
    "$bin/sft" --config configs/tiny/sft.toml --run "$from/sft" 2>/dev/null
    "$bin/reward-model" --config configs/tiny/rm.toml --set "model.source=$from/sft" --run "$from/rm" 2>/dev/null
fi
often=(--set train.save_every=1 --set train.eval_every=3 --set train.sample_every=2)
# check NAME PROGRAM CONFIG SETS…
check() {
    local name=$1 program=$2 config=$3
    shift 3
    local sets=()
    for set in "$@"; do sets+=(--set "$set"); done
    printf '%-13s' "$name"
    "$bin/$program" --config "configs/tiny/$config.toml" "${often[@]}" "${sets[@]}" --verify-resume "$kills" 2>/dev/null ||
        { echo "FAILED; the same without 2>/dev/null says where" >&2; exit 1; }
}
rl=(model.policy="$from/sft" model.reward="$from/rm" train.eval_prompts=8)
check sft sft sft train.max_steps=15 data.max_rows=300 samples.n=2
check reward-model reward-model rm model.source="$from/sft" train.max_steps=15 data.max_rows=300
check esrl esrl-rlhf esrl "${rl[@]}" train.steps=8 rollout.prompts=8
check ppo esrl-rlhf ppo "${rl[@]}" train.steps=8 rollout.prompts=8
check rest esrl-rlhf rest "${rl[@]}" train.steps=8 rollout.prompts=8 data.max_rows=60
