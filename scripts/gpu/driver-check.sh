#!/usr/bin/env bash
# Runs the binaries of `make cuda` against a fake driver (driver.c): every reason why a GPU cannot
# be used is one line and exit code 2. Needs neither a GPU nor a real driver.
set -euo pipefail
cd "$(dirname "$0")/../.."

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
sft=$PWD/target/cuda/release/sft

# expect TEXT DEVICE [VARIABLE=VALUE ...]
expect() {
    local text=$1 device=$2 rc=0
    shift 2
    env "$@" "$sft" --config configs/tiny/sft.toml --run "$dir/run" --set "device=$device" 2>"$dir/err" || rc=$?
    if [ $rc != 2 ] || [ "$(wc -l <"$dir/err")" != 1 ] || ! grep -qF "error: device \"$device\": $text" "$dir/err" || [ -e "$dir/run" ]; then
        echo "error: exit code $rc where 2 and «$text» was due:" >&2
        cat "$dir/err" >&2
        exit 1
    fi
    sed 's/^error: /  /' "$dir/err"
}

if ! ldconfig -p | grep -q libcuda.so.1; then
    expect "no NVIDIA driver is installed" cuda
fi
cc -shared -fPIC -o "$dir/libcuda.so.1" scripts/gpu/driver.c
export LD_LIBRARY_PATH=$dir CARDS="Old-Card:10 New-Card:200"
expect "the NVIDIA driver runs CUDA 11.8 and this binary needs " cuda DRIVER=11080
export DRIVER=99000
expect "the NVIDIA driver does not start: " cuda INIT=803
expect "the NVIDIA driver finds no GPU" cuda INIT=100
expect "the NVIDIA driver finds no GPU" cuda CARDS=
expect "there is no GPU 2; there are 2: 0 (Old-Card), 1 (New-Card)" cuda:2
expect "GPU 0, Old-Card, has compute capability 1.0, and this binary is for " cuda
if ! ldconfig -p | grep -q libcublas.so; then
    expect "libcublas.so.13, libcublasLt.so.13, libcurand.so.10 are not found" cuda:1 CUDA_HOME=/nowhere CUDA_PATH=
fi
env CARDS= "$sft" --config configs/tiny/sft.toml --run "$dir/auto" --set device=auto --set train.max_steps=1 2>"$dir/err"
grep "device: the CPU, since the NVIDIA driver finds no GPU" "$dir/err"
