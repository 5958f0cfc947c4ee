#!/usr/bin/env bash
# Release binaries with `--features cuda` into target/cuda/release. To build them takes neither a card nor a driver (docs/cuda.md).
#
# CUDA_COMPUTE_CAP is the oldest card that they shall run on, 80 (A100, and everything newer) unless it is set. The first build takes
# 10 minutes on 2 cores, most of it candle's own kernels.
set -euo pipefail
cd "$(dirname "$0")/.."

exports=$(scripts/cuda-toolkit.sh)
eval "$exports"
export CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP:-80}
cargo build --release --target-dir target/cuda --features cuda -p sft -p reward-model -p esrl-rlhf -p evaluate -p bench

# They start without NVIDIA's libraries, which are opened when they are needed.
for name in sft reward-model esrl-rlhf evaluate; do
    binary=target/cuda/release/$name
    if needed=$(readelf -d "$binary" | grep -E 'NEEDED.*(cuda|cublas|curand|nvrtc)'); then
        echo "error: $binary is linked to a library of NVIDIA's: $needed" >&2
        exit 1
    fi
    "$binary" --help >/dev/null
done
scripts/gpu/driver-check.sh
echo "cuda: binaries for compute capability $CUDA_COMPUTE_CAP and newer are in target/cuda/release"
