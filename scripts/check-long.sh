#!/usr/bin/env bash
# The checks that take long: kills, failing disks, a full disk, flipped bits, large data. Each part
# ends with its figures, and all goes into docs/checks/DATE-check-long.txt. Exits 1 if anything is
# wrong or was not run. Needs strace and unshare.
#   make check-long
#   PARTS="full_disk flipped_bits" KILLS=3 FLIPS=10 OUT=/tmp/short.txt scripts/check-long.sh
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${BIN:-target/release}
kills=${KILLS:-50}
flips=${FLIPS:-100}
sizes=${SIZES:-20}
gb=${GB:-1}
out=${OUT:-docs/checks/$(date +%F)-check-long.txt}

# A part is a function: it prints what is wrong and, last, its figures, and fails if anything is
# wrong. It writes into $work. All parts run side by side. To add one, write it and name it here.
all="kill_and_resume kill_at_each_sync fail_each_sync full_disk flipped_bits large_data"
parts=${PARTS:-$all}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export RAYON_NUM_THREADS=1
export SOURCE_DATE_EPOCH=1767225600 # what a template prints as the date

# Short runs that write everything that a stage writes, and delete a checkpoint.
sets() { printf -- ' --set %s' train.{save_every,keep_checkpoints}=1 \
    train.{eval_every,sample_every}=2 "$@"; }
sft="sft --config configs/tiny/sft.toml$(sets train.max_steps=2 data.max_rows=60 samples.n=1)"
ppo="rlhf --config configs/tiny/ppo.toml$(sets model.policy="$scratch/sft" \
    model.reward="$scratch/rm" train.steps=2 rollout.prompts=4 train.eval_prompts=4)"

# The models that the parts start from, whole runs to compare with, and the tests.
prepare() {
    [[ " $parts " != *" flipped_bits "* ]] || cargo test --release --workspace --test all --no-run
    "$bin/wick" sft --config configs/tiny/sft.toml --set train.max_steps=20 --run "$scratch/sft"
    "$bin/wick" rm --config configs/tiny/rm.toml --set "model.source=$scratch/sft" \
        --set train.max_steps=20 --run "$scratch/rm"
    "$bin/wick" $sft --run "$scratch/whole-sft"
    "$bin/wick" $ppo --run "$scratch/whole-ppo"
}

# ended_well STATUS LOG: success, one line that says what is wrong, or killed
ended_well() {
    ! grep -q panicked "$2" || return 1
    case $1 in
    0 | 137) ;;
    2) [ "$(grep -c '^error: ' "$2")" = 1 ] ;;
    *) return 1 ;;
    esac
}

# resumed STAGE RUN: begins or resumes a run after a fault; its files must be those of a whole run,
# but for wall-clock times, and nothing may lie beside it.
resumed() {
    local resume=()
    [ ! -e "$2/run.json" ] || resume=(--resume)
    "$bin/wick" ${!1} --run "$2" "${resume[@]}" >"$work/resumed.log" 2>&1 ||
        { tail -1 "$work/resumed.log"; return 1; }
    diff -r -x run.json -x timings.jsonl -x .lock -x SHA256SUMS -x 'events.out.tfevents*' \
        -I '"secs":' -I '"time/' -I 'tokens_per_sec"' "$scratch/whole-$1" "$2" || return 1
    [ "$(ls -A "$(dirname "$2")")" = "$(basename "$2")" ] ||
        { echo "beside it: $(ls -A "$(dirname "$2")")"; return 1; }
}

# judge STATUS LOG STAGE RUN WHAT: counts into n_faults and n_wrong
judge() {
    n_faults=$((n_faults + 1))
    ended_well "$1" "$2" && resumed "$3" "$4" && return
    n_wrong=$((n_wrong + 1))
    echo "WRONG: $3, $5: exit $1, $(tail -1 "$2")"
}

# figures WHAT: the last line of a part that called judge
figures() {
    echo "$n_faults $1: $((n_faults - n_wrong)) resumed to the same bytes, $n_wrong wrong"
    [ "$n_wrong" = 0 ] && [ "$n_faults" -gt 0 ]
}

kill_and_resume() {
    KILLS=$kills RUNS=$scratch scripts/crash.sh | tee "$work/log"
    local stages
    stages=$(grep -c "same to the last byte after $kills kills" "$work/log")
    echo "$((stages * kills)) kills at random moments: $stages stages the same to the last byte"
}

# at_each_sync FAULT: for every N a run with the fault at its Nth fsync, and at its Nth rename
at_each_sync() {
    local stage calls n status run=$work/runs/run
    n_faults=0 n_wrong=0
    for stage in sft ppo; do
        for calls in fsync rename renameat2; do
            for ((n = 1; ; n++)); do
                rm -rf "$work/runs" && mkdir "$work/runs"
                status=0
                { # where bash would say of each that it was killed
                    strace -f -qq -o "$work/trace" -e trace="$calls" \
                        -e inject="$calls:$1:when=$n" \
                        "$bin/wick" ${!stage} --run "$run" >"$work/log" 2>&1
                } 2>/dev/null || status=$?
                [ $status = 137 ] || grep -q INJECTED "$work/trace" || break
                # Of a failed exchange nothing is lost: two renames take its place.
                [ "$status $1" != "0 error=EIO" ] || [ $calls = renameat2 ] ||
                    grep -q 'Input/output error' "$work/log" || status="0 without a word"
                judge "$status" "$work/log" $stage "$run" "$1 at call $n of $calls"
            done
            echo "$stage: $((n - 1)) of $calls"
        done
    done
}

kill_at_each_sync() {
    at_each_sync signal=SIGKILL
    figures "kills, one at each fsync and rename"
}

fail_each_sync() {
    at_each_sync error=EIO
    figures "I/O errors, one at each fsync and rename"
}

# A disk in memory that is too small in $sizes ways, and then grows. In a namespace of its own, so
# nobody has to be root.
full_disk() {
    export -f ended_well resumed judge figures fill
    export bin scratch work sizes sft ppo
    unshare --user --map-root-user --mount bash -euo pipefail -c fill
}

fill() {
    local stage i kb status disk=$work/disk
    n_faults=0 n_wrong=0
    mkdir "$disk"
    for stage in sft ppo; do
        kb=$(du -sk "$scratch/whole-$stage" | cut -f1)
        for ((i = 1; i <= sizes; i++)); do
            mount -t tmpfs -o "size=$((kb * i / sizes))k" tmpfs "$disk"
            status=0
            "$bin/wick" ${!stage} --run "$disk/run" >"$work/log" 2>&1 || status=$?
            mount -o remount,size=1g "$disk"
            [ $status = 0 ] || judge $status "$work/log" $stage "$disk/run" "a disk of $i/$sizes"
            umount "$disk"
        done
    done
    figures "full disks"
}

flipped_bits() {
    local test=run::damage::a_flipped_byte_in_any_file_of_a_run_is_named_or_harmless
    WICK_FLIPS=$flips cargo test --release --workspace --test all -- --exact $test --nocapture \
        >"$work/log" 2>&1 || { tail -20 "$work/log"; return 1; }
    sed -n '/^flipped bits of/,/^flips:/p' "$work/log"
    grep -q '^flips: .* 0 wrong$' "$work/log"
}

# peak_of LOG COMMAND…: runs it, and prints its seconds and its largest resident memory
peak_of() {
    local log=$1 start=$SECONDS peak=0 now
    shift
    "$@" >"$log" 2>&1 &
    while now=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$!/status" 2>/dev/null); do
        [ "${now:-0}" -le "$peak" ] || peak=$now
        sleep 0.2
    done
    wait $! || { tail -3 "$log"; return 1; }
    echo "$((SECONDS - start)) s, at most $((peak / 1024)) MB"
}

# rows_of FILE ANSWERS: rows of about 700 bytes in the words of the tiny world, $gb GB of them, with
# an answer ("completion") or two ("pair")
rows_of() {
    awk -v bytes="$gb" -v answers="$2" 'BEGIN {
        n = split("cherry hotel spade plane fox drum fig dress horn elm tram house palm", words, " ")
        for (bytes *= 1e9; written < bytes; row++) {
            text = "Row " row ":"
            for (i = 0; i < 60; i++) text = text " " words[int((row * 7 + i * i * 31) % n) + 1]
            line = "{\"prompt\": \"Repeat these words: " text ".\", "
            if (answers == "pair") line = line "\"chosen\": \"" text ".\", \"rejected\": \"No.\"}"
            else line = line "\"completion\": \"" text ".\"}"
            written += length(line) + 1
            print line
        }
    }' >"$1"
}

# large STAGE COMMAND…: three steps, the first time and again. The metrics must be the same.
large() {
    local stage=$1 run
    shift
    for run in first second; do
        echo "$stage, $run start: $(WICK_CACHE=$work/$stage-cache RAYON_NUM_THREADS=$(nproc) \
            peak_of "$work/log" "$@" --run "$work/$stage-$run")" || return 1
    done
    grep -q 'were tokenised before' "$work/log" ||
        { echo "$stage: the second start tokenised them again"; return 1; }
    diff -I '"time/' -I tokens_per_sec "$work/$stage"-{first,second}/metrics.jsonl || return 1
    echo "$stage: the rows' tokens take $(du -sm "$work/$stage-cache" | cut -f1) MB"
    rm -r "$work/$stage-cache"
}

# Every stage on more rows than fit in memory.
large_data() {
    local rl
    rows_of "$work/rows.jsonl" completion
    echo "$(wc -l <"$work/rows.jsonl") rows, $(du -m "$work/rows.jsonl" | cut -f1) MB"
    large sft "$bin/wick" sft --config configs/tiny/sft.toml --set data.path="$work/rows.jsonl" \
        --set data.max_len=250 --set data.held_out=0.001 --set data.max_eval_rows=50 \
        --set train.max_steps=3 --set train.batch_size=4 --set samples.n=1 || return 1
    rl="$bin/wick rlhf --set model.policy=data/tiny/base --set data.max_prompt_len=130
        --set rollout.max_new_tokens=120 --set rollout.prompts=4 --set train.steps=3
        --set train.eval_prompts=4"
    large rloo $rl --set algorithm.name=rloo --set data.path="$work/rows.jsonl" \
        --set 'rewards=[{kind="rouge_l"}]' || return 1
    rows_of "$work/rows.jsonl" pair
    echo "$(wc -l <"$work/rows.jsonl") pairs, $(du -m "$work/rows.jsonl" | cut -f1) MB"
    large dpo $rl --set algorithm.name=dpo --set data.path="$work/rows.jsonl"
}

run_part() {
    work=$scratch/$1
    mkdir "$work"
    SECONDS=0
    "$1"
    echo "$SECONDS s"
}

main() {
    local part failed="" left_out
    local -A pids
    echo "wick $(git rev-parse HEAD)$(git diff --quiet HEAD || echo ' with changes')"
    echo "$(date -u +%FT%TZ), $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)," \
        "$(nproc) CPUs, load $(cut -d' ' -f1 /proc/loadavg)"
    prepare >"$scratch/log" 2>&1 || { tail -5 "$scratch/log"; return 1; }
    for part in $parts; do
        run_part "$part" >"$scratch/$part.out" 2>&1 &
        pids[$part]=$!
    done
    for part in $parts; do
        wait "${pids[$part]}" || failed+=" $part"
        printf '\n== %s\n' "$part"
        cat "$scratch/$part.out"
    done
    left_out=$(comm -23 <(tr ' ' '\n' <<<"$all" | sort) <(tr ' ' '\n' <<<"$parts" | sort) | xargs)
    printf '\nfailed:%s; not run: %s\n' "${failed:- none}" "${left_out:-none}"
    [ -z "$failed$left_out" ]
}

mkdir -p "$(dirname "$out")"
main | tee "$out"
