//! GGUF's quantised weights: blocks of 32 or 256 numbers of 2 to 8 bits that share scales, as ggml
//! lays them out (`ggml-common.h`, `ggml-quants.c`).
//!
//! Such a weight is a tensor of bytes [out, blocks, bytes of a block]. The bytes of a block tell
//! the format, for no two formats have the same size. Numbers are unpacked 32 at a time in ggml's
//! order of operations, so they are the same to the last bit; plain loops over arrays, which the
//! compiler vectorises where they are inlined.
//!
//! Long because `group` has one arm per format, each with the layout that ggml gives it.

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Result, Tensor, bail};

/// Numbers that are unpacked together.
pub(crate) const GROUP: usize = 32;

/// A format of quantised blocks, by ggml's name.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuantisedBlocks {
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

impl QuantisedBlocks {
    /// Every format.
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

    /// Candle's name of the format.
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

    /// The name in files and settings: `q4_0`.
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// Numbers in a block.
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

    /// Bytes of a row of `width` numbers, which is a whole number of blocks.
    pub fn row_bytes(self, width: usize) -> usize {
        width / self.numbers() * self.bytes()
    }

    /// Where a block's scales in f16 are: byte offsets.
    fn scales(self) -> &'static [usize] {
        match self {
            Self::Q4_0 | Self::Q5_0 | Self::Q8_0 => &[0],
            Self::Q4_1 | Self::Q5_1 | Self::Q4_K | Self::Q5_K => &[0, 2],
            Self::Q2_K => &[80, 82],
            Self::Q3_K => &[108],
            Self::Q6_K => &[208],
        }
    }

    /// The first scale of a weight that is NaN or infinite, with the number of its block.
    pub fn bad_scale(self, weight: &Tensor) -> Result<Option<(usize, f32)>> {
        let bytes = weight.flatten_all()?.to_vec1::<u8>()?;
        let blocks = bytes.chunks_exact(self.bytes()).enumerate();
        let mut scales = blocks.flat_map(|(nth, block)| {
            let of_block = self.scales().iter();
            of_block.map(move |at| (nth, f16_at(block, *at)))
        });
        Ok(scales.find(|(_, scale)| !scale.is_finite()))
    }

    /// Unpacks numbers `32·g..32·g + 32` of a block.
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
                five_bits(bytes(block, 2), bytes(block, 6), out);
                for out in out {
                    *out = (*out - 16.0) * d;
                }
            }
            Self::Q5_1 => {
                let (d, m) = (f16_at(block, 0), f16_at(block, 2));
                five_bits(bytes(block, 4), bytes(block, 8), out);
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

impl QuantisedBlocks {
    /// The format of a weight. `None`: it is not quantised.
    pub fn of(weight: &Tensor) -> Option<Self> {
        Self::of_dims(weight.dims()).filter(|_| weight.dtype() == DType::U8)
    }

    /// The format of bytes [out, blocks, bytes of a block] of this shape.
    pub(crate) fn of_dims(dims: &[usize]) -> Option<Self> {
        match dims {
            [_, _, bytes] => Self::ALL.into_iter().find(|b| b.bytes() == *bytes),
            _ => None,
        }
    }

    /// A weight [out, in] from its bytes, row after row.
    pub fn weight(
        self,
        data: &[u8],
        (out, input): (usize, usize),
        device: &Device,
    ) -> Result<Tensor> {
        let shape = (out, input / self.numbers(), self.bytes());
        if input % self.numbers() != 0 || data.len() != shape.0 * shape.1 * shape.2 {
            bail!(
                "{} bytes do not make a weight [{out}, {input}] of {}",
                data.len(),
                self.name()
            )
        }
        Tensor::from_slice(data, shape, device)
    }

    /// Quantises `weight` [out, in] of f32 or bf16, whose rows are whole blocks, by ggml's
    /// reference quantisers (in candle's port), on the CPU.
    pub fn round(self, weight: &Tensor) -> Result<Tensor> {
        let blocks = QTensor::quantize(&weight.detach(), self.ggml())?;
        self.weight(&blocks.data()?, weight.dims2()?, &Device::Cpu)
    }
}

#[inline(always)]
fn bytes<const N: usize>(block: &[u8], at: usize) -> &[u8; N] {
    block[at..].first_chunk().expect("a whole block")
}

/// A few bits as f32, by way of a 32-bit integer, so that the compiler can vectorise every step.
#[inline(always)]
fn number(bits: u32) -> f32 {
    bits as i32 as f32
}

/// Numbers of five bits each; `high` holds the fifth bits of all.
#[inline(always)]
fn five_bits(high: &[u8; 4], q: &[u8; 16], out: &mut [f32; GROUP]) {
    let high = u32::from_le_bytes(*high);
    for i in 0..16 {
        let (q, fifth) = (u32::from(q[i]), high >> i);
        out[i] = number(q & 15 | (fifth & 1) << 4);
        out[i + 16] = number(q >> 4 | (fifth >> 16 & 1) << 4);
    }
}

/// Scale and minimum of a group of q4_k and q5_k: six bits each, eight pairs in twelve bytes.
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

/// Two bytes of f16 as f32, without a call or a table: a multiplication rebases the exponent, and
/// subnormal numbers are computed as a difference from 0.5.
#[inline(always)]
pub(crate) fn f16_at(block: &[u8], at: usize) -> f32 {
    let bits = u32::from(u16::from_le_bytes(*bytes(block, at))) << 16;
    let twice = bits << 1;
    let size = match twice < 1 << 27 {
        true => f32::from_bits(twice >> 17 | 126 << 23) - 0.5,
        false => f32::from_bits((twice >> 4) + (0xe0 << 23)) * f32::from_bits(0x0780_0000),
    };
    f32::from_bits(size.to_bits() | bits & 0x8000_0000)
}
