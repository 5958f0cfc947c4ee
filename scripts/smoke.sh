#!/usr/bin/env bash
# A real model through every stage, a few steps each: sft, rm, ppo, esrl, answers, score, merge,
# compare. MODEL: smollm2 (SmolLM2-135M, the default) or qwen (Qwen2.5-Coder-0.5B: 7 minutes of
# CPU time, 3 GB). Data: WICK_REAL_DATA or data/real if they exist, else the tiny
# world's (the same formats).
set -euo pipefail
cd "$(dirname "$0")/.."
bin=target/release
case ${MODEL:-smollm2} in
smollm2) c=configs/smollm2-135m out=runs/smoke steps=2 rl_steps=1 fetch=fetch-smollm2 ;;
qwen) c=configs/qwen2.5-0.5b out=runs/smoke-qwen steps=5 rl_steps=4 fetch=fetch-qwen ;;
*)
    echo "smoke: MODEL=$MODEL is not known; smollm2 and qwen are" >&2
    exit 2
    ;;
esac
model=$(sed -n 's/^source = "\(\.models[^"]*\)".*/\1/p' $c/sft.toml)
if [ -n "$model" ] && [ ! -e "$model" ]; then
    echo "smoke: $model is not there; run make $fetch first" >&2
    exit 2
fi
data=${WICK_REAL_DATA:-data/real}
demos=$data/alpaca_gpt4.json pairs=$data/comparison_gpt4.json questions=$data/vicuna_question_80.jsonl
if [ ! -e "$demos" ]; then
    echo "smoke: no real data at $data; using the tiny world's rows" >&2
    demos=data/tiny/demonstrations.json pairs=data/tiny/comparisons.json questions=data/tiny/questions.jsonl
fi
rm -rf $out && mkdir -p $out
head -3 "$questions" > $out/questions.jsonl
few=(--set train.max_steps=$steps --set train.eval_every=$steps --set train.batch_size=4
    --set train.micro_batch_tokens=1024)
rl=(--set train.steps=$rl_steps --set rollout.prompts=2 --set rollout.max_new_tokens=12 --set train.eval_prompts=2
    --set data.max_rows=40 --set model.policy=$out/sft --set model.reward=$out/rm --set data.path="$demos")
$bin/wick sft --config $c/sft.toml --run $out/sft "${few[@]}" --set data.path="$demos" \
    --set data.max_rows=40 --set data.max_len=192 --set samples.max_new_tokens=12
$bin/wick rm --config $c/rm.toml --run $out/rm "${few[@]}" --set model.source=$out/sft \
    --set data.path="$pairs" \
    --set data.max_rows=60 --set data.held_out=0.2 --set data.max_eval_rows=6 --set data.max_len=192 \
    --set reward.normalisation_samples=4 --set reward.normalisation_max_new_tokens=12
$bin/wick rlhf --config $c/ppo.toml --run $out/ppo "${rl[@]}"
$bin/wick rlhf --config $c/esrl.toml --run $out/esrl "${rl[@]}"
short=(--questions $out/questions.jsonl --greedy --max-new-tokens 16)
$bin/wick answers --run $out/esrl "${short[@]}" --out $out/answers.jsonl
$bin/wick score --run $out/rm --data "$pairs" --max-rows 8
$bin/wick score --run $out/sft --data "$demos" --max-rows 8
$bin/wick merge --run $out/esrl --out $out/merged
$bin/wick answers --run $out/merged "${short[@]}" --out $out/answers-merged.jsonl
$bin/wick compare --runs $out/sft $out/ppo $out/esrl --n 2 --max-new-tokens 12 \
    --out $out/compare
