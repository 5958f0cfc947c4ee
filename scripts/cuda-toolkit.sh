#!/usr/bin/env bash
# Finds NVIDIA's compiler and prints the exports for it: eval "$(scripts/cuda-toolkit.sh)".
#
# Uses the toolkit of CUDA_HOME, else that of nvcc in PATH. Without one, installs NVIDIA's compiler
# wheels into .cuda/ (300 MB, once; needs python3 with venv and the package registry). Compiling
# needs neither a GPU nor a driver.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -n "${CUDA_HOME:-}" ] && [ -x "$CUDA_HOME/bin/nvcc" ]; then
    home=$CUDA_HOME
elif nvcc=$(command -v nvcc); then
    home=$(dirname "$(dirname "$(readlink -f "$nvcc")")")
else
    wheels='nvidia-cuda-nvcc==13.0.88 nvidia-cuda-runtime==13.0.96 nvidia-cuda-crt==13.0.88'
    wheels+=' nvidia-nvvm==13.0.88 nvidia-cuda-cccl==13.0.85'
    if [ "$(cat .cuda/wheels 2>/dev/null)" != "$wheels" ]; then
        python3 -m venv .cuda
        # shellcheck disable=SC2086 # one word per wheel
        .cuda/bin/pip install -q --disable-pip-version-check $wheels >&2
        # build scripts look for lib64
        for cu13 in .cuda/lib/python3*/site-packages/nvidia/cu13; do ln -sfn lib "$cu13/lib64"; done
        echo "$wheels" > .cuda/wheels
    fi
    home=$(echo "$PWD"/.cuda/lib/python3*/site-packages/nvidia/cu13)
fi
printf 'export CUDA_HOME=%q NVCC=%q PATH=%q:"$PATH"\n' "$home" "$home/bin/nvcc" "$home/bin"
