// Runs CUDA thread blocks on a CPU, for tests. A thread is a fiber, thread blocks run one after
// another, a barrier waits for every thread of the thread block (or warp). What a GPU does in
// parallel happens here in a fixed order or its reverse; running both shows whether a result
// depends on the order.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <algorithm>
#include <tuple>
#include <utility>

struct dim3 {
    unsigned x, y, z;
};

struct alignas(8) uint2 {
    unsigned x, y;
};

struct alignas(16) uint4 {
    unsigned x, y, z, w;
};

using std::max;
using std::memcpy;
using std::min;

#define __shared__ static

namespace emulator {

extern dim3 grid, block, at_block, at_thread;

void* shared_memory();
void sync_block();
// Copies `size` bytes of every lane of the warp to `all`, lane by lane.
void exchange(const void* mine, unsigned size, void* all);

void multiply_add(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1);
void load_matrices(unsigned (&r)[4], const void* row, bool transposed);

using Body = void (*)(void (*)(), void**);
void enlist(const char* name, unsigned threads, void (*kernel)(), Body body);

struct Registered {
    template <class... Args>
    Registered(const char* name, unsigned threads, void (*kernel)(Args...)) {
        enlist(name, threads, reinterpret_cast<void (*)()>(kernel), [](void (*kernel)(), void** args) {
            call(reinterpret_cast<void (*)(Args...)>(kernel), args, std::index_sequence_for<Args...>());
        });
    }

  private:
    template <class... Args, std::size_t... I>
    static void call(void (*kernel)(Args...), void** args, std::index_sequence<I...>) {
        kernel(*static_cast<Args*>(args[I])...);
    }
};

template <class T>
T shuffle_xor(T x, unsigned by) {
    T all[32];
    exchange(&x, sizeof x, all);
    return all[(at_thread.x % 32) ^ by];
}

template <class T>
T shuffle(T x, unsigned lane) {
    T all[32];
    exchange(&x, sizeof x, all);
    return all[lane % 32];
}

}  // namespace emulator

#define gridDim emulator::grid
#define blockDim emulator::block
#define blockIdx emulator::at_block
#define threadIdx emulator::at_thread
#define __syncthreads() emulator::sync_block()
#define __shfl_xor_sync(mask, x, by) emulator::shuffle_xor(x, by)
#define __shfl_sync(mask, x, lane) emulator::shuffle(x, lane)
#define __syncwarp() ((void)emulator::shuffle_xor(0, 0))
