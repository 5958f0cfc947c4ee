#!/usr/bin/env bash
# Checks that a change of the code changes no number: `make demo`, a short run of every method and
# the SmolLM2 smoke run, on one thread and one SIMD level, hashed file by file and compared with the
# hashes that were recorded last (their first line has the commit and the processor).
#   scripts/same-numbers.sh           compare; exits with 1 and names each file that differs
#   scripts/same-numbers.sh --short   compare the methods alone, from the demo's sft and rm runs
#   scripts/same-numbers.sh --record  write the hashes instead
#   scripts/same-numbers.sh --rehash  write those of the runs that are there
# Hashed: adapters, reward models, checkpoints (weights, optimiser, state.json), metrics.jsonl,
# config.toml, answers. Left out: what holds times (timings.jsonl, run.json, events, answers'
# tstamp) and the choice of rows that are shown (samples). The hashes hold for one processor family
# (libm, AVX2): record them again on another.
set -euo pipefail
cd "$(dirname "$0")/.."
export RAYON_NUM_THREADS=1 WICK_SIMD=avx2
bin=${BIN:-target/release}
hashes=${HASHES:-tests/golden/numbers.sha256}
mode=${1:-}

# the files of a run directory or folder whose bytes must not change
hash_of() {
    local dir=$1
    (cd "$dir" && find . -type f \( -path '*/adapter/*' -o -path '*/reward/*' -o -path '*/best/*' \
        -o -path '*/model/*' -o -path '*/checkpoints/*.safetensors' -o -name metrics.jsonl \
        -o -name config.toml -o -name 'pool-*.jsonl' -o -name heldout.json \
        -o -path '*/merged/*' \) -print0 | LC_ALL=C sort -z | xargs -0 sha256sum) |
        sed "s#  \./#  $dir/#"
    # state.json without the seconds that it carries
    find "$dir" -path '*/checkpoints/*' -name state.json | LC_ALL=C sort | while read -r state; do
        sum=$(grep -vE '"(secs|time/[a-z_]+)":' "$state" | sha256sum)
        echo "${sum%% *}  $state"
    done
    for answers in "$dir"/answers*.jsonl; do
        [ -e "$answers" ] || continue
        sum=$(sed -E 's/"tstamp": *[0-9.e+]+/"tstamp":0/; s/"answer_id": *"[^"]*"/"answer_id":""/' "$answers" | sha256sum)
        echo "${sum%% *}  $answers"
    done
}

failed() {
    echo "same-numbers: the run of $1 failed" >&2
    kill $$
}

methods() {
    local rl=(--set model.reward=runs/demo/rm --set train.steps=3 --set rollout.prompts=8
        --set train.save_every=1 --set train.eval_every=2 --set train.sample_every=2 --set train.eval_prompts=8)
    rm -rf runs/numbers
    for config in configs/tiny/*.toml; do
        local name policy=runs/demo/sft extra=()
        name=$(basename "$config" .toml)
        case $name in
            sft | rm | pretrain) continue ;;
            esrl_gold_s) policy=runs/demo/esrl ;;
            rest) extra=(--set data.max_rows=60 --set algorithm.improve_steps=2) ;;
        esac
        "$bin/esrl-rlhf" --config "$config" --run "runs/numbers/$name" "${rl[@]}" \
            --set "model.policy=$policy" "${extra[@]}" 2>/dev/null >/dev/null || failed "$name"
    done
    "$bin/sft" --config configs/tiny/sft.toml --run runs/numbers/full --set method=full --set lora= \
        --set train.max_steps=3 --set train.eval_every=2 2>/dev/null >/dev/null || failed full
    hash_of runs/numbers
}

all() {
    scripts/demo.sh >/dev/null 2>&1
    hash_of runs/demo
    methods
    if [ -e .models/smollm2-135m-instruct.gguf ]; then
        WICK_REAL_DATA=/nonexistent scripts/smoke.sh >/dev/null 2>&1 # the tiny rows
        hash_of runs/smoke
    else
        echo "same-numbers: no SmolLM2 (make fetch-smollm2): its smoke run is left out" >&2
    fi
}

header() {
    local cpu
    cpu=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -1)
    echo "# $(git rev-parse --short HEAD), $cpu"
}

case $mode in
    --rehash)
        {
            header
            for dir in runs/demo runs/numbers runs/smoke; do hash_of "$dir"; done
        } >"$hashes" ;;
    --record) { header; all; } >"$hashes" && wc -l "$hashes" ;;
    --short | "")
        now=$(mktemp)
        trap 'rm -f "$now"' EXIT
        if [ "$mode" = --short ]; then methods >"$now"; else all >"$now"; fi
        [ -s "$now" ] || { echo "same-numbers: nothing was hashed" >&2; exit 1; }
        prefixes=$(cut -d ' ' -f 3 "$now" | cut -d / -f 1,2 | sort -u | tr '\n' '|')
        if diff <(grep -E "  (${prefixes%|})/" "$hashes" | sort -k 2) <(sort -k 2 "$now"); then
            echo "same-numbers: $(wc -l <"$now") files are the same bytes as at $(head -1 "$hashes")"
        else
            echo "same-numbers: the files above differ (< recorded, > now)" >&2
            exit 1
        fi ;;
    *) sed -n '2,14s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
