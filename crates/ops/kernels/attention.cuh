// Causal attention over ragged sequences on the tensor cores, forward and backward, without a [T,
// T] matrix in memory (Dao 2023, FlashAttention-2, algorithms 1 and 2). q, out and their gradients
// are [N, H·D], k, v and their gradients [N, K·D], in bf16; scores, sums and products are f32.
//
// A thread block handles 64 queries (or keys) of one head, a warp 16 of them. P =
// softmax(scale·Q·Kᵀ) over the context of a query: the rows of the sequence that it continues, then
// its own, of which it sees the last `window` up to itself. dV = Pᵀ·dO; dS = scale·P∘(dO·Vᵀ − Σ
// dO∘O); dQ = dS·K; dK = dSᵀ·Q. There are no atomics, so results are deterministic.
//
// The kernels are longer than 80 lines: their parts share registers and shared memory.
#include "common.cuh"

constexpr int ATTENTION_THREADS = 128;
constexpr int TILE = 64;        // queries, or keys, of a thread block
constexpr int HALF_TILE = 32;   // rows of the other side at a time, where registers are scarce
constexpr float LOG2E = 1.4426950408889634f;

// Queries row .. row + n of one sequence. The first is column `position` of its context.
struct QueryTile {
    u32 row, n, position, prefix, prefix_len, own;

    // The token row of a column.
    DEVICE_MEMBER u32 key(u32 column) const { return column < prefix_len ? prefix + column : own + column - prefix_len; }
    // The first column that the first query sees.
    DEVICE_MEMBER u32 first(u32 window) const { return position < window ? 0 : position + 1 - window; }
};

// Whether the query at one column of a context sees the key at another.
DEVICE bool sees(u32 query, u32 key, u32 window) { return key <= query && query - key < window; }

// Keys row .. row + n. The first is token `column` of the sequence that begins at row `own`.
// Entries first .. first + count of `children` are the sequences that continue it.
struct KeyTile {
    u32 row, n, column, own, own_len, first, count;
};

// Rows of a tile in shared memory are padded, so that eight of them are in different banks.
template <int D>
constexpr int STRIDE = D + 8;

// Copies `ROWS` rows of D from global memory, with zeros from row `n` on. `row(i)` is the token row
// of row i.
template <int D, int ROWS, class Row>
DEVICE void load_rows(bf16* to, const bf16* from, u32 width, u32 n, Row row) {
    constexpr int PACKS = D / 8;
    for (int i = threadIdx.x; i < ROWS * PACKS; i += ATTENTION_THREADS) {
        u32 r = i / PACKS, c = i % PACKS * 8;
        uint4 pack = {0, 0, 0, 0};
        if (r < n) pack = *reinterpret_cast<const uint4*>(from + u64(row(r)) * width + c);
        *reinterpret_cast<uint4*>(to + r * STRIDE<D> + c) = pack;
    }
}

// Rows 0-15, columns 16k .. 16k + 15, as the left factor of a product.
template <int D>
DEVICE void left(u32 (&a)[4], const bf16* rows, int k) {
    u32 lane = threadIdx.x % WARP;
    load_matrices<false>(a, rows + (lane / 8 % 2 * 8 + lane % 8) * STRIDE<D> + k * 16 + lane / 16 * 8);
}

// Rows 0-15 transposed, as columns of the right factor, 16 of D from 16k on: b[0], b[1] of rows
// 0-7, b[2], b[3] of rows 8-15.
template <int D>
DEVICE void right_transposed(u32 (&b)[4], const bf16* rows, int k) {
    u32 lane = threadIdx.x % WARP;
    load_matrices<false>(b, rows + (lane / 16 * 8 + lane % 8) * STRIDE<D> + k * 16 + lane / 8 % 2 * 8);
}

// Rows 0-15, columns 16n .. 16n + 15, as the right factor: b[0], b[1] of the first eight columns,
// b[2], b[3] of the others.
template <int D>
DEVICE void right(u32 (&b)[4], const bf16* rows, int n) {
    u32 lane = threadIdx.x % WARP;
    load_matrices<true>(b, rows + (lane / 8 % 2 * 8 + lane % 8) * STRIDE<D> + n * 16 + lane / 16 * 8);
}

template <int N>
DEVICE void clear(float (&x)[N][4]) {
#pragma unroll
    for (int i = 0; i < N; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) x[i][j] = 0;
}

// x[16, 8·N] = a·rowsᵀ, with `a` [16, D] in registers and 8·N rows in shared memory.
template <int D, int N>
DEVICE void times_transposed(float (&x)[N][4], const u32 (&a)[D / 16][4], const bf16* rows) {
    clear(x);
#pragma unroll
    for (int k = 0; k < D / 16; k++)
#pragma unroll
        for (int n = 0; n < N; n += 2) {
            u32 b[4];
            right_transposed<D>(b, rows + n * 8 * STRIDE<D>, k);
            multiply_add(x[n], a[k], b[0], b[1]);
            multiply_add(x[n + 1], a[k], b[2], b[3]);
        }
}

// The same with the 16 rows of the left factor in shared memory.
template <int D, int N>
DEVICE void times_transposed(float (&x)[N][4], const bf16* a_rows, const bf16* rows) {
    clear(x);
#pragma unroll
    for (int k = 0; k < D / 16; k++) {
        u32 a[4];
        left<D>(a, a_rows, k);
#pragma unroll
        for (int n = 0; n < N; n += 2) {
            u32 b[4];
            right_transposed<D>(b, rows + n * 8 * STRIDE<D>, k);
            multiply_add(x[n], a, b[0], b[1]);
            multiply_add(x[n + 1], a, b[2], b[3]);
        }
    }
}

// y[16, D] += x[16, 8·N]·rows, with x, the result of a product, rounded to bf16.
template <int D, int N>
DEVICE void add_times(float (&y)[D / 8][4], const float (&x)[N][4], const bf16* rows) {
#pragma unroll
    for (int k = 0; k < N; k += 2) {
        u32 a[4] = {pair(x[k][0], x[k][1]), pair(x[k][2], x[k][3]), pair(x[k + 1][0], x[k + 1][1]), pair(x[k + 1][2], x[k + 1][3])};
#pragma unroll
        for (int n = 0; n < D / 16; n++) {
            u32 b[4];
            right<D>(b, rows + k * 8 * STRIDE<D>, n);
            multiply_add(y[2 * n], a, b[0], b[1]);
            multiply_add(y[2 * n + 1], a, b[2], b[3]);
        }
    }
}

// A row of a product is distributed over four lanes.
DEVICE float row_sum(float x) {
    x += __shfl_xor_sync(ALL_LANES, x, 1);
    return x + __shfl_xor_sync(ALL_LANES, x, 2);
}
DEVICE float row_max(float x) {
    x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, 1));
    return fmaxf(x, __shfl_xor_sync(ALL_LANES, x, 2));
}

// Writes by·y of the lane's two rows, if they are below `n`.
template <int D>
DEVICE void store_rows(bf16* to, u32 width, u32 n, const float (&y)[D / 8][4], const float (&by)[2]) {
    u32 lane = threadIdx.x % WARP, first = threadIdx.x / WARP * 16 + lane / 4;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        u32 row = first + half * 8;
        if (row >= n) continue;
#pragma unroll
        for (int i = 0; i < D / 8; i++) {
            u32 two = pair(y[i][2 * half] * by[half], y[i][2 * half + 1] * by[half]);
            *reinterpret_cast<u32*>(to + u64(row) * width + i * 8 + lane % 4 * 2) = two;
        }
    }
}

// `lse` [N, H]: log Σ exp of each query's scaled scores.
template <int D>
DEVICE void attention(const bf16* q, const bf16* k, const bf16* v, bf16* out, float* lse, const QueryTile* tiles, u32 window, u32 heads, u32 groups,
                      float scale) {
    QueryTile tile = tiles[blockIdx.x];
    u32 head = blockIdx.y, kv_width = heads / groups * D, width = heads * D;
    u32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    q += head * D;
    k += head / groups * D;
    v += head / groups * D;
    SHARED(bf16, keys);
    bf16* values = keys + TILE * STRIDE<D>;

    u32 a[D / 16][4];
    load_rows<D, TILE>(keys, q, width, tile.n, [&](u32 i) { return tile.row + i; });
    __syncthreads();
#pragma unroll
    for (int i = 0; i < D / 16; i++) left<D>(a[i], keys + warp * 16 * STRIDE<D>, i);

    float sum[2] = {0, 0}, most[2] = {-INFINITY, -INFINITY};
    float o[D / 8][4];
    clear(o);
    u32 columns = tile.position + tile.n;
    for (u32 start = tile.first(window); start < columns; start += TILE) {
        __syncthreads();
        auto row = [&](u32 i) { return tile.key(start + i); };
        load_rows<D, TILE>(keys, k, kv_width, columns - start, row);
        load_rows<D, TILE>(values, v, kv_width, columns - start, row);
        __syncthreads();
        float s[TILE / 8][4];
        times_transposed<D>(s, a, keys);
#pragma unroll
        for (int half = 0; half < 2; half++) {
            u32 query = tile.position + warp * 16 + lane / 4 + half * 8;
            float now = most[half];
#pragma unroll
            for (int n = 0; n < TILE / 8; n++)
#pragma unroll
                for (int j = 2 * half; j < 2 * half + 2; j++) {
                    if (!sees(query, start + n * 8 + lane % 4 * 2 + j % 2, window)) s[n][j] = -INFINITY;
                    now = fmaxf(now, s[n][j]);
                }
            now = row_max(now);
            // query i of the tile sees one of the first i + 1 columns, so `now` is finite from the
            // first iteration on
            float shrink = exp2f((most[half] - now) * scale * LOG2E), part = 0;
            most[half] = now;
#pragma unroll
            for (int n = 0; n < TILE / 8; n++)
#pragma unroll
                for (int j = 2 * half; j < 2 * half + 2; j++) {
                    s[n][j] = exp2f((s[n][j] - now) * scale * LOG2E);
                    part += s[n][j];
                }
            sum[half] = sum[half] * shrink + row_sum(part);
#pragma unroll
            for (int i = 0; i < D / 8; i++) {
                o[i][2 * half] *= shrink;
                o[i][2 * half + 1] *= shrink;
            }
        }
        add_times<D>(o, s, values);
    }
    float by[2] = {1.f / sum[0], 1.f / sum[1]};
    store_rows<D>(out + u64(tile.row) * width + head * D, width, tile.n, o, by);
    if (lane % 4 == 0)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            u32 i = warp * 16 + lane / 4 + half * 8;
            if (i < tile.n) lse[u64(tile.row + i) * heads + head] = most[half] * scale + logf(sum[half]);
        }
}

// The probability of one score.
DEVICE float probability(float score, float scale, float lse) { return exp2f((score * scale - lse) * LOG2E); }

// dQ, and Σ dO∘O of each query into `dots` [N, H].
template <int D>
DEVICE void attention_queries(const bf16* q, const bf16* k, const bf16* v, const bf16* out, const bf16* dout, const float* lse, float* dots,
                              bf16* dq, const QueryTile* tiles, u32 window, u32 heads, u32 groups, float scale) {
    QueryTile tile = tiles[blockIdx.x];
    u32 head = blockIdx.y, kv_width = heads / groups * D, width = heads * D;
    u32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    k += head / groups * D;
    v += head / groups * D;
    SHARED(bf16, keys);
    bf16* values = keys + HALF_TILE * STRIDE<D>;

    // load the queries and their gradients by way of the memory of keys and values
    u32 a[D / 16][4], da[D / 16][4];
    auto query = [&](u32 i) { return tile.row + i; };
    load_rows<D, TILE>(keys, q + head * D, width, tile.n, query);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < D / 16; i++) left<D>(a[i], keys + warp * 16 * STRIDE<D>, i);
    __syncthreads();
    load_rows<D, TILE>(keys, dout + head * D, width, tile.n, query);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < D / 16; i++) left<D>(da[i], keys + warp * 16 * STRIDE<D>, i);

    float dot[2] = {0, 0}, norm[2] = {0, 0};
    for (u32 i = 0; i < 16; i++) {
        u32 at = warp * 16 + i;
        float part = 0;
        if (at < tile.n)
            for (u32 c = lane; c < D; c += WARP) {
                u64 from = u64(tile.row + at) * width + head * D + c;
                part += widen(out[from]) * widen(dout[from]);
            }
        part = warp_sum(part);
        if (at < tile.n) {
            u64 of = u64(tile.row + at) * heads + head;
            if (lane == 0) dots[of] = part;
            if (i % 8 == lane / 4) dot[i / 8] = part, norm[i / 8] = lse[of];
        }
    }

    float d[D / 8][4];
    clear(d);
    u32 columns = tile.position + tile.n;
    for (u32 start = tile.first(window); start < columns; start += HALF_TILE) {
        __syncthreads();
        auto row = [&](u32 i) { return tile.key(start + i); };
        load_rows<D, HALF_TILE>(keys, k, kv_width, columns - start, row);
        load_rows<D, HALF_TILE>(values, v, kv_width, columns - start, row);
        __syncthreads();
        float s[HALF_TILE / 8][4], ds[HALF_TILE / 8][4];
        times_transposed<D>(s, a, keys);
        times_transposed<D>(ds, da, values);
#pragma unroll
        for (int n = 0; n < HALF_TILE / 8; n++)
#pragma unroll
            for (int j = 0; j < 4; j++) {
                u32 query = tile.position + warp * 16 + lane / 4 + j / 2 * 8;
                bool seen = sees(query, start + n * 8 + lane % 4 * 2 + j % 2, window);
                float p = seen ? probability(s[n][j], scale, norm[j / 2]) : 0.f;
                ds[n][j] = p * (ds[n][j] - dot[j / 2]) * scale;
            }
        add_times<D>(d, ds, keys);
    }
    float by[2] = {1, 1};
    store_rows<D>(dq + u64(tile.row) * width + head * D, width, tile.n, d, by);
}

// dK and dV, from the `lse` and `dots` of the kernels before. `children`: row and length of each
// sequence that continues another.
template <int D>
DEVICE void attention_keys(const bf16* q, const bf16* k, const bf16* v, const bf16* dout, const float* lse, const float* dots, bf16* dk,
                           bf16* dv, const KeyTile* tiles, const uint2* children, u32 window, u32 heads, u32 groups, float scale) {
    KeyTile tile = tiles[blockIdx.x];
    u32 kv_head = blockIdx.y, kv_width = heads / groups * D, width = heads * D;
    u32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    SHARED(bf16, keys);
    bf16* values = keys + TILE * STRIDE<D>;
    bf16* queries = values + TILE * STRIDE<D>;
    bf16* grads = queries + HALF_TILE * STRIDE<D>;
    float* norms = reinterpret_cast<float*>(grads + HALF_TILE * STRIDE<D>);
    float* sums = norms + HALF_TILE;

    auto key = [&](u32 i) { return tile.row + i; };
    load_rows<D, TILE>(keys, k + kv_head * D, kv_width, tile.n, key);
    load_rows<D, TILE>(values, v + kv_head * D, kv_width, tile.n, key);
    float d_key[D / 8][4], d_value[D / 8][4];
    clear(d_key);
    clear(d_value);
    for (u32 run = 0; run <= tile.count; run++) {
        // the queries of its own sequence from the first key of the tile on, then those of the
        // sequences that continue it
        uint2 rows = {tile.own + tile.column, tile.own_len - tile.column};
        // columns from the first key to the first query
        u32 apart = 0;
        if (run > 0) rows = children[tile.first + run - 1], apart = tile.own_len - tile.column;
        // the last key is out of sight for the queries after these
        u32 reached = tile.n - 1 + window;
        rows.y = min(rows.y, reached < apart ? 0u : reached - apart);
        for (u32 head = kv_head * groups; head < (kv_head + 1) * groups; head++)
            for (u32 start = 0; start < rows.y; start += HALF_TILE) {
                u32 left_over = rows.y - start, row = rows.x + start;
                __syncthreads();
                auto query = [&](u32 i) { return row + i; };
                load_rows<D, HALF_TILE>(queries, q + head * D, width, left_over, query);
                load_rows<D, HALF_TILE>(grads, dout + head * D, width, left_over, query);
                for (u32 i = threadIdx.x; i < HALF_TILE; i += ATTENTION_THREADS) {
                    bool there = i < left_over;
                    norms[i] = there ? lse[u64(row + i) * heads + head] : 0.f;
                    sums[i] = there ? dots[u64(row + i) * heads + head] : 0.f;
                }
                __syncthreads();
                // keys by queries
                float p[HALF_TILE / 8][4], ds[HALF_TILE / 8][4];
                times_transposed<D>(p, keys + warp * 16 * STRIDE<D>, queries);
                times_transposed<D>(ds, values + warp * 16 * STRIDE<D>, grads);
#pragma unroll
                for (int n = 0; n < HALF_TILE / 8; n++)
#pragma unroll
                    for (int j = 0; j < 4; j++) {
                        u32 of = n * 8 + lane % 4 * 2 + j % 2, at = warp * 16 + lane / 4 + j / 2 * 8;
                        bool seen = of < left_over && sees(apart + start + of, at, window);
                        p[n][j] = seen ? probability(p[n][j], scale, norms[of]) : 0.f;
                        ds[n][j] = p[n][j] * (ds[n][j] - sums[of]) * scale;
                    }
                add_times<D>(d_value, p, grads);
                add_times<D>(d_key, ds, queries);
            }
    }
    float by[2] = {1, 1};
    store_rows<D>(dk + u64(tile.row) * kv_width + kv_head * D, kv_width, tile.n, d_key, by);
    store_rows<D>(dv + u64(tile.row) * kv_width + kv_head * D, kv_width, tile.n, d_value, by);
}

#define ATTENTION(D)                                                                                                                      \
    KERNEL(ATTENTION_THREADS, attention_##D, const bf16* q, const bf16* k, const bf16* v, bf16* out, float* lse, const QueryTile* tiles,  \
           u32 window, u32 heads, u32 groups, float scale) {                                                                             \
        attention<D>(q, k, v, out, lse, tiles, window, heads, groups, scale);                                                                     \
    }                                                                                                                                     \
    KERNEL(ATTENTION_THREADS, attention_queries_##D, const bf16* q, const bf16* k, const bf16* v, const bf16* out, const bf16* dout,      \
           const float* lse, float* dots, bf16* dq, const QueryTile* tiles, u32 window, u32 heads, u32 groups, float scale) {             \
        attention_queries<D>(q, k, v, out, dout, lse, dots, dq, tiles, window, heads, groups, scale);                                             \
    }                                                                                                                                     \
    KERNEL(ATTENTION_THREADS, attention_keys_##D, const bf16* q, const bf16* k, const bf16* v, const bf16* dout, const float* lse,        \
           const float* dots, bf16* dk, bf16* dv, const KeyTile* tiles, const uint2* children, u32 window, u32 heads, u32 groups,         \
           float scale) {                                                                                                                \
        attention_keys<D>(q, k, v, dout, lse, dots, dk, dv, tiles, children, window, heads, groups, scale);                                       \
    }

ATTENTION(16)
ATTENTION(32)
ATTENTION(64)
ATTENTION(96)
ATTENTION(128)
