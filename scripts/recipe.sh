#!/usr/bin/env bash
# A task of the tiny world with a text metric as the reward: sft, then ESRL, REINFORCE and MRT from
# it, then the held-out metric at the start and end of each run.
# recipe.sh translation|summaries [CONFIG_NAME ...]
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${BIN:-target/release}
task=${1:-translation}
shift || true
world=tiny-$task
out=runs/$world
export RAYON_NUM_THREADS=${RAYON_NUM_THREADS:-1}
[ -d "configs/$world" ] || {
    echo "recipe.sh: no configs/$world; the tasks are translation and summaries" >&2
    exit 2
}
rm -rf "$out"
"$bin/wick" sft --config "configs/$world/sft.toml" --run "$out/sft"
for method in "${@:-esrl reinforce mrt}"; do
    for name in $method; do
        "$bin/wick" rlhf --config "configs/$world/$name.toml" --run "$out/$name"
    done
done
printf '\nHeld-out metric, start and end of each run:\n'
for dir in "$out"/*/; do
    grep -o '"eval/reward":[-0-9.e]*' "$dir/metrics.jsonl" 2>/dev/null | sed -n "1p;\$p" |
        cut -d: -f2 | paste -sd' ' |
        sed "s#^#$(basename "$dir"): #" || true
done
