#!/usr/bin/env bash
# Every method side by side on the tiny world: sft and reward model per seed, then each method of
# configs/tiny from them, then the table. Finished runs are kept and stopped ones continue. A failed
# run is reported, and the others go on. Variables: SEEDS="1 2 3"; METHODS="esrl ppo …" (default:
# all); OUT=runs/table; JOBS=2; LIST: a file of runs instead of methods, one per line, NAME CONFIG
# [KEY=VALUE …]; BASE: directory of the seeds' sft and rm (default: OUT); SET="KEY=VALUE …" for
# every run.
set -uo pipefail
cd "$(dirname "$0")/.."
bin=${BIN:-target/release}
out=${OUT:-runs/table}
base=${BASE:-$out}
seeds=${SEEDS:-1 2 3}
jobs=${JOBS:-2}
export RAYON_NUM_THREADS=${RAYON_NUM_THREADS:-1}
if [ -n "${LIST:-}" ]; then
    list=$(grep -vE '^(#|$)' "$LIST")
else
    all=$(cd configs/tiny && ls ./*.toml | sed -E 's#./(.*)\.toml#\1#' | grep -vxE 'sft|rm|pretrain')
    list=$(for method in ${METHODS:-$all}; do echo "$method configs/tiny/$method.toml"; done)
    # esrl comes first, since esrl_gold_s, the last, starts from it
    list=$(
        grep '^esrl ' <<<"$list"
        grep -vE '^(esrl|esrl_gold_s) ' <<<"$list"
        grep '^esrl_gold_s ' <<<"$list"
    )
fi
methods=$(cut -d ' ' -f 1 <<<"$list")

# train STAGE RUN CONFIG SETS...: starts the run or continues it; does nothing if it is finished
train() {
    local stage=$1 dir=$2 config=$3
    shift 3
    local resume=()
    if [ -d "$dir" ]; then
        grep -q '"status": "finished"' "$dir/run.json" 2>/dev/null && return 0
        resume=(--resume)
    fi
    local sets=()
    for set in "$@"; do sets+=(--set "$set"); done
    if ! "$bin/wick" "$stage" --config "$config" --run "$dir" "${sets[@]}" "${resume[@]}" \
        >"$dir.log" 2>&1; then
        printf '%s failed: %s\n' "$dir" "$(tail -n 1 "$dir.log")" >&2
        return 1
    fi
    printf '%s  %s\n' "$(date +%T)" "$dir" >&2
}

one() {
    local seed=$1 name=$2 config=$3 from=$base/$1/sft
    [ "$name" = esrl_gold_s ] && from=$out/$seed/esrl
    train rlhf "$out/$seed/$name" "$config" "train.seed=$seed" "model.policy=$from" \
        "model.reward=$base/$seed/rm" "${@:4}"
}

start() {
    local seed=$1
    train sft "$base/$seed/sft" configs/tiny/sft.toml "train.seed=$seed" &&
        train rm "$base/$seed/rm" configs/tiny/rm.toml "train.seed=$seed" "model.source=$base/$seed/sft"
}

export bin out base
export -f train one start
for seed in $seeds; do mkdir -p "$out/$seed" "$base/$seed"; done
echo "$seeds" | tr ' ' '\n' | xargs -P "$jobs" -I{} bash -c 'start {}' || exit 1
for seed in $seeds; do
    while read -r line; do echo "$seed $line${SET:+ $SET}"; done <<<"$list"
done | xargs -P "$jobs" -L 1 bash -c 'one "$@"' one || echo "some runs failed; the table has the others" >&2
for seed in $seeds; do
    runs=$(for run in "$base/$seed/sft" $(for name in $methods; do echo "$out/$seed/$name"; done); do
        grep -qs '"status": "finished"' "$run/run.json" && echo "$run"
    done)
    "$bin/wick" compare --runs $runs --prompts data/tiny/heldout.json --n 200 --temperature 1 \
        --max-new-tokens 48 --reward "$base/$seed/rm" --out "$out/compare-$seed" --force \
        >/dev/null || exit 1
done
compared=$(for seed in $seeds; do echo "$out/compare-$seed"; done)
"$bin/wick" table --compared $compared --out "$out/table.md" --force
