// Element-wise operations: rope, swiglu, dropout, AdamW. A thread handles four elements; of rope,
// one pair, or one number that is not rotated.
#include "common.cuh"

constexpr int ELEMENT_THREADS = 256;

// Rotates the pairs (j, j + half) of each head by the angle of the token's position and copies the
// numbers from 2·half on; `sign` −1 rotates back. x, y [n, width].
template <class T>
DEVICE void rope(const T* x, const float* cosines, const float* sines, const u32* positions, T* y, u32 n, u32 width, u32 head_dim, u32 half,
                 float sign) {
    u64 i = u64(blockIdx.x) * ELEMENT_THREADS + threadIdx.x;
    u32 of_head = head_dim - half, of_token = width / head_dim * of_head;
    if (i >= u64(n) * of_token) return;
    u32 token = u32(i / of_token), inside = u32(i % of_token);
    u32 head = inside / of_head, j = inside % of_head;
    u64 first = u64(token) * width + u64(head) * head_dim + j, angle = u64(positions[token]) * half + j;
    if (j >= half) {
        y[first + half] = x[first + half];
        return;
    }
    float a = widen(x[first]), b = widen(x[first + half]);
    float cosine = cosines[angle], sine = sines[angle] * sign;
    y[first] = narrow<T>(a * cosine - b * sine);
    y[first + half] = narrow<T>(b * cosine + a * sine);
}

KERNEL(ELEMENT_THREADS, rope_f32, const float* x, const float* c, const float* s, const u32* at, float* y, u32 n, u32 width, u32 head_dim, u32 half,
       float sign) {
    rope(x, c, s, at, y, n, width, head_dim, half, sign);
}
KERNEL(ELEMENT_THREADS, rope_bf16, const bf16* x, const float* c, const float* s, const u32* at, bf16* y, u32 n, u32 width, u32 head_dim, u32 half,
       float sign) {
    rope(x, c, s, at, y, n, width, head_dim, half, sign);
}

DEVICE float sigmoid(float x) { return 1.f / (1.f + expf(-x)); }

// silu(gate)·up over n elements.
template <class T>
DEVICE void swiglu(const T* gate, const T* up, T* y, u64 n) {
    u64 i = (u64(blockIdx.x) * ELEMENT_THREADS + threadIdx.x) * 4;
    if (i >= n) return;
    u32 left = n - i < 4 ? u32(n - i) : 4;
    bool whole = left == 4 && in_fours(gate, 4) && in_fours(up, 4) && in_fours(y, 4);
    Four a = load4(gate + i, left, whole), b = load4(up + i, left, whole);
#pragma unroll
    for (int j = 0; j < 4; j++) a.at[j] = a.at[j] * sigmoid(a.at[j]) * b.at[j];
    store4(y + i, a, left, whole);
}

KERNEL(ELEMENT_THREADS, swiglu_f32, const float* gate, const float* up, float* y, u64 n) { swiglu(gate, up, y, n); }
KERNEL(ELEMENT_THREADS, swiglu_bf16, const bf16* gate, const bf16* up, bf16* y, u64 n) { swiglu(gate, up, y, n); }

// With s = sigmoid(gate): dgate = g·up·s·(1 + gate·(1 − s)); dup = g·gate·s.
template <class T>
DEVICE void swiglu_backward(const T* gate, const T* up, const T* g, T* dgate, T* dup, u64 n) {
    u64 i = (u64(blockIdx.x) * ELEMENT_THREADS + threadIdx.x) * 4;
    if (i >= n) return;
    u32 left = n - i < 4 ? u32(n - i) : 4;
    bool whole = left == 4 && in_fours(gate, 4) && in_fours(up, 4) && in_fours(g, 4) && in_fours(dgate, 4) && in_fours(dup, 4);
    Four a = load4(gate + i, left, whole), b = load4(up + i, left, whole), grad = load4(g + i, left, whole);
#pragma unroll
    for (int j = 0; j < 4; j++) {
        float s = sigmoid(a.at[j]), both = grad.at[j] * s;
        float of_gate = both * b.at[j] * (1.f + a.at[j] * (1.f - s));
        b.at[j] = both * a.at[j];
        a.at[j] = of_gate;
    }
    store4(dgate + i, a, left, whole);
    store4(dup + i, b, left, whole);
}

KERNEL(ELEMENT_THREADS, swiglu_backward_f32, const float* gate, const float* up, const float* g, float* dgate, float* dup, u64 n) {
    swiglu_backward(gate, up, g, dgate, dup, n);
}
KERNEL(ELEMENT_THREADS, swiglu_backward_bf16, const bf16* gate, const bf16* up, const bf16* g, bf16* dgate, bf16* dup, u64 n) {
    swiglu_backward(gate, up, g, dgate, dup, n);
}

// Philox4x32-10 (Salmon et al. 2011): four random numbers from a counter and a key.
DEVICE void philox(u32 (&counter)[4], u32 key0, u32 key1) {
#pragma unroll
    for (int round = 0; round < 10; round++) {
        u64 first = u64(0xD2511F53u) * counter[0], second = u64(0xCD9E8D57u) * counter[2];
        u32 next[4] = {u32(second >> 32) ^ counter[1] ^ key0, u32(second), u32(first >> 32) ^ counter[3] ^ key1, u32(first)};
#pragma unroll
        for (int i = 0; i < 4; i++) counter[i] = next[i];
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
}

// Zeroes the elements whose random number is below `threshold` and multiplies the others by `keep`.
// Element i of stream `stream` uses number i % 4 of counter (i / 4, stream), in the backward pass,
// too.
template <class T>
DEVICE void drop_out(const T* x, T* y, u64 n, u32 seed0, u32 seed1, u32 stream, u32 threshold, float keep) {
    u64 group = u64(blockIdx.x) * ELEMENT_THREADS + threadIdx.x, i = group * 4;
    if (i >= n) return;
    u32 left = n - i < 4 ? u32(n - i) : 4;
    bool whole = left == 4 && in_fours(x, 4) && in_fours(y, 4);
    u32 random[4] = {u32(group), u32(group >> 32), stream, 0};
    philox(random, seed0, seed1);
    Four v = load4(x + i, left, whole);
#pragma unroll
    for (int j = 0; j < 4; j++) v.at[j] = random[j] < threshold ? 0.f : v.at[j] * keep;
    store4(y + i, v, left, whole);
}

KERNEL(ELEMENT_THREADS, drop_out_f32, const float* x, float* y, u64 n, u32 seed0, u32 seed1, u32 stream, u32 threshold, float keep) {
    drop_out(x, y, n, seed0, seed1, stream, threshold, keep);
}
KERNEL(ELEMENT_THREADS, drop_out_bf16, const bf16* x, bf16* y, u64 n, u32 seed0, u32 seed1, u32 stream, u32 threshold, float keep) {
    drop_out(x, y, n, seed0, seed1, stream, threshold, keep);
}

// AdamW (Loshchilov & Hutter 2019) by PyTorch's rule, in place over n elements. `grad_scale` clips,
// the rates are 1 − β, `size` is lr/(1 − β1^t), `correction` sqrt(1 − β2^t), `keep` 1 − lr·decay.
KERNEL(ELEMENT_THREADS, adamw, float* p, float* m, float* v, const float* g, u64 n, float grad_scale, float rate1, float beta2, float rate2,
       float eps, float size, float correction, float keep) {
    u64 i = (u64(blockIdx.x) * ELEMENT_THREADS + threadIdx.x) * 4;
    if (i >= n) return;
    u32 left = n - i < 4 ? u32(n - i) : 4;
    bool whole = left == 4 && in_fours(p, 4) && in_fours(m, 4) && in_fours(v, 4) && in_fours(g, 4);
    Four param = load4(p + i, left, whole), first = load4(m + i, left, whole), second = load4(v + i, left, whole);
    Four grad = load4(g + i, left, whole);
#pragma unroll
    for (int j = 0; j < 4; j++) {
        float x = grad.at[j] * grad_scale;
        first.at[j] += (x - first.at[j]) * rate1;
        second.at[j] = second.at[j] * beta2 + x * x * rate2;
        param.at[j] = param.at[j] * keep - size * (first.at[j] / (sqrtf(second.at[j]) / correction + eps));
    }
    store4(p + i, param, left, whole);
    store4(m + i, first, left, whole);
    store4(v + i, second, left, whole);
}
