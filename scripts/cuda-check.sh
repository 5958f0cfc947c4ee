#!/usr/bin/env bash
# Type-checks our code with `--features cuda` on a machine without CUDA.
#
# The build scripts of cudarc and candle-kernels need nvcc. A stand-in in a private directory prints
# nvcc's version and creates empty output files. That is enough for a type check, which links and
# runs nothing. The separate target directory keeps the empty kernels out of a real CUDA build.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=$PWD/target/cuda-check
mkdir -p "$dir/toolkit/bin" "$dir/toolkit/include" "$dir/toolkit/lib64"
cat > "$dir/toolkit/bin/nvcc.new" <<'NVCC'
#!/bin/sh
# Stand-in for nvcc: answers --version and creates empty output files.
if [ "$1" = --version ]; then
    echo "nvcc: NVIDIA (R) Cuda compiler driver"
    echo "Copyright (c) 2005-2025 NVIDIA Corporation"
    echo "Built on Wed_Aug_20_01:58:59_PM_PDT_2025"
    echo "Cuda compilation tools, release 13.0, V13.0.88"
    echo "Build cuda_13.0.r13.0/compiler.36424714_0"
    exit 0
fi
out= folder= ptx= source=
while [ $# -gt 0 ]; do
    case $1 in
        -o) shift; out=$1 ;;
        --output-directory) shift; folder=$1 ;;
        --ptx) ptx=yes ;;
        *.cu) source=$1 ;;
    esac
    shift
done
if [ -n "$out" ]; then : > "$out"; fi
if [ -n "$ptx" ] && [ -n "$folder" ]; then : > "$folder/$(basename "$source" .cu).ptx"; fi
NVCC
chmod +x "$dir/toolkit/bin/nvcc.new"
# Replaced only if it changed, so that nothing is checked twice.
cmp -s "$dir/toolkit/bin/nvcc.new" "$dir/toolkit/bin/nvcc" ||
    cp "$dir/toolkit/bin/nvcc.new" "$dir/toolkit/bin/nvcc"

export CUDA_HOME=$dir/toolkit NVCC=$dir/toolkit/bin/nvcc PATH=$dir/toolkit/bin:$PATH
export CUDA_COMPUTE_CAP=90
cargo check --release --target-dir "$dir/build" --features cuda \
    -p wick -p sft -p reward-model -p esrl-rlhf -p evaluate -p bench
echo "cuda: our code type-checks (kernels not compiled)"
