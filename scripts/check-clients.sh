#!/usr/bin/env bash
# What other programs make of our files, and we of theirs. Each part ends with one line of figures,
# and all goes into docs/checks/DATE-check-clients.txt. Exits 1 if anything is wrong; a program that
# cannot be had fails its part.
#   make check-clients
#   PARTS="transformers" OUT=/tmp/short.txt scripts/check-clients.sh
set -euo pipefail
cd "$(dirname "$0")/.."
out=${OUT:-docs/checks/$(date +%F)-check-clients.txt}
parts=${PARTS:-transformers huggingface_hub llama_cpp tokenizers qwen}
python=.bench/env/bin/python

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Models, merged models and adapters of every family, read by transformers and PEFT.
transformers() {
    WICK_PEFT_OUT=$scratch/peers cargo test --release --workspace --test all -- \
        files_for_transformers_and_peft >&2
    "$python" scripts/golden/check_peft.py "$scratch/peers" 2>"$scratch/stderr" || {
        tail -n 5 "$scratch/stderr"
        return 1
    }
}

# Data sets of a mock hub: the same bytes, and each other's cache without a network.
huggingface_hub() {
    cargo build --release --bins --examples >&2
    local built=${CARGO_TARGET_DIR:-target}/release
    "$python" scripts/golden/check_hub.py "$built/mock-hub" "$built/examples/dataset_files"
}

# Greedy tokens of GGUF files of the families, which we and llama.cpp both read. llama.cpp leaves
# out the windows of Mistral and Phi-3.
llama_cpp() {
    npm install --prefix .bench/node --no-save --ignore-scripts node-llama-cpp@3.22.1 >&2
    cp scripts/golden/llama_cpp_greedy.mjs .bench/node/
    node .bench/node/llama_cpp_greedy.mjs \
        tests/golden/families/{llama-yarn-plain,qwen3-plain,smollm3,phi3-512}
}

# Token ids of real tokenizers, as transformers has them.
tokenizers() {
    scripts/fetch-tokenizers.sh >&2
    scripts/fetch-smollm2.sh >&2
    tested tokenizers
}

# A real model: logits, greedy text, ids.
qwen() {
    scripts/fetch-qwen.sh >&2
    tested qwen
}

# The figures of the external tests of this name.
tested() {
    cargo test --release --workspace --test external -- "$1" --nocapture >"$scratch/tests" 2>&2
    grep -E "^test |test result|largest|equal" "$scratch/tests"
}

scripts/bench/setup-python.sh >&2
{
    echo "$(date -u +%FT%TZ)  $(git rev-parse --short HEAD)  $(uname -m), $(nproc) cores"
    "$python" -m pip list 2>/dev/null | grep -E "^(torch|transformers|peft|tokenizers|huggingface_hub|datasets) " | xargs
} | tee "$scratch/report"
n_wrong=0
for part in $parts; do
    echo "== $part" | tee -a "$scratch/report"
    if ! "$part" >"$scratch/part"; then
        n_wrong=$((n_wrong + 1))
        echo "WRONG" >>"$scratch/part"
    fi
    tee -a "$scratch/report" <"$scratch/part"
done
echo "parts that failed: $n_wrong" | tee -a "$scratch/report"
cp "$scratch/report" "$out"
[ $n_wrong = 0 ]
