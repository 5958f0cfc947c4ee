// RMS norm: y = x·i·w with i = 1/sqrt(mean(x²) + eps); dx = i·(w∘g) − x·i³/d·Σ(w∘g∘x); dw = Σ_rows
// g∘x·i. One thread block per row.
#include "common.cuh"

constexpr int NORM_THREADS = 256;

template <class T>
DEVICE void rms_norm(const T* x, const float* w, T* y, u32 d, float eps) {
    x += u64(blockIdx.x) * d;
    y += u64(blockIdx.x) * d;
    bool whole = in_fours(x, d) && in_fours(y, d) && in_fours(w, d);
    float sum = 0;
    for (u32 i = threadIdx.x * 4; i < d; i += NORM_THREADS * 4) {
        Four v = load4(x + i, d - i, whole);
#pragma unroll
        for (int j = 0; j < 4; j++) sum += v.at[j] * v.at[j];
    }
    float inverse = 1.f / sqrtf(block_sum(sum) / d + eps);
    for (u32 i = threadIdx.x * 4; i < d; i += NORM_THREADS * 4) {
        Four v = load4(x + i, d - i, whole), by = load4(w + i, d - i, whole);
#pragma unroll
        for (int j = 0; j < 4; j++) v.at[j] = v.at[j] * inverse * by.at[j];
        store4(y + i, v, d - i, whole);
    }
}

KERNEL(NORM_THREADS, rms_norm_f32, const float* x, const float* w, float* y, u32 d, float eps) { rms_norm(x, w, y, d, eps); }
KERNEL(NORM_THREADS, rms_norm_bf16, const bf16* x, const float* w, bf16* y, u32 d, float eps) { rms_norm(x, w, y, d, eps); }

// Also writes i of each row, for the gradient of w.
template <class T>
DEVICE void rms_norm_backward(const T* x, const float* w, const T* g, T* dx, float* inverses, u32 d, float eps) {
    u64 at = u64(blockIdx.x) * d;
    x += at, g += at, dx += at;
    bool whole = in_fours(x, d) && in_fours(g, d) && in_fours(dx, d) && in_fours(w, d);
    float squares = 0, dot = 0;
    for (u32 i = threadIdx.x * 4; i < d; i += NORM_THREADS * 4) {
        Four v = load4(x + i, d - i, whole), by = load4(w + i, d - i, whole), grad = load4(g + i, d - i, whole);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            squares += v.at[j] * v.at[j];
            dot += by.at[j] * grad.at[j] * v.at[j];
        }
    }
    float inverse = 1.f / sqrtf(block_sum(squares) / d + eps);
    float back = inverse * inverse * inverse * block_sum(dot) / d;
    if (threadIdx.x == 0) inverses[blockIdx.x] = inverse;
    for (u32 i = threadIdx.x * 4; i < d; i += NORM_THREADS * 4) {
        Four v = load4(x + i, d - i, whole), by = load4(w + i, d - i, whole), grad = load4(g + i, d - i, whole);
#pragma unroll
        for (int j = 0; j < 4; j++) v.at[j] = inverse * by.at[j] * grad.at[j] - back * v.at[j];
        store4(dx + i, v, d - i, whole);
    }
}

KERNEL(NORM_THREADS, rms_norm_backward_f32, const float* x, const float* w, const float* g, float* dx, float* inverses, u32 d, float eps) {
    rms_norm_backward(x, w, g, dx, inverses, d, eps);
}
KERNEL(NORM_THREADS, rms_norm_backward_bf16, const bf16* x, const float* w, const bf16* g, bf16* dx, float* inverses, u32 d, float eps) {
    rms_norm_backward(x, w, g, dx, inverses, d, eps);
}

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
