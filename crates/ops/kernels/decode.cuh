// Decoding: writing rows into the KV cache, and attention of single queries over runs of cached
// rows.
#include "common.cuh"

constexpr int DECODE_THREADS = 128;

// store[rows[i]] = src[i], rows of `words` 32-bit words; one thread block per row.
KERNEL(DECODE_THREADS, scatter_rows, u32* store, const u32* src, const u32* rows, u32 words) {
    const u32* from = src + u64(blockIdx.x) * words;
    u32* to = store + u64(rows[blockIdx.x]) * words;
    for (u32 i = threadIdx.x; i < words; i += DECODE_THREADS) to[i] = from[i];
}

// Rotates the pairs (j, j + half) of each head of one token by the angles of its position and
// copies the numbers from 2·half on.
template <class T>
DEVICE void rotate(const T* x, T* y, const float* cosines, const float* sines, u32 width, u32 head_dim, u32 half) {
    u32 of_head = head_dim - half;
    for (u32 i = threadIdx.x; i < width / head_dim * of_head; i += DECODE_THREADS) {
        u32 j = i % of_head, first = i / of_head * head_dim + j;
        if (j >= half) {
            y[first + half] = x[first + half];
            continue;
        }
        float a = widen(x[first]), b = widen(x[first + half]), cosine = cosines[j], sine = sines[j];
        y[first] = narrow<T>(a * cosine - b * sine);
        y[first + half] = narrow<T>(b * cosine + a * sine);
    }
}

// One thread block per token: rotates its queries, and writes its rotated keys and its values into
// row rows[token] of the caches.
template <class T>
DEVICE void rotate_into(const T* q, const T* k, const T* v, const float* cosines, const float* sines, const u32* positions, const u32* rows,
                        T* rotated, T* keys, T* values, u32 width, u32 kv_width, u32 head_dim, u32 half) {
    u32 token = blockIdx.x;
    u64 angle = u64(positions[token]) * half, from = u64(token) * kv_width, to = u64(rows[token]) * kv_width;
    rotate(q + u64(token) * width, rotated + u64(token) * width, cosines + angle, sines + angle, width, head_dim, half);
    rotate(k + from, keys + to, cosines + angle, sines + angle, kv_width, head_dim, half);
    for (u32 i = threadIdx.x; i < kv_width; i += DECODE_THREADS) values[to + i] = v[from + i];
}

KERNEL(DECODE_THREADS, rotate_into_f32, const float* q, const float* k, const float* v, const float* c, const float* s, const u32* at, const u32* rows,
       float* rotated, float* keys, float* values, u32 width, u32 kv_width, u32 head_dim, u32 half) {
    rotate_into(q, k, v, c, s, at, rows, rotated, keys, values, width, kv_width, head_dim, half);
}
KERNEL(DECODE_THREADS, rotate_into_bf16, const bf16* q, const bf16* k, const bf16* v, const float* c, const float* s, const u32* at, const u32* rows,
       bf16* rotated, bf16* keys, bf16* values, u32 width, u32 kv_width, u32 head_dim, u32 half) {
    rotate_into(q, k, v, c, s, at, rows, rotated, keys, values, width, kv_width, head_dim, half);
}

// Keys that a warp loads ahead.
constexpr int AHEAD = 4;

// Running softmax of a warp: the largest score, Σ exp(score − largest), Σ exp(score −
// largest)·value.
template <int PER>
struct Seen {
    float most, sum, at[PER];
};

// One thread block per query and head. q, out [n, H·D]; keys, values [S, K·D]; runs[firsts[i] ..
// firsts[i + 1]] are the runs (row, length) of query i. A lane holds PER of the D numbers of the
// head; each of the four warps takes every fourth group of AHEAD keys.
template <class T, int D>
DEVICE void cached_attention(const T* q, const T* keys, const T* values, const u32* firsts, const uint2* runs, T* out, u32 heads, u32 groups,
                             float scale) {
    constexpr int PER = D < WARP ? 1 : D / WARP, WARPS = DECODE_THREADS / WARP;
    u32 query = blockIdx.x, head = blockIdx.y, width = heads / groups * D;
    u32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, mine = lane * PER;
    bool has = mine < D;
    keys += head / groups * D + mine;
    values += head / groups * D + mine;
    u64 at = (u64(query) * heads + head) * D;
    float x[PER];
#pragma unroll
    for (int i = 0; i < PER; i++) x[i] = has ? widen(q[at + mine + i]) * scale : 0.f;

    Seen<PER> seen = {-INFINITY, 0, {}};
    for (u32 run = firsts[query]; run < firsts[query + 1]; run++) {
        uint2 rows = runs[run];
        for (u32 start = warp * AHEAD; start < rows.y; start += WARPS * AHEAD) {
            float score[AHEAD], value[AHEAD][PER];
#pragma unroll
            for (int j = 0; j < AHEAD; j++) {
                bool there = has && start + j < rows.y;
                u64 from = u64(rows.x + start + j) * width;
                score[j] = 0;
#pragma unroll
                for (int i = 0; i < PER; i++) {
                    score[j] += there ? x[i] * widen(keys[from + i]) : 0.f;
                    value[j][i] = there ? widen(values[from + i]) : 0.f;
                }
            }
            float most = seen.most;
#pragma unroll
            for (int j = 0; j < AHEAD; j++) {
                score[j] = start + j < rows.y ? warp_sum(score[j]) : -INFINITY;
                most = fmaxf(most, score[j]);
            }
            float shrink = expf(seen.most - most);
            seen.most = most;
            seen.sum *= shrink;
#pragma unroll
            for (int i = 0; i < PER; i++) seen.at[i] *= shrink;
#pragma unroll
            for (int j = 0; j < AHEAD; j++) {
                float weight = expf(score[j] - most);
                seen.sum += weight;
#pragma unroll
                for (int i = 0; i < PER; i++) seen.at[i] += weight * value[j][i];
            }
        }
    }

    __shared__ float mosts[WARPS], sums[WARPS], parts[WARPS][D];
    if (lane == 0) mosts[warp] = seen.most, sums[warp] = seen.sum;
    if (has)
#pragma unroll
        for (int i = 0; i < PER; i++) parts[warp][mine + i] = seen.at[i];
    __syncthreads();
    float most = mosts[0], sum = 0;
#pragma unroll
    for (int w = 1; w < WARPS; w++) most = fmaxf(most, mosts[w]);
#pragma unroll
    for (int w = 0; w < WARPS; w++) sum += sums[w] * expf(mosts[w] - most);
    for (u32 i = threadIdx.x; i < D; i += DECODE_THREADS) {
        float y = 0;
#pragma unroll
        for (int w = 0; w < WARPS; w++) y += parts[w][i] * expf(mosts[w] - most);
        out[at + i] = narrow<T>(y / sum);
    }
}

#define CACHED_ATTENTION(D)                                                                                                                 \
    KERNEL(DECODE_THREADS, cached_attention_##D##_f32, const float* q, const float* keys, const float* values, const u32* firsts,           \
           const uint2* runs, float* out, u32 heads, u32 groups, float scale) {                                                             \
        cached_attention<float, D>(q, keys, values, firsts, runs, out, heads, groups, scale);                                               \
    }                                                                                                                                       \
    KERNEL(DECODE_THREADS, cached_attention_##D##_bf16, const bf16* q, const bf16* keys, const bf16* values, const u32* firsts,             \
           const uint2* runs, bf16* out, u32 heads, u32 groups, float scale) {                                                              \
        cached_attention<bf16, D>(q, keys, values, firsts, runs, out, heads, groups, scale);                                                \
    }

CACHED_ATTENTION(16)
CACHED_ATTENTION(32)
CACHED_ATTENTION(64)
CACHED_ATTENTION(96)
CACHED_ATTENTION(128)
