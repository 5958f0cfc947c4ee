// Dequantises GGUF's blocks in the layout of ggml (ggml-quants.c). A thread handles four numbers of
// one quantised block.
#include "common.cuh"

using u8 = unsigned char;

constexpr int WIDEN_THREADS = 256;

// An f16 at any address, as f32.
DEVICE float half_at(const u8* at) {
    u32 bits = (u32(at[0]) | u32(at[1]) << 8) << 16, twice = bits << 1;
    // a multiplication rebases the exponent; subnormal numbers are computed as a difference from
    // 0.5
    float size = twice < 1u << 27 ? as_float(twice >> 17 | 126u << 23) - 0.5f : as_float((twice >> 4) + (0xe0u << 23)) * as_float(0x07800000u);
    return as_float(as_bits(size) | (bits & 0x80000000u));
}

// Number i of 32 numbers of four bits: the first sixteen are in the lower halves.
DEVICE u32 four_bits(const u8* q, u32 i) { return i < 16 ? q[i] & 15u : u32(q[i - 16]) >> 4; }

// The same of five bits; `high` holds the fifth bits of all.
DEVICE u32 five_bits(const u8* high, const u8* q, u32 i) { return four_bits(q, i) | (u32(high[i / 8]) >> (i % 8) & 1u) << 4; }

struct Q4_0 {
    static constexpr u32 NUMBERS = 32, BYTES = 18;
    DEVICE_MEMBER static float number(const u8* b, u32 i) { return (float(four_bits(b + 2, i)) - 8.f) * half_at(b); }
};

struct Q4_1 {
    static constexpr u32 NUMBERS = 32, BYTES = 20;
    DEVICE_MEMBER static float number(const u8* b, u32 i) { return float(four_bits(b + 4, i)) * half_at(b) + half_at(b + 2); }
};

struct Q5_0 {
    static constexpr u32 NUMBERS = 32, BYTES = 22;
    DEVICE_MEMBER static float number(const u8* b, u32 i) { return (float(five_bits(b + 2, b + 6, i)) - 16.f) * half_at(b); }
};

struct Q5_1 {
    static constexpr u32 NUMBERS = 32, BYTES = 24;
    DEVICE_MEMBER static float number(const u8* b, u32 i) { return float(five_bits(b + 4, b + 8, i)) * half_at(b) + half_at(b + 2); }
};

struct Q8_0 {
    static constexpr u32 NUMBERS = 32, BYTES = 34;
    DEVICE_MEMBER static float number(const u8* b, u32 i) { return float(static_cast<signed char>(b[2 + i])) * half_at(b); }
};

// The formats of 256 numbers have eight groups g of 32 numbers l.

struct Q2_K {
    static constexpr u32 NUMBERS = 256, BYTES = 84;
    DEVICE_MEMBER static float number(const u8* b, u32 i) {
        u32 g = i / 32, l = i % 32, scale = b[2 * g + l / 16];
        u32 q = u32(b[16 + g / 4 * 32 + l]) >> 2 * (g % 4) & 3u;
        return half_at(b + 80) * float(scale & 15u) * float(q) - half_at(b + 82) * float(scale >> 4);
    }
};

struct Q3_K {
    static constexpr u32 NUMBERS = 256, BYTES = 110;
    DEVICE_MEMBER static float number(const u8* b, u32 i) {
        u32 g = i / 32, l = i % 32, at = 2 * g + l / 16;
        u32 scale = (u32(b[96 + at % 8]) >> 4 * (at / 8) & 15u) | (u32(b[104 + at % 4]) >> 2 * (at / 4) & 3u) << 4;
        u32 q = (u32(b[32 + g / 4 * 32 + l]) >> 2 * (g % 4) & 3u) | (u32(b[l]) >> g & 1u) << 2;
        return half_at(b + 108) * (float(scale) - 32.f) * (float(q) - 4.f);
    }
};

// Applies scale and minimum of a group, six bits each; twelve bytes hold those of eight groups.
DEVICE float scaled(const u8* b, u32 g, u32 q) {
    const u8* s = b + 4;
    u32 scale = g < 4 ? s[g] & 63u : (s[g + 4] & 15u) | u32(s[g - 4]) >> 6 << 4;
    u32 minimum = g < 4 ? s[g + 4] & 63u : u32(s[g + 4]) >> 4 | u32(s[g]) >> 6 << 4;
    return half_at(b) * float(scale) * float(q) - half_at(b + 2) * float(minimum);
}

struct Q4_K {
    static constexpr u32 NUMBERS = 256, BYTES = 144;
    DEVICE_MEMBER static float number(const u8* b, u32 i) {
        u32 g = i / 32, l = i % 32;
        return scaled(b, g, u32(b[16 + g / 2 * 32 + l]) >> 4 * (g % 2) & 15u);
    }
};

struct Q5_K {
    static constexpr u32 NUMBERS = 256, BYTES = 176;
    DEVICE_MEMBER static float number(const u8* b, u32 i) {
        u32 g = i / 32, l = i % 32;
        return scaled(b, g, (u32(b[48 + g / 2 * 32 + l]) >> 4 * (g % 2) & 15u) | (u32(b[16 + l]) >> g & 1u) << 4);
    }
};

struct Q6_K {
    static constexpr u32 NUMBERS = 256, BYTES = 210;
    DEVICE_MEMBER static float number(const u8* b, u32 i) {
        u32 g = i / 32, l = i % 32, big = g / 4, at = g % 4;
        u32 q = (u32(b[64 * big + 32 * (at % 2) + l]) >> 4 * (at / 2) & 15u) | (u32(b[128 + 32 * big + l]) >> 2 * at & 3u) << 4;
        float scale = float(static_cast<signed char>(b[192 + 2 * g + l / 16]));
        return half_at(b + 208) * scale * (float(q) - 32.f);
    }
};

// Writes the n numbers of `w`, which are whole quantised blocks, to y [n].
template <class Format, class T>
DEVICE void widen_blocks(const u8* w, T* y, u64 n) {
    u64 i = (u64(blockIdx.x) * WIDEN_THREADS + threadIdx.x) * 4;
    if (i >= n) return;
    const u8* block = w + i / Format::NUMBERS * Format::BYTES;
    u32 inside = u32(i % Format::NUMBERS);
    Four v;
#pragma unroll
    for (u32 j = 0; j < 4; j++) v.at[j] = Format::number(block, inside + j);
    store4(y + i, v, 4, in_fours(y, 4));
}

#define WIDEN(name, Format) \
    KERNEL(WIDEN_THREADS, widen_##name##_f32, const u8* w, float* y, u64 n) { widen_blocks<Format>(w, y, n); } \
    KERNEL(WIDEN_THREADS, widen_##name##_bf16, const u8* w, bf16* y, u64 n) { widen_blocks<Format>(w, y, n); }

WIDEN(q4_0, Q4_0)
WIDEN(q4_1, Q4_1)
WIDEN(q5_0, Q5_0)
WIDEN(q5_1, Q5_1)
WIDEN(q8_0, Q8_0)
WIDEN(q2_k, Q2_K)
WIDEN(q3_k, Q3_K)
WIDEN(q4_k, Q4_K)
WIDEN(q5_k, Q5_K)
WIDEN(q6_k, Q6_K)
