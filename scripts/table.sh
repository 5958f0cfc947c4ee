#!/usr/bin/env bash
# Every method side by side on the tiny world: sft and reward model per seed, then each method of configs/tiny from them, then the
# table. Finished runs are kept, stopped ones go on, a failed one is named and the rest go on.
# Variables: SEEDS="1 2 3", METHODS="esrl ppo …" (default: all), OUT=runs/table, JOBS=2.
set -uo pipefail
cd "$(dirname "$0")/.."
bin=${BIN:-target/release}
out=${OUT:-runs/table}
seeds=${SEEDS:-1 2 3}
jobs=${JOBS:-2}
export RAYON_NUM_THREADS=${RAYON_NUM_THREADS:-1}
all=$(cd configs/tiny && ls ./*.toml | sed -E 's#./(.*)\.toml#\1#' | grep -vxE 'sft|rm|pretrain')
methods=${METHODS:-$all}

# train STAGE RUN CONFIG SETS...: nothing where the run is finished, else from its last checkpoint or from the start
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
    if ! "$bin/$stage" --config "$config" --run "$dir" "${sets[@]}" "${resume[@]}" >"$dir.log" 2>&1; then
        printf '%s failed: %s\n' "$dir" "$(tail -n 1 "$dir.log")" >&2
        return 1
    fi
    printf '%s  %s\n' "$(date +%T)" "$dir" >&2
}

one() {
    local seed=$1 method=$2 from
    from=$out/$seed/sft
    [ "$method" = esrl_gold_s ] && from=$out/$seed/esrl
    train esrl-rlhf "$out/$seed/$method" "configs/tiny/$method.toml" \
        "train.seed=$seed" "model.policy=$from" "model.reward=$out/$seed/rm"
}

start() {
    local seed=$1
    train sft "$out/$seed/sft" configs/tiny/sft.toml "train.seed=$seed" &&
        train reward-model "$out/$seed/rm" configs/tiny/rm.toml "train.seed=$seed" "model.source=$out/$seed/sft"
}

export bin out
export -f train one start
mkdir -p $(for seed in $seeds; do echo "$out/$seed"; done)
# esrl comes first, since esrl_gold_s goes on from it
echo "$seeds" | tr ' ' '\n' | xargs -P "$jobs" -I{} bash -c 'start {}' || exit 1
for seed in $seeds; do
    for method in esrl $(echo "$methods" | tr ' ' '\n' | grep -vx esrl); do
        case " $(echo $methods) " in *" $method "*) echo "$seed $method" ;; esac
    done
done | xargs -P "$jobs" -L 1 bash -c 'one "$0" "$1"' || echo "some runs failed; the table has the others" >&2
for seed in $seeds; do
    runs=$(for method in sft $(echo $methods); do
        grep -qs '"status": "finished"' "$out/$seed/$method/run.json" && echo "$out/$seed/$method"
    done)
    "$bin/evaluate" compare --runs $runs --prompts data/tiny/heldout.json --n 200 --temperature 1 --max-new-tokens 48 \
        --reward "$out/$seed/rm" --out "$out/compare-$seed" >/dev/null || exit 1
done
"$bin/evaluate" table --compared $(for seed in $seeds; do echo "$out/compare-$seed"; done) --out "$out/table.md"
