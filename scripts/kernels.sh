#!/usr/bin/env bash
# Compiles our CUDA kernels for sm_80 (A100) and sm_90 (H100, H200) with warnings as errors, and
# prints the registers and spilled bytes per thread of each. Needs no GPU; the compiler comes from
# scripts/cuda-toolkit.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
eval "$(scripts/cuda-toolkit.sh)"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
for arch in sm_80 sm_90; do
    "$NVCC" -cubin -std=c++17 -O3 -arch=$arch -Werror all-warnings -Xptxas -v -o "$out/kernels.cubin" crates/ops/kernels/kernels.cu 2> "$out/log" || {
        cat "$out/log"
        exit 1
    }
    echo "$arch: registers, bytes spilled"
    sed -n -e "s/.*Compiling entry function '\([^']*\)'.*/\1/p" -e 's/.*, \([0-9]*\) bytes spill stores.*/spill \1/p' -e 's/.*Used \([0-9]*\) registers.*/used \1/p' "$out/log" |
        awk '/^spill/ { spill = $2; next } /^used/ { printf "  %-32s %4d %4d\n", name, $2, spill; next } { name = $1 }' | sort
done
