#!/bin/sh
# Installs what `make bench` compares with into .bench/: TRL, PEFT and transformers in a private
# Python environment, llama.cpp built from the source in its Python package, and SmolLM2 in bf16
# (all sides but one compute with it in f32). About 7 GB and 20 minutes; existing parts are kept.
set -eu
cd "$(dirname "$0")/../.."
scripts/bench/setup-python.sh
if [ ! -x .bench/llama.cpp/bin/llama-quantize ]; then
    version=0.3.36
    env PATH="$PWD/.bench/env/bin:$PATH" .bench/env/bin/pip download -q --no-deps --no-binary llama-cpp-python -d .bench "llama-cpp-python==$version"
    tar xzf ".bench/llama_cpp_python-$version.tar.gz" -C .bench
    env PATH="$PWD/.bench/env/bin:$PATH" cmake -G Ninja -S ".bench/llama_cpp_python-$version/vendor/llama.cpp" -B .bench/llama.cpp \
        -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DBUILD_SHARED_LIBS=OFF -DLLAMA_CURL=OFF -DLLAMA_BUILD_TESTS=OFF \
        -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_TOOLS=ON
    env PATH="$PWD/.bench/env/bin:$PATH" cmake --build .bench/llama.cpp --target llama-batched-bench llama-quantize
fi
if [ ! -e .bench/model-bf16.gguf ]; then
    .bench/env/bin/python scripts/bench/peers/model.py .models/smollm2-135m-instruct.gguf .bench/model
    for type in F32 BF16; do
        file=.bench/model-$(echo $type | tr A-Z a-z).gguf
        .bench/llama.cpp/bin/llama-quantize --allow-requantize .models/smollm2-135m-instruct.gguf "$file.part" $type >.bench/quantize.log 2>&1
        mv "$file.part" "$file"
    done
fi
