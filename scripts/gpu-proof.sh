#!/usr/bin/env bash
# Checks and measures a GPU within 10 minutes and without a network, and writes one table: every
# operation against the CPU, the pipelines of the tiny world and SmolLM2 on both devices, steps of
# the 7B shape against PyTorch + PEFT, decoding against transformers.
#
#   scripts/gpu-proof.sh            run, with the binaries of `make cuda` (or of a packed directory)
#   scripts/gpu-proof.sh pack DIR   write what it needs beside CUDA and PyTorch into DIR (<= 64 MiB)
#
# Environment: DEVICE=cuda; SHAPE=7b, or tiny to try the script; PYTHON=python3, one with torch,
# transformers and peft; PEER=0 skips PyTorch (with SHAPE=tiny also Python); CAP_GB=24, GB of the
# GPU's memory that the steps may use; OUT=runs/gpu-proof; BIN, the directory of the binaries.
# Exits with 1 if something failed or differs.
set -euo pipefail
cd "$(dirname "$0")/.."

pack() {
    local dir=$1 bin=target/cuda/release
    mkdir -p "$dir/bin"
    for name in sft reward-model esrl-rlhf bench; do strip -o "$dir/bin/$name" "$bin/$name"; done
    tar -C "$dir/bin" -cJf "$dir/binaries.tar.xz" . && rm -r "$dir/bin"
    cp -r --parents scripts/gpu-proof.sh scripts/gpu configs/tiny configs/llama-7b data/tiny "$dir"
    git rev-parse --short HEAD > "$dir/commit"
    local bytes
    bytes=$(du -sb "$dir" | cut -f1)
    echo "gpu-proof: $dir, $((bytes / 1048576)) MiB"
    [ "$bytes" -le 67108864 ] || { echo "error: more than 64 MiB" >&2; exit 1; }
}
if [ "${1:-}" = pack ]; then pack "${2:?a folder}"; exit; fi

DEVICE=${DEVICE:-cuda} SHAPE=${SHAPE:-7b} PYTHON=${PYTHON:-python3} PEER=${PEER:-1} CAP_GB=${CAP_GB:-24} OUT=${OUT:-runs/gpu-proof}
LIMIT=${LIMIT:-570}
rm -rf "$OUT"
mkdir -p "$OUT/runs" "$OUT/same" "$OUT/inputs"
if [ -f binaries.tar.xz ]; then
    mkdir -p bin && tar -C bin -xJf binaries.tar.xz
    BIN=${BIN:-bin}
fi
BIN=${BIN:-target/cuda/release}
if [ ! -x "$BIN/bench" ]; then
    echo "gpu-proof: $BIN/bench is not there; run make cuda first" >&2
    exit 2
fi
if [ "$DEVICE" != cpu ] && [ -z "${WICK_CUDA_LIBS:-}" ]; then
    libs='import glob, nvidia; print(":".join(f for p in nvidia.__path__ for f in glob.glob(p + "/*/lib")))'
    WICK_CUDA_LIBS=$("$PYTHON" -c "$libs" 2>/dev/null || true)
    export WICK_CUDA_LIBS
fi
note() { echo "$*" | tee -a "$OUT/notes.txt" >&2; }
phase() { printf '=== %s (%ss)\n' "$1" "$SECONDS" >&2; }
# Runs one piece for at most so many seconds, within the limit of the whole. A failure or a timeout
# becomes a line below the table.
piece() {
    local name=$1 most=$2 left=$((LIMIT - SECONDS)) log rc=0
    shift 2
    log=$OUT/${name// /-}.log
    if [ $left -lt 5 ]; then note "$name: left out, the time was up"; return 1; fi
    timeout $((most < left ? most : left)) "$@" >"$log" 2>"$log.err" || rc=$?
    [ $rc = 0 ] || { note "$name: ended with $rc: $(tail -1 "$log.err")"; return 1; }
}
ballast=
drop_ballast() { if [ -n "$ballast" ]; then kill "$ballast" && wait "$ballast" || true; ballast=; fi 2>/dev/null; }
weights=$OUT/inputs
trap 'drop_ballast; [ "$weights" = "$OUT/inputs" ] || rm -rf "$weights"' EXIT

gpu=$(nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader 2>/dev/null || true)
capped=
[ "$DEVICE" = cpu ] || capped=", $CAP_GB GB of the GPU free"
cat >"$OUT/facts.json" <<JSON
{"date": "$(date -u +%F)", "device": "$DEVICE", "shape": "$SHAPE", "card": "${gpu:-no GPU}, $(nproc) processors", "capped": "$capped",
 "commit": "commit $(cat commit 2>/dev/null || git rev-parse --short HEAD)"}
JSON

phase "operations"
piece ops 60 "$BIN/bench" check-ops --device "$DEVICE" || true
# nothing of the proof goes without its device
if grep -q "^error: device" "$OUT/ops.log.err"; then tail -1 "$OUT/ops.log.err" >&2; exit 2; fi
size=()
[ "$DEVICE" != cpu ] || size=(--shrink 32 --tokens 64 --steps 2)
if piece kernels 90 "$BIN/bench" kernels --device "$DEVICE" "${size[@]}"; then cp "$OUT/kernels.log" "$OUT/kernels.txt"; fi
cp "$OUT/ops.log" "$OUT/ops.txt" 2>/dev/null || echo "operations: not measured" >"$OUT/ops.txt"

# the four stages of a world, a few steps each, on one device: stages DIR DEVICE BASE DATA SETS...
stages() {
    local dir=$1 device=$2 base=$3 data=$4 common
    shift 4
    common=(--set "device=$device" --set train.seed=1)
    for set in "$@"; do common+=(--set "$set"); done
    local few=(--set train.log_every=1 --set train.max_steps=4 --set train.eval_every=2 --set train.batch_size=8 --set data.max_rows=200)
    local rl=(--set "model.policy=$dir/sft" --set "model.reward=$dir/rm" --set "data.path=$data/prompts.json" --set train.steps=2
        --set train.eval_every=1 --set train.eval_prompts=8 --set rollout.prompts=4 --set rollout.max_new_tokens=16)
    "$BIN/sft" --config configs/tiny/sft.toml --run "$dir/sft" "${common[@]}" "${few[@]}" --set "model.source=$base" --set "data.path=$data/demonstrations.json"
    "$BIN/reward-model" --config configs/tiny/rm.toml --run "$dir/rm" "${common[@]}" "${few[@]}" --set "model.source=$dir/sft" --set "data.path=$data/comparisons.json" \
        --set reward.normalisation_samples=8
    "$BIN/esrl-rlhf" --config configs/tiny/ppo.toml --run "$dir/ppo" "${common[@]}" "${rl[@]}"
    "$BIN/esrl-rlhf" --config configs/tiny/esrl.toml --run "$dir/esrl" "${common[@]}" "${rl[@]}"
}
export -f stages
export BIN
phase "pipelines on both devices"
same() { # WORLD BASE
    for side in cpu device; do
        local device=$DEVICE
        [ $side = device ] || device=cpu
        piece "$1 on $device" 100 bash -ec 'stages "$@"' - "$OUT/same/$1-$side" "$device" "$2" data/tiny || true
    done
}
same tiny data/tiny/base
if [ "$SHAPE" = tiny ] || [ ! -f .models/smollm2-135m-instruct.gguf ]; then
    note "SmolLM2: left out, its weights are not in .models or the shape is tiny"
else
    same smollm2 .models/smollm2-135m-instruct.gguf
fi

phase "inputs of the shape"
if [ "$PEER" = 1 ]; then
    # 13.5 GB, in memory where that has room
    if [ "$SHAPE" != tiny ] && [ "$(df --output=avail -B1G /dev/shm 2>/dev/null | tail -1 || echo 0)" -gt 20 ]; then weights=$(mktemp -d /dev/shm/gpu-proof.XXXX); fi
    piece inputs 120 "$PYTHON" scripts/gpu/inputs.py "$SHAPE" "$weights" || exit 2
    cp "$weights/shape.json" "$OUT/inputs/shape.json" 2>/dev/null || true
    model=$weights/model data=$weights
    piece machine 60 "$PYTHON" scripts/gpu/peer.py machine "$OUT/inputs/shape.json" "$DEVICE" || true
    cp "$OUT/machine.log" "$OUT/peer_machine.jsonl" 2>/dev/null || true
    if [ "$DEVICE" != cpu ]; then
        "$PYTHON" scripts/gpu/ballast.py "$CAP_GB" >"$OUT/ballast.log" 2>&1 &
        ballast=$!
        for _ in $(seq 60); do if [ -s "$OUT/ballast.log" ]; then break; fi; sleep 1; done
        note "free for the steps: $(head -1 "$OUT/ballast.log") GB"
    fi
else
    model=data/tiny/base data=data/tiny
    echo '{"vocab": 1008, "d": 256, "f": 640, "layers": 3, "heads": 4, "prompt": 32, "response": 32}' >"$OUT/inputs/shape.json"
fi
response=$("$PYTHON" -c 'import json, sys; print(json.load(open(sys.argv[1]))["response"])' "$OUT/inputs/shape.json")

phase "our steps"
runs=$OUT/runs
common=(--set "device=$DEVICE" --set train.save_every=100 --set train.sample_every=100 --set train.eval_every=100 --set train.seed=1)
[ "$DEVICE" != cpu ] || common+=(--set train.memory_gb=8)
# the rows are of the shape's lengths; these are the most that its model has positions for
most=1024 prompt=768
if [ "$SHAPE" = tiny ]; then most=192 prompt=128; fi
fit=(--set train.log_every=1 --set "data.max_len=$most" --set train.max_steps=4 --set train.batch_size=4 --set data.held_out=0.1 --set data.max_rows=24)
piece "sft step" 120 "$BIN/sft" --config configs/llama-7b/sft.toml --run "$runs/sft" "${common[@]}" "${fit[@]}" --set "model.source=$model" \
    --set "data.path=$data/demonstrations.json" --set samples.n=0 || true
piece "rm step" 120 "$BIN/reward-model" --config configs/llama-7b/rm.toml --run "$runs/rm" "${common[@]}" "${fit[@]}" --set "model.source=$runs/sft" \
    --set "data.path=$data/comparisons.json" --set reward.normalisation_samples=4 --set reward.normalisation_max_new_tokens=8 || true
for method in ppo esrl; do
    piece "$method step" 150 "$BIN/esrl-rlhf" --config "configs/llama-7b/$method.toml" --run "$runs/$method" "${common[@]}" --set "model.policy=$runs/sft" \
        --set "model.reward=$runs/rm" --set "data.path=$data/prompts.json" --set "data.max_prompt_len=$prompt" --set data.held_out=0.1 --set train.steps=3 --set train.eval_prompts=1 \
        --set "rollout.max_new_tokens=$response" || true
done
if [ "$PEER" = 1 ]; then
    phase "PyTorch's steps"
    piece "peer steps" 150 "$PYTHON" scripts/gpu/peer.py steps "$OUT/inputs/shape.json" "$DEVICE" || true
    cp "$OUT/peer-steps.log" "$OUT/peer_steps.jsonl"
fi
drop_ballast

phase "decoding"
length=128
[ "$DEVICE" != cpu ] || length=32
for batch in 1 8 32 128; do
    if piece "decode $batch" 60 "$BIN/bench" decode --model "$model" --batch $batch --prompt $length --new $length --steps 2 --device "$DEVICE"; then
        sed "s/^{/{\"batch\":$batch,/" "$OUT/decode-$batch.log" >>"$OUT/decode.jsonl"
    fi
done
if [ "$PEER" = 1 ]; then
    piece "peer decode" 120 "$PYTHON" scripts/gpu/peer.py decode "$OUT/inputs/shape.json" "$DEVICE" || true
    cp "$OUT/peer-decode.log" "$OUT/peer_decode.jsonl"
fi
phase "done"
"$PYTHON" scripts/gpu/table.py "$OUT" | tee "$OUT/table.md"
! grep -qE "NOT THE SAME|FAILED|not measured|: ended with" "$OUT/table.md"
