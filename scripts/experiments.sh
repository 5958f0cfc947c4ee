#!/usr/bin/env bash
# Runs experiments of scripts/experiments on the tiny world: experiments.sh NAME… (default: all).
# Each continues where it stopped and writes runs/experiments/NAME/table.md,
# compare-SEED/compare.json, and docs/plots/NAME.svg.
# Variables: those of table.sh, whose sft and reward-model runs of the seeds are used.
set -uo pipefail
cd "$(dirname "$0")/.."
bin=${BIN:-target/release}
seeds=${SEEDS:-1 2 3}
plots=${PLOTS:-docs/plots}
mkdir -p "$plots"
[ $# -gt 0 ] || set -- $(cd scripts/experiments && ls ./*.txt | sed -E 's#./(.*)\.txt#\1#')
for name in "$@"; do
    list=scripts/experiments/$name.txt
    [ -f "$list" ] || {
        echo "no experiment $name; choose from $(ls scripts/experiments | sed 's/\.txt//' | xargs)" >&2
        exit 2
    }
    out=${OUT:-runs/experiments}/$name
    of() { sed -n "s/^# $1: //p" "$list"; }
    jobs=${JOBS:-$(of jobs)}
    printf '== %s\n' "$name" >&2
    first=$(of first)
    [ -z "$first" ] || "$bin"/$first >/dev/null || exit 1
    LIST=$list OUT=$out BASE=${BASE:-runs/table} SEEDS=$seeds JOBS=${jobs:-2} scripts/table.sh || exit 1
    what=(--title "$(of title)" --x "$(of x)" --out "$plots/$name.svg" --force)
    if [ -n "$(of metric)" ]; then
        runs=$(for run in $(grep -vE '^(#|$)' "$list" | cut -d ' ' -f 1); do
            for seed in $seeds; do echo "$out/$seed/$run"; done
        done)
        "$bin/wick" plot --runs $runs --metric "$(of metric)" "${what[@]}" || exit 1
    else
        compared=$(for seed in $seeds; do echo "$out/compare-$seed"; done)
        "$bin/wick" plot --compared $compared --y $(of y) "${what[@]}" || exit 1
    fi
done
