#!/usr/bin/env bash
# Real data into data/real/ (not shipped: Alpaca and GPT-4-LLM are CC BY-NC 4.0). Keeps what is already there.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p data/real
get() { # file, address
    if [ -s "data/real/$1" ]; then echo "data/real/$1 is there"; return; fi
    echo "fetching data/real/$1"
    curl --fail --location --silent --show-error --output "data/real/$1.part" "$2" || {
        rm -f "data/real/$1.part"
        echo "error: $2 cannot be fetched; put the file at data/real/$1 by hand" >&2
        exit 2
    }
    mv "data/real/$1.part" "data/real/$1"
}
llm=https://raw.githubusercontent.com/Instruction-Tuning-with-GPT-4/GPT-4-LLM/main/data
get alpaca_gpt4.json "$llm/alpaca_gpt4_data.json"
get comparison_gpt4.json "$llm/comparison_data_v2.json"
get alpaca_davinci.json https://raw.githubusercontent.com/tatsu-lab/stanford_alpaca/main/alpaca_data.json
get vicuna_question_80.jsonl https://raw.githubusercontent.com/lm-sys/FastChat/main/fastchat/llm_judge/data/vicuna_bench/question.jsonl
get hh_harmless.jsonl.gz https://huggingface.co/datasets/Anthropic/hh-rlhf/resolve/main/harmless-base/test.jsonl.gz
[ -s data/real/hh_harmless.jsonl ] || gunzip --keep data/real/hh_harmless.jsonl.gz
