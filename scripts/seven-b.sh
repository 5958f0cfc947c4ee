#!/usr/bin/env bash
# A model of LLaMA-7B's shape through every stage on the CPU, one step each: planned and measured
# memory, seconds, and the share of the machine's rate of matrix products. Weights are random (the
# cost depends on shapes only), the tokenizer is a real one of 32,000 tokens. Takes an hour on 2
# cores, 19 GB of memory and 28 GB of disk.
#   scripts/seven-b.sh [DIR]     DIR: models and runs (runs/seven-b); those that exist are kept
#   COMPUTE=int16 scripts/seven-b.sh
#   SHAPE=tiny scripts/seven-b.sh      to try the script
# Needs `make build` and `make fetch-tokenizers`.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=${1:-runs/seven-b}
compute=${COMPUTE:-f32}
bin=${BIN:-target/release}
tokenizer=.models/tokenizers/llama2
[ -f "$tokenizer/tokenizer.json" ] ||
    { echo "seven-b: $tokenizer is not there; run make fetch-tokenizers" >&2; exit 2; }
# LLaMA-7B: Touvron et al. 2023, Table 2
case ${SHAPE:-7b} in
    7b) layers=32 width=4096 ffn=11008 heads=32 ;;
    tiny) layers=2 width=128 ffn=352 heads=4 ;;
    *) echo "seven-b: SHAPE is 7b or tiny" >&2; exit 2 ;;
esac

mkdir -p "$dir"
model=$dir/model
if [ ! -d "$model" ]; then
    cat >"$dir/config.json" <<JSON
{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 32000,
 "hidden_size": $width, "intermediate_size": $ffn, "num_hidden_layers": $layers,
 "num_attention_heads": $heads, "num_key_value_heads": $heads, "hidden_act": "silu",
 "max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
 "tie_word_embeddings": false, "torch_dtype": "bfloat16", "bos_token_id": 1, "eos_token_id": 2}
JSON
    echo "writing random weights into $model" >&2
    rm -rf "$model.part"
    "$bin/bench" random-model --config "$dir/config.json" --tokenizer "$tokenizer" "$model.part"
    mv "$model.part" "$model"
fi

# number KEY: the last value of KEY in the JSON on stdin
number() { sed -n "s|.*\"$1\": *\([0-9.e-]*\).*|\1|p" | tail -1; }

# Weights that each token is multiplied by, and the rate of products with bf16 weights.
products=$((layers * (4 * width * width + 3 * width * ffn) + 32000 * width))
rate=$("$bin/bench" matmul --size 2048 --dtype bf16 | number gflops)

# stage NAME COMMAND CONFIG SET…: plans and runs one step, and prints its row
stage() {
    local name=$1 command=$2 config=$3 run=$dir/$1 set
    local sets=(--set device=cpu --set "compute=$compute" --set train.memory_gb=21)
    shift 3
    for set in "$@"; do sets+=(--set "$set"); done
    if ! grep -qs '"status": "finished"' "$run/run.json"; then
        echo "$name" >&2
        rm -rf "$run"
        "$bin/wick" plan "$command" --config "configs/llama-7b/$config.toml" --run "$run" --json \
            "${sets[@]}" >"$run.plan" 2>"$run.log" || { tail -1 "$run.log" >&2; exit 1; }
        "$bin/wick" "$command" --config "configs/llama-7b/$config.toml" --run "$run" "${sets[@]}" \
            >>"$run.log" 2>&1 || { tail -1 "$run.log" >&2; exit 1; }
    fi
    local times
    times=$(grep time/step "$run/timings.jsonl" | tail -1)
    awk -v name="$name" -v planned="$(number estimate_gb <"$run.plan")" \
        -v layers="$(number checkpointed_blocks <"$run.plan")" \
        -v peak="$(number peak_memory_bytes <"$run/run.json")" \
        -v secs="$(number time/step <<<"$times")" -v phases="$(phases "$times")" \
        -v tokens="$(number train/tokens_per_sec <<<"$times")" \
        -v products="$products" -v rate="$rate" 'BEGIN {
        # the answers of a pair share work, and steps of RL have parts of different kinds
        share = name == "sft" ? sprintf("%.0f %%", 100 * 4 * products * tokens / rate / 1e9) : "-"
        printf "| %s | %.1f | %.1f | %d | %.0f | %s | %s |\n",
            name, planned, peak / 1e9, layers, secs, phases, share }'
}

# phases TIMINGS: seconds of the phases of a step
phases() {
    local phase secs all=""
    for phase in forward backward estimate sample reward read update; do
        secs=$(number "time/$phase" <<<"$1")
        [ -z "$secs" ] || all+=$(printf ', %s %.0f' "$phase" "$secs")
    done
    echo "${all#, }"
}

few=(train.{eval_every,save_every,sample_every}=1000 train.micro_batch_tokens=256)
trained=(train.max_steps=1 train.batch_size=2 data.max_len=256 data.max_rows=100)
rl=("model.policy=$dir/sft" "model.reward=$dir/rm" data.path=data/tiny/prompts.json
    rollout.prompts=2 rollout.max_new_tokens=12 train.steps=1 train.eval_prompts=1)

echo "$(date -u +%F), $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(nproc) CPUs," \
    "compute = \"$compute\", products with bf16 weights in f32: ${rate%.*} GF/s"
echo
echo "| stage | plan, GB | peak, GB | layers checkpointed | step, s | of which, s | of the rate |"
echo "|---|---|---|---|---|---|---|"
# at this learning rate bf16 holds what one step changes, which merge demands
stage sft sft sft "model.source=$model" data.path=data/tiny/demonstrations.json samples.n=0 \
    train.optimizer.lr=1e-2 "${trained[@]}" "${few[@]}"
stage rm rm rm "model.source=$dir/sft" data.path=data/tiny/comparisons.json \
    reward.normalisation_samples=2 reward.normalisation_max_new_tokens=12 "${trained[@]}" "${few[@]}"
stage ppo rlhf ppo "${rl[@]}" "${few[@]}"
stage esrl rlhf esrl "${rl[@]}" "${few[@]}"

# other NAME COMMAND…: seconds and peak of a command
other() {
    local name=$1 start=$SECONDS peak=0 now
    shift
    echo "$name" >&2
    "$bin/wick" "$@" >"$dir/$name.log" 2>&1 &
    while now=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$!/status" 2>/dev/null); do
        [ "${now:-0}" -le "$peak" ] || peak=$now
        sleep 0.2
    done
    wait $! || { tail -1 "$dir/$name.log" >&2; exit 1; }
    awk -v name="$name" -v kib="$peak" -v secs=$((SECONDS - start)) 'BEGIN {
        printf "| %s | - | %.1f | - | %d, whole | - | - |\n", name, kib * 1024 / 1e9, secs }'
}
rm -rf "$dir/merged"
other merge merge --run "$dir/sft" --out "$dir/merged" --dtype bf16
other answers answers --run "$dir/merged" --prompt "Name three fruits." --max-new-tokens 12
