//! What each format's bytes mean, 32 numbers at a time. The order of the operations is ggml's, so the numbers are the same to the last bit;
//! plain loops over arrays, which the compiler turns into the vectors of the function that they are inlined into.

use candle_core::quantized::GgmlDType;

/// Numbers that are widened together.
pub(crate) const GROUP: usize = 32;

/// A block format, by ggml's name.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocks {
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2_K,
    Q3_K,
    Q4_K,
    Q5_K,
    Q6_K,
}

impl Blocks {
    pub const ALL: [Self; 10] = [
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q2_K,
        Self::Q3_K,
        Self::Q4_K,
        Self::Q5_K,
        Self::Q6_K,
    ];

    /// candle's name of it.
    pub fn ggml(self) -> GgmlDType {
        match self {
            Self::Q4_0 => GgmlDType::Q4_0,
            Self::Q4_1 => GgmlDType::Q4_1,
            Self::Q5_0 => GgmlDType::Q5_0,
            Self::Q5_1 => GgmlDType::Q5_1,
            Self::Q8_0 => GgmlDType::Q8_0,
            Self::Q2_K => GgmlDType::Q2K,
            Self::Q3_K => GgmlDType::Q3K,
            Self::Q4_K => GgmlDType::Q4K,
            Self::Q5_K => GgmlDType::Q5K,
            Self::Q6_K => GgmlDType::Q6K,
        }
    }

    /// As files and settings write it: `q4_0`.
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// Numbers of a block.
    #[inline(always)]
    pub fn numbers(self) -> usize {
        match self {
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 => 32,
            Self::Q2_K | Self::Q3_K | Self::Q4_K | Self::Q5_K | Self::Q6_K => 256,
        }
    }

    /// Bytes of a block.
    #[inline(always)]
    pub fn bytes(self) -> usize {
        match self {
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q8_0 => 34,
            Self::Q2_K => 84,
            Self::Q3_K => 110,
            Self::Q4_K => 144,
            Self::Q5_K => 176,
            Self::Q6_K => 210,
        }
    }

    /// Bytes of a row of `width` numbers, which are whole blocks.
    pub fn row_bytes(self, width: usize) -> usize {
        width / self.numbers() * self.bytes()
    }

    /// Numbers `32·g..32·g + 32` of a block.
    #[inline(always)]
    pub(crate) fn group(self, block: &[u8], g: usize, out: &mut [f32; GROUP]) {
        match self {
            Self::Q4_0 => {
                let (d, q) = (f16_at(block, 0), bytes::<16>(block, 2));
                for i in 0..16 {
                    let q = u32::from(q[i]);
                    out[i] = (number(q & 15) - 8.0) * d;
                    out[i + 16] = (number(q >> 4) - 8.0) * d;
                }
            }
            Self::Q4_1 => {
                let (d, m) = (f16_at(block, 0), f16_at(block, 2));
                let q = bytes::<16>(block, 4);
                for i in 0..16 {
                    let q = u32::from(q[i]);
                    out[i] = number(q & 15) * d + m;
                    out[i + 16] = number(q >> 4) * d + m;
                }
            }
            Self::Q5_0 => {
                let d = f16_at(block, 0);
                fives(bytes(block, 2), bytes(block, 6), out);
                for out in out {
                    *out = (*out - 16.0) * d;
                }
            }
            Self::Q5_1 => {
                let (d, m) = (f16_at(block, 0), f16_at(block, 2));
                fives(bytes(block, 4), bytes(block, 8), out);
                for out in out {
                    *out = *out * d + m;
                }
            }
            Self::Q8_0 => {
                let (d, q) = (f16_at(block, 0), bytes::<32>(block, 2));
                for i in 0..32 {
                    out[i] = f32::from(q[i] as i8) * d;
                }
            }
            Self::Q2_K => {
                let (d, min) = (f16_at(block, 80), f16_at(block, 82));
                for half in 0..2 {
                    let q = bytes::<16>(block, 16 + g / 4 * 32 + 16 * half);
                    let (scale, shift) = (block[2 * g + half], 2 * (g % 4));
                    let (dl, ml) = (d * f32::from(scale & 15), min * f32::from(scale >> 4));
                    for i in 0..16 {
                        out[16 * half + i] = dl * number((u32::from(q[i]) >> shift) & 3) - ml;
                    }
                }
            }
            Self::Q3_K => {
                let d = f16_at(block, 108);
                for half in 0..2 {
                    let high = bytes::<16>(block, 16 * half);
                    let q = bytes::<16>(block, 32 + g / 4 * 32 + 16 * half);
                    let scale = six_bits(bytes(block, 96), 2 * g + half);
                    let (dl, shift) = (d * (f32::from(scale) - 32.0), 2 * (g % 4));
                    for i in 0..16 {
                        let high = (u32::from(high[i]) >> g) & 1;
                        let q = (u32::from(q[i]) >> shift) & 3 | high << 2;
                        out[16 * half + i] = dl * (number(q) - 4.0);
                    }
                }
            }
            Self::Q4_K => {
                let (d, m) = scale_and_min(block, g);
                let (q, shift) = (bytes::<32>(block, 16 + g / 2 * 32), 4 * (g % 2));
                for i in 0..32 {
                    out[i] = d * number((u32::from(q[i]) >> shift) & 15) - m;
                }
            }
            Self::Q5_K => {
                let (d, m) = scale_and_min(block, g);
                let high = bytes::<32>(block, 16);
                let (q, shift) = (bytes::<32>(block, 48 + g / 2 * 32), 4 * (g % 2));
                for i in 0..32 {
                    let high = (u32::from(high[i]) >> g) & 1;
                    out[i] = d * number((u32::from(q[i]) >> shift) & 15 | high << 4) - m;
                }
            }
            Self::Q6_K => {
                let (big, at, d) = (g / 4, g % 4, f16_at(block, 208));
                let (shift, of_high) = (4 * (at / 2), 2 * at);
                for half in 0..2 {
                    let q = bytes::<16>(block, 64 * big + 32 * (at % 2) + 16 * half);
                    let high = bytes::<16>(block, 128 + 32 * big + 16 * half);
                    let dl = d * f32::from(block[192 + 2 * g + half] as i8);
                    for i in 0..16 {
                        let high = (u32::from(high[i]) >> of_high) & 3;
                        let q = (u32::from(q[i]) >> shift) & 15 | high << 4;
                        out[16 * half + i] = dl * (number(q) - 32.0);
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn bytes<const N: usize>(block: &[u8], at: usize) -> &[u8; N] {
    block[at..].first_chunk().expect("a whole block")
}

/// A few bits, in a lane as wide as the result, so that every step is one of vectors.
#[inline(always)]
fn number(bits: u32) -> f32 {
    bits as i32 as f32
}

/// Five bits each: the fifth bits of all in `high`.
#[inline(always)]
fn fives(high: &[u8; 4], q: &[u8; 16], out: &mut [f32; GROUP]) {
    let high = u32::from_le_bytes(*high);
    for i in 0..16 {
        let (q, fifth) = (u32::from(q[i]), high >> i);
        out[i] = number(q & 15 | (fifth & 1) << 4);
        out[i + 16] = number(q >> 4 | (fifth >> 16 & 1) << 4);
    }
}

/// Scale and minimum of a group of q4_k and q5_k: six bits each, eight of both in twelve bytes.
#[inline(always)]
fn scale_and_min(block: &[u8], g: usize) -> (f32, f32) {
    let s = bytes::<12>(block, 4);
    let (scale, min) = match g < 4 {
        true => (s[g] & 63, s[g + 4] & 63),
        false => (
            s[g + 4] & 15 | s[g - 4] >> 6 << 4,
            s[g + 4] >> 4 | s[g] >> 6 << 4,
        ),
    };
    (
        f16_at(block, 0) * f32::from(scale),
        f16_at(block, 2) * f32::from(min),
    )
}

/// Scale `at` of sixteen in q3_k: four bits in the first eight bytes, two in the last four.
#[inline(always)]
fn six_bits(s: &[u8; 12], at: usize) -> u8 {
    let low = s[at % 8] >> (4 * (at / 8)) & 15;
    low | (s[8 + at % 4] >> (2 * (at / 4)) & 3) << 4
}

/// Two bytes of f16, without a call or a table: exponents are moved by a multiplication, and numbers below the least normal one
/// counted from a half.
#[inline(always)]
fn f16_at(block: &[u8], at: usize) -> f32 {
    let bits = u32::from(u16::from_le_bytes(*bytes(block, at))) << 16;
    let twice = bits << 1;
    let size = match twice < 1 << 27 {
        true => f32::from_bits(twice >> 17 | 126 << 23) - 0.5,
        false => f32::from_bits((twice >> 4) + (0xe0 << 23)) * f32::from_bits(0x0780_0000),
    };
    f32::from_bits(size.to_bits() | bits & 0x8000_0000)
}
