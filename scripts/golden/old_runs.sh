#!/usr/bin/env bash
# Makes tests/fixtures/runs-0c171de: small runs of sft, reward-model and PPO by commit 0c171de.
# tests/old_runs.rs checks that today's code opens, replays and resumes them.
#   OLD=../old scripts/golden/old_runs.sh
# OLD is a checkout of that commit with its binaries built (`cargo build --release --bins`).
# Each stage runs once to its end (4 steps) and once until it is killed after its checkpoint of
# step 2. The files stay as that version wrote them; TensorBoard events are removed.
set -euo pipefail
cd "$(dirname "$0")/../.."
old=$(cd "${OLD:?set OLD to a checkout of commit 0c171de with its binaries built}" && pwd)
bin=$old/target/release
fixture=$PWD/tests/fixtures/runs-0c171de
export RAYON_NUM_THREADS=1 WICK_SIMD=avx2

# Paths in a run are relative to the current directory, here one that looks like a clone.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
ln -s "$old/data" data
ln -s "$old/configs" configs

# both STAGE NAME FLAGS...: the whole run in runs/NAME, the killed one in runs/NAME-killed
both() {
    local stage=$1 killed=runs/$2-killed pid
    "$bin/$stage" --run "runs/$2" "${@:3}" 2>/dev/null
    "$bin/$stage" --run "$killed" "${@:3}" 2>/dev/null &
    pid=$!
    until [ -e "$killed/checkpoints/step-000002" ]; do sleep 0.01; done
    kill -KILL "$pid"
    wait "$pid" || true
    if [ -e "$killed/checkpoints/step-000004" ]; then
        echo "old_runs: $stage ended before it was killed; run this script again" >&2
        exit 1
    fi
    rm -rf "runs/$2/checkpoints"
}

every=(--set lora.r=1 --set lora.alpha=2 --set train.seed=1 --set train.sample_every=2
    --set train.eval_every=2 --set train.save_every=2)
fit=(--set 'lora.targets=["q_proj","v_proj"]' --set train.max_steps=4 --set train.log_every=1
    --set data.max_rows=200 --set data.held_out=0.1)
both sft sft --config configs/tiny/sft.toml "${every[@]}" "${fit[@]}" \
    --set samples.n=2 --set samples.max_new_tokens=8
both reward-model rm --config configs/tiny/rm.toml "${every[@]}" "${fit[@]}" --set data.max_eval_rows=20 \
    --set reward.normalisation_samples=4 --set reward.normalisation_max_new_tokens=8
both esrl-rlhf ppo --config configs/tiny/ppo.toml "${every[@]}" --set train.steps=4 \
    --set rollout.prompts=16 --set rollout.max_new_tokens=24 --set train.eval_prompts=4

rm -rf runs/*/events.out.*
rm -rf "$fixture"
mkdir -p "$fixture"
cp -r runs/* "$fixture/"
du -sk "$fixture"
