#!/usr/bin/env bash
# Fetches real data into data/real/ (not shipped: Alpaca and GPT-4-LLM are CC BY-NC 4.0). Keeps
# existing files.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p data/real
get() { # file, address
    if [ -s "data/real/$1" ]; then echo "data/real/$1 exists"; return; fi
    echo "fetching data/real/$1"
    curl --fail --location --silent --show-error --output "data/real/$1.part" "$2" || {
        rm -f "data/real/$1.part"
        echo "error: $2 cannot be fetched; download it by hand to data/real/$1" >&2
        exit 2
    }
    mv "data/real/$1.part" "data/real/$1"
}
llm=https://raw.githubusercontent.com/Instruction-Tuning-with-GPT-4/GPT-4-LLM/main/data
get alpaca_gpt4.json "$llm/alpaca_gpt4_data.json"
get comparison_gpt4.json "$llm/comparison_data_v2.json"
alpaca=https://raw.githubusercontent.com/tatsu-lab/stanford_alpaca/main
get alpaca_davinci.json "$alpaca/alpaca_data.json"
fastchat=https://raw.githubusercontent.com/lm-sys/FastChat/main/fastchat/llm_judge
get vicuna_question_80.jsonl "$fastchat/data/vicuna_bench/question.jsonl"
hh=https://huggingface.co/datasets/Anthropic/hh-rlhf/resolve/main
get hh_harmless.jsonl.gz "$hh/harmless-base/test.jsonl.gz"
[ -s data/real/hh_harmless.jsonl ] || gunzip --keep data/real/hh_harmless.jsonl.gz
