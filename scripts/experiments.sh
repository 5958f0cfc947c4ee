#!/usr/bin/env bash
# Experiments of scripts/experiments on the tiny world (docs/experiments/running.md): experiments.sh NAME… (default: all). Each goes on where
# it stopped and writes runs/experiments/NAME/table.md, compare-SEED/compare.json, and docs/plots/NAME.svg.
# Variables: those of table.sh; the seeds' sft and reward model are the table's.
set -uo pipefail
cd "$(dirname "$0")/.."
bin=${BIN:-target/release}
seeds=${SEEDS:-1 2 3}
plots=${PLOTS:-docs/plots}
mkdir -p "$plots"
[ $# -gt 0 ] || set -- $(cd scripts/experiments && ls ./*.txt | sed -E 's#./(.*)\.txt#\1#')
for name in "$@"; do
    list=scripts/experiments/$name.txt
    [ -f "$list" ] || { echo "no experiment $name; they are: $(ls scripts/experiments | sed 's/\.txt//' | xargs)" >&2; exit 2; }
    out=${OUT:-runs/experiments}/$name
    of() { sed -n "s/^# $1: //p" "$list"; }
    jobs=${JOBS:-$(of jobs)}
    printf '== %s\n' "$name" >&2
    first=$(of first)
    [ -z "$first" ] || "$bin"/$first >/dev/null || exit 1
    LIST=$list OUT=$out BASE=${BASE:-runs/table} SEEDS=$seeds JOBS=${jobs:-2} scripts/table.sh || exit 1
    what=(--title "$(of title)" --x "$(of x)" --out "$plots/$name.svg")
    if [ -n "$(of metric)" ]; then
        runs=$(for run in $(grep -vE '^(#|$)' "$list" | cut -d ' ' -f 1); do for seed in $seeds; do echo "$out/$seed/$run"; done; done)
        "$bin/evaluate" plot --runs $runs --metric "$(of metric)" "${what[@]}" || exit 1
    else
        "$bin/evaluate" plot --compared $(for seed in $seeds; do echo "$out/compare-$seed"; done) --y $(of y) "${what[@]}" || exit 1
    fi
done
