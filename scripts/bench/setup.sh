#!/bin/sh
# Installs what `make bench` compares with into .bench/: TRL, PEFT and transformers in a private
# Python environment, llama.cpp built from the source in its Python package, and SmolLM2 in bf16
# for the former and in five formats for the latter. About 7 GB and 20 minutes; existing parts are
# kept.
#   setup.sh [avx2]    avx2: llama.cpp once more, built for AVX2 (another 10 minutes)
set -eu
cd "$(dirname "$0")/../.."
scripts/bench/setup-python.sh
export PATH="$PWD/.bench/env/bin:$PATH"

# llama_cpp DIR OPTION...: builds its programs into .bench/DIR
llama_cpp() {
    dir=.bench/$1
    [ ! -x "$dir/bin/llama-quantize" ] || return 0
    shift
    version=0.3.36
    source=.bench/llama_cpp_python-$version
    if [ ! -d "$source" ]; then
        pip download -q --no-deps --no-binary llama-cpp-python -d .bench "llama-cpp-python==$version"
        tar xzf "$source.tar.gz" -C .bench
    fi
    cmake -G Ninja -S "$source/vendor/llama.cpp" -B "$dir" \
        -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF -DLLAMA_CURL=OFF -DLLAMA_BUILD_TESTS=OFF \
        -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_TOOLS=ON "$@"
    cmake --build "$dir" --target llama-batched-bench llama-quantize
}

llama_cpp llama.cpp -DGGML_NATIVE=ON
if [ "${1:-}" = avx2 ]; then
    llama_cpp llama.cpp-avx2 -DGGML_NATIVE=OFF -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON \
        -DGGML_BMI2=ON -DGGML_AVX512=OFF
fi

published=.models/smollm2-135m-instruct.gguf
if [ ! -e .bench/model/config.json ]; then
    rm -rf .bench/model.part
    python scripts/bench/peers/model.py "$published" .bench/model.part
    mv .bench/model.part .bench/model
fi
for type in F32 BF16 F16 Q8_0 Q4_0; do
    file=.bench/model-$(echo $type | tr A-Z a-z).gguf
    case $type in
        F32) from=$published ;;
        *) from=.bench/model-f32.gguf ;;
    esac
    [ ! -e "$file" ] || continue
    .bench/llama.cpp/bin/llama-quantize --allow-requantize "$from" "$file.part" $type >.bench/quantize.log 2>&1
    mv "$file.part" "$file"
done
