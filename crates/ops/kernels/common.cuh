// What all kernels share: loads and stores, sums over a warp and a thread block, the tensor cores'
// product. Compiled by nvcc for GPUs, and by a C++ compiler with tests/emulator for tests without a
// GPU. No CUDA header is included, and everything that is not plain C++ is in this file, once for
// each compiler.
#pragma once

using u16 = unsigned short;
using u32 = unsigned int;
using u64 = unsigned long long;

#ifdef __CUDACC__
#define DEVICE __device__ __forceinline__
#define DEVICE_MEMBER __device__ __forceinline__
// A kernel with thread blocks of `threads` threads, launched by its name.
#define KERNEL(threads, name, ...) extern "C" __global__ void __launch_bounds__(threads) name(__VA_ARGS__)
// Shared memory of the thread block; the launch sets its size.
#define SHARED(type, name) \
    extern __shared__ uint4 shared_memory[]; \
    type* name = reinterpret_cast<type*>(shared_memory)
#else
#include "emulator.h"
#define DEVICE static inline
#define DEVICE_MEMBER inline
#define KERNEL(threads, name, ...) \
    static void name(__VA_ARGS__); \
    static const emulator::Registered registered_##name(#name, threads, name); \
    static void name(__VA_ARGS__)
#define SHARED(type, name) type* name = reinterpret_cast<type*>(emulator::shared_memory())
#endif

constexpr u32 ALL_LANES = 0xffffffffu;
constexpr int WARP = 32;

// The upper half of an f32.
struct bf16 {
    u16 bits;
};

DEVICE float as_float(u32 bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

DEVICE u32 as_bits(float x) {
    u32 bits;
    memcpy(&bits, &x, 4);
    return bits;
}

DEVICE float widen(float x) { return x; }
DEVICE float widen(bf16 x) { return as_float(u32(x.bits) << 16); }

DEVICE void assign(float& to, float x) { to = x; }
// Rounds to nearest, ties to even.
DEVICE void assign(bf16& to, float x) {
#ifdef __CUDACC__
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(to.bits) : "f"(x));
#else
    u32 bits = as_bits(x);
    to.bits = x != x ? u16(bits >> 16 | 0x40) : u16((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
#endif
}

template <class T>
DEVICE T narrow(float x) {
    T y;
    assign(y, x);
    return y;
}

// Two bf16 in a register, the first in the lower half.
DEVICE u32 pair(float low, float high) {
    return u32(narrow<bf16>(low).bits) | u32(narrow<bf16>(high).bits) << 16;
}

// Four neighbouring elements. If `whole`, they are aligned and moved at once; else only those below
// `n` are moved, and zeros are loaded for the others.
struct Four {
    float at[4];
};

template <class T>
struct alignas(4 * sizeof(T)) Quad {
    T at[4];
};

template <class T>
DEVICE Four load4(const T* from, u32 n, bool whole) {
    Four v;
    if (whole) {
        Quad<T> q = *reinterpret_cast<const Quad<T>*>(from);
#pragma unroll
        for (int i = 0; i < 4; i++) v.at[i] = widen(q.at[i]);
    } else {
#pragma unroll
        for (u32 i = 0; i < 4; i++) v.at[i] = i < n ? widen(from[i]) : 0.f;
    }
    return v;
}

template <class T>
DEVICE void store4(T* to, const Four& v, u32 n, bool whole) {
    if (whole) {
        Quad<T> q;
#pragma unroll
        for (int i = 0; i < 4; i++) q.at[i] = narrow<T>(v.at[i]);
        *reinterpret_cast<Quad<T>*>(to) = q;
    } else {
#pragma unroll
        for (u32 i = 0; i < 4; i++)
            if (i < n) to[i] = narrow<T>(v.at[i]);
    }
}

// Whether every row of `width` elements at `at` is aligned to four elements.
template <class T>
DEVICE bool in_fours(const T* at, u32 width) {
    return width % 4 == 0 && reinterpret_cast<u64>(at) % (4 * sizeof(T)) == 0;
}

template <class T>
DEVICE T warp_sum(T x) {
#pragma unroll
    for (int step = WARP / 2; step > 0; step /= 2) x += __shfl_xor_sync(ALL_LANES, x, step);
    return x;
}

DEVICE float warp_max(float x) {
#pragma unroll
    for (int step = WARP / 2; step > 0; step /= 2) x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, step));
    return x;
}

// The sum over a thread block of whole warps; every thread gets it. The order of the sum is fixed.
template <class T>
DEVICE T block_sum(T x) {
    __shared__ T parts[WARP];
    x = warp_sum(x);
    __syncthreads();
    if (threadIdx.x % WARP == 0) parts[threadIdx.x / WARP] = x;
    __syncthreads();
    T sum = 0;
    for (u32 i = 0; i < blockDim.x / WARP; i++) sum += parts[i];
    return sum;
}

DEVICE float block_max(float x) {
    __shared__ float parts[WARP];
    x = warp_max(x);
    __syncthreads();
    if (threadIdx.x % WARP == 0) parts[threadIdx.x / WARP] = x;
    __syncthreads();
    float most = parts[0];
    for (u32 i = 1; i < blockDim.x / WARP; i++) most = fmaxf(most, parts[i]);
    return most;
}

// d += a·b of a 16 x 16 and a 16 x 8 matrix of bf16, d in f32, distributed over a warp (PTX ISA,
// mma.m16n8k16). Lane l holds: of a the pairs of columns 2(l%4) and 2(l%4)+8 in rows l/4 and l/4+8,
// as a[column/8·2 + row/8]; of b the pairs of rows 2(l%4), +8 in column l/4; of d the columns
// 2(l%4), +1 in rows l/4 (d[0], d[1]) and l/4+8 (d[2], d[3]).
DEVICE void multiply_add(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
#ifdef __CUDACC__
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
    emulator::multiply_add(d, a, b0, b1);
#endif
}

// Loads four 8 x 8 matrices of bf16 from shared memory (PTX ISA, ldmatrix). Lane l passes the
// address of row l%8 of matrix l/8 and receives in r[i] elements 2(l%4), +1 of row l/4 of matrix i;
// TRANSPOSED: of column l/4.
template <bool TRANSPOSED>
DEVICE void load_matrices(u32 (&r)[4], const bf16* row) {
#ifdef __CUDACC__
    u32 at = u32(__cvta_generic_to_shared(row));
    if (TRANSPOSED)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(at)
                     : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(at)
                     : "memory");
#else
    emulator::load_matrices(r, row, TRANSPOSED);
#endif
}
