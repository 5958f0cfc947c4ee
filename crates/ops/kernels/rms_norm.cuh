// RMS norm: y = x·i·w with i = 1/sqrt(mean(x²) + eps); dx = i·(w∘g) − x·i³/d·Σ(w∘g∘x); dw = Σ_rows
// g∘x·i. A thread block for each row; a warp for each row of at most 4·32 numbers, as heads have.
// Both add in the same order.
#include "common.cuh"

constexpr int NORM_THREADS = 256;

// What a thread does of a row: four numbers from each multiple of `step` on, from `first`.
template <bool NARROW>
struct Part {
    u64 row = blockIdx.x;
    u32 first = threadIdx.x * 4;
    static constexpr u32 step = NORM_THREADS * 4;
    DEVICE_MEMBER static float sum(float x) { return block_sum(x); }
};

template <>
struct Part<true> {
    u64 row = u64(blockIdx.x) * (NORM_THREADS / WARP) + threadIdx.x / WARP;
    u32 first = threadIdx.x % WARP * 4;
    static constexpr u32 step = WARP * 4;
    DEVICE_MEMBER static float sum(float x) { return warp_sum(x); }
};

template <bool NARROW, class T>
DEVICE void rms_norm(const T* x, const float* w, T* y, u32 rows, u32 d, float eps) {
    Part<NARROW> part;
    if (part.row >= rows) return;
    x += part.row * d;
    y += part.row * d;
    bool whole = in_fours(x, d) && in_fours(y, d) && in_fours(w, d);
    float sum = 0;
    for (u32 i = part.first; i < d; i += part.step) {
        Four v = load4(x + i, d - i, whole);
#pragma unroll
        for (int j = 0; j < 4; j++) sum += v.at[j] * v.at[j];
    }
    float inverse = 1.f / sqrtf(part.sum(sum) / d + eps);
    for (u32 i = part.first; i < d; i += part.step) {
        Four v = load4(x + i, d - i, whole), by = load4(w + i, d - i, whole);
#pragma unroll
        for (int j = 0; j < 4; j++) v.at[j] = v.at[j] * inverse * by.at[j];
        store4(y + i, v, d - i, whole);
    }
}

// Also writes i of each row, for the gradient of w.
template <bool NARROW, class T>
DEVICE void rms_norm_backward(const T* x, const float* w, const T* g, T* dx, float* inverses, u32 rows, u32 d, float eps) {
    Part<NARROW> part;
    if (part.row >= rows) return;
    u64 at = part.row * d;
    x += at, g += at, dx += at;
    bool whole = in_fours(x, d) && in_fours(g, d) && in_fours(dx, d) && in_fours(w, d);
    float squares = 0, dot = 0;
    for (u32 i = part.first; i < d; i += part.step) {
        Four v = load4(x + i, d - i, whole), by = load4(w + i, d - i, whole), grad = load4(g + i, d - i, whole);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            squares += v.at[j] * v.at[j];
            dot += by.at[j] * grad.at[j] * v.at[j];
        }
    }
    float inverse = 1.f / sqrtf(part.sum(squares) / d + eps);
    float back = inverse * inverse * inverse * part.sum(dot) / d;
    if (part.first == 0) inverses[part.row] = inverse;
    for (u32 i = part.first; i < d; i += part.step) {
        Four v = load4(x + i, d - i, whole), by = load4(w + i, d - i, whole), grad = load4(g + i, d - i, whole);
#pragma unroll
        for (int j = 0; j < 4; j++) v.at[j] = inverse * by.at[j] * grad.at[j] - back * v.at[j];
        store4(dx + i, v, d - i, whole);
    }
}

#define RMS_NORM(NAME, NARROW, T)                                                                                                          \
    KERNEL(NORM_THREADS, rms_norm_##NAME, const T* x, const float* w, T* y, u32 rows, u32 d, float eps) {                                  \
        rms_norm<NARROW>(x, w, y, rows, d, eps);                                                                                           \
    }                                                                                                                                      \
    KERNEL(NORM_THREADS, rms_norm_backward_##NAME, const T* x, const float* w, const T* g, T* dx, float* inverses, u32 rows, u32 d,        \
           float eps) {                                                                                                                    \
        rms_norm_backward<NARROW>(x, w, g, dx, inverses, rows, d, eps);                                                                    \
    }

RMS_NORM(f32, false, float)
RMS_NORM(bf16, false, bf16)
RMS_NORM(narrow_f32, true, float)
RMS_NORM(narrow_bf16, true, bf16)

// Partial gradients of w: a thread block in y sums `each` rows, a thread one column. `parts`
// [thread blocks, d] is summed by the caller.
template <class T>
DEVICE void rms_norm_weight(const T* x, const T* g, const float* inverses, float* parts, u32 rows, u32 d, u32 each) {
    u32 column = blockIdx.x * NORM_THREADS + threadIdx.x;
    if (column >= d) return;
    u32 end = min((blockIdx.y + 1) * each, rows);
    float sum = 0;
    for (u32 row = blockIdx.y * each; row < end; row++) {
        u64 at = u64(row) * d + column;
        sum += widen(g[at]) * widen(x[at]) * inverses[row];
    }
    parts[u64(blockIdx.y) * d + column] = sum;
}

KERNEL(NORM_THREADS, rms_norm_weight_f32, const float* x, const float* g, const float* inverses, float* parts, u32 rows, u32 d, u32 each) {
    rms_norm_weight(x, g, inverses, parts, rows, d, each);
}
KERNEL(NORM_THREADS, rms_norm_weight_bf16, const bf16* x, const bf16* g, const float* inverses, float* parts, u32 rows, u32 d, u32 each) {
    rms_norm_weight(x, g, inverses, parts, rows, d, each);
}
