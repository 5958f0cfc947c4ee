#!/usr/bin/env bash
# Every make target as the first one after a clone: a fresh clone and an empty CARGO_HOME each, only
# compiled code is kept. A target must end with exit code 0, or say what it needs. About two hours
# on 2 cores.
#   scripts/first-target.sh [TARGET…]    default: all
# Variables: DIR, a scratch directory (default: a temporary one, deleted at the end); LONG=1 also
# runs the targets that take over ten minutes.
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
dir=${DIR:-$(mktemp -d)}
[ -n "${DIR:-}" ] || trap 'rm -rf "$dir"' EXIT

# TARGET | ARGUMENTS | MINUTES | what its output must have if it is to end with an error (after a
# question mark: if it ends with one, as without a network)
targets=$(cat <<'LIST'
help||1|
sft|SET=train.max_steps=2|20|
rm|SET=train.max_steps=2|20|"runs/sft": no such directory
rlhf||20|runs/rm/reward does not exist
plan||1|make plan needs CONFIG
plan|CONFIG=configs/tiny/sft.toml|20|
answers||1|make answers needs RUN
answers|RUN=data/tiny/base ARGS="--max-new-tokens 2"|20|
compare||1|make compare needs RUNS
compare|RUNS=data/tiny/base ARGS="--prompts data/tiny/heldout.json --n 2 --max-new-tokens 8"|20|
score||1|make score needs RUN
score|RUN=data/tiny/base DATA=data/tiny/demonstrations.json|20|
replay||1|make replay needs RUN
merge||1|make merge needs RUN
demo||20|
demo-short||20|
recipe||30|
table|SEEDS=1 METHODS=dpo|20|
experiments|NAME=none|20|no experiment none
two-stage||30|
tiny-world||20|
tiny-base||30|
build||20|
test||15|
test-external||20|make fetch-smollm2
examples||20|
check||30|
docs||15|
crash|KILLS=1|15|
fuzz||1|make fuzz needs
smoke||20|make fetch-smollm2
bench-ops|NAME=rms_norm|15|
cuda-check||15|
kernels||15|
gpu-proof||20|make cuda
fetch-smollm2||20|
fetch-qwen||20|
fetch-tokenizers||20|
fetch-data||20|?cannot be fetched; download it by hand
LIST
)
long=$(cat <<'LIST'
cuda||40|
bench|ARGS="--only decode_b1 --rounds 1 --steps 1"|60|
bench-sizes|ARGS="--ours"|60|
ci||90|
check-long||40|
check-clients||60|
LIST
)
[ -z "${LONG:-}" ] || targets+=$'\n'$long

missing=$(grep -oE '^[a-z0-9-]+:.*##' "$root/Makefile" | cut -d : -f 1 |
    grep -vx check-targets | grep -vxFf <(printf '%s\n%s\n' "$targets" "$long" | cut -d '|' -f 1))
[ -z "$missing" ] || { echo "not in the list of scripts/first-target.sh:" $missing >&2; exit 2; }

n_wrong=0
while IFS='|' read -r target arguments minutes expected; do
    [ $# = 0 ] || [[ " $* " == *" $target "* ]] || continue
    [ ! -d "$dir/clone/target" ] || mv "$dir/clone/target" "$dir/target"
    rm -rf "$dir/clone" "$dir/cargo"
    git clone -q "$root" "$dir/clone"
    # as old as their commit, so that cargo takes the compiled code for theirs
    time=$(git -C "$dir/clone" log -1 --format=%cI)
    git -C "$dir/clone" ls-files -z | xargs -0r -I{} touch -hd "$time" "$dir/clone/{}"
    [ ! -d "$dir/target" ] || mv "$dir/target" "$dir/clone/target"
    mkdir "$dir/cargo"
    start=$SECONDS
    eval "words=($arguments)"
    (cd "$dir/clone" && CARGO_HOME=$dir/cargo timeout $((60 * minutes)) make "$target" "${words[@]}") \
        >"$dir/log" 2>&1 </dev/null
    code=$?
    verdict=ok
    if [[ $expected = \?* ]]; then
        [ $code = 0 ] || grep -qF "${expected#\?}" "$dir/log" || verdict=WRONG
    elif [ -n "$expected" ]; then
        { [ $code != 0 ] && grep -qF "$expected" "$dir/log"; } || verdict=WRONG
    else
        [ $code = 0 ] || verdict=WRONG
    fi
    printf '%-6s %4d s  exit %3d  make %s %s\n' \
        $verdict $((SECONDS - start)) $code "$target" "$arguments"
    if [ $verdict != ok ]; then
        n_wrong=$((n_wrong + 1))
        tail -n 15 "$dir/log" | sed 's/^/           /'
    elif [ -n "$expected" ]; then
        grep -F "${expected#\?}" "$dir/log" | head -1 | sed 's/^/           /'
    fi
done <<<"$targets"
echo "targets that failed: $n_wrong"
[ $n_wrong = 0 ]
