#!/usr/bin/env bash
# Builds release binaries with `--features cuda` into target/cuda/release. Needs neither a GPU nor a
# driver.
#
# CUDA_COMPUTE_CAP: compute capability of the oldest GPU to support, default 80 (A100 and newer).
# The first build takes 10 minutes on 2 cores, most of it candle's own kernels.
set -euo pipefail
cd "$(dirname "$0")/.."

exports=$(scripts/cuda-toolkit.sh)
eval "$exports"
export CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP:-80}
cargo build --release --target-dir target/cuda --features cuda \
    -p wick -p sft -p reward-model -p esrl-rlhf -p evaluate -p bench

# They start without NVIDIA's libraries, which are opened on first use.
for name in wick sft reward-model esrl-rlhf evaluate; do
    binary=target/cuda/release/$name
    if needed=$(readelf -d "$binary" | grep -E 'NEEDED.*(cuda|cublas|curand|nvrtc)'); then
        echo "error: $binary is linked to an NVIDIA library: $needed" >&2
        exit 1
    fi
    "$binary" --help >/dev/null
done
scripts/gpu/driver-check.sh
echo "cuda: binaries for compute capability $CUDA_COMPUTE_CAP and newer are in target/cuda/release"
