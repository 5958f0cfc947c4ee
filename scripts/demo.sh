#!/usr/bin/env bash
# The whole pipeline on the tiny world: sft, reward model, PPO, ESRL, answers, comparison.
# `--short`: a few steps per stage.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=target/release
out=runs/demo
# The model is so small that a second thread gains little, and costs much on a busy machine.
export RAYON_NUM_THREADS=${RAYON_NUM_THREADS:-1}
short=()
rl=()
if [ "${1:-}" = --short ]; then
    out=runs/demo-short
    short=(--set train.max_steps=6 --set train.eval_every=6)
    rl=(--set train.steps=2 --set rollout.prompts=4)
fi
rm -rf "$out"
step() { printf '\n== %s\n' "$1" >&2; }

step "1/6 sft: fine-tune the tiny base on demonstrations of mixed quality"
$bin/wick sft --config configs/tiny/sft.toml --run $out/sft "${short[@]}"
step "2/6 reward-model: learn which answers are preferred"
$bin/wick rm --config configs/tiny/rm.toml --run $out/rm --set model.source=$out/sft "${short[@]}"
from=(--set model.policy=$out/sft --set model.reward=$out/rm)
step "3/6 esrl-rlhf: PPO"
$bin/wick rlhf --config configs/tiny/ppo.toml --run $out/ppo "${from[@]}" "${rl[@]}"
step "4/6 esrl-rlhf: ESRL"
$bin/wick rlhf --config configs/tiny/esrl.toml --run $out/esrl "${from[@]}" "${rl[@]}"
step "5/6 answers to the 80 questions"
for run in sft ppo esrl; do
    $bin/wick answers --run $out/$run --questions data/tiny/questions.jsonl \
        --out $out/answers-$run.jsonl
done
step "6/6 comparison"
$bin/wick compare --runs $out/sft $out/ppo $out/esrl --out $out/compare
printf '\nAnswers: %s/answers-*.jsonl   Curves: tensorboard --logdir %s   Samples: %s/*/samples\n' \
    $out $out $out
