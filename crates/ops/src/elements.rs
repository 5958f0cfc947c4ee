//! Frozen weights as the CPU kernels read them: rows of f32, of bf16, of 8-bit integers with a
//! scale, or of quantised blocks. They become f32 on the way to a register.

use crate::quantised_blocks::{GROUP, QuantisedBlocks};
use crate::simd::{Lanes, put};
use candle_core::{CpuStorage, DType, Layout, Result, Storage, StorageRef, Tensor, bail};
use half::bf16;
use std::ops::Range;

/// An element of a weight that one instruction can widen.
pub(crate) trait Element: Copy {
    /// Elements at the end of each row that hold the scale of the row.
    const SCALE: usize = 0;
    /// The scale of a row; `after` points behind its last number.
    ///
    /// # Safety
    /// The row is complete.
    unsafe fn scale(_after: *const Self) -> f32 {
        1.0
    }
    /// # Safety
    /// As [`Lanes::load`].
    unsafe fn load<L: Lanes>(at: *const Self) -> L;
    fn to_f32(self) -> f32;
}

impl Element for f32 {
    #[inline(always)]
    unsafe fn load<L: Lanes>(at: *const Self) -> L {
        // SAFETY: as the caller guarantees.
        unsafe { L::load(at) }
    }
    fn to_f32(self) -> f32 {
        self
    }
}

impl Element for bf16 {
    #[inline(always)]
    unsafe fn load<L: Lanes>(at: *const Self) -> L {
        // SAFETY: as the caller guarantees.
        unsafe { L::load_bf16(at) }
    }
    fn to_f32(self) -> f32 {
        bf16::to_f32(self)
    }
}

impl Element for i8 {
    const SCALE: usize = SCALE;
    #[inline(always)]
    unsafe fn scale(after: *const Self) -> f32 {
        // SAFETY: the row is complete, and its scale follows it.
        unsafe { after.cast::<f32>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn load<L: Lanes>(at: *const Self) -> L {
        // SAFETY: as the caller guarantees.
        unsafe { L::load_i8(at) }
    }
    fn to_f32(self) -> f32 {
        self.into()
    }
}

/// Bytes of the scale that follows a row of 8-bit integers.
const SCALE: usize = size_of::<f32>();

/// Row-major elements of a weight. Positions and lengths count numbers, whatever their storage.
#[derive(Clone, Copy)]
pub(crate) enum Elements<'a> {
    F32(&'a [f32]),
    Bf16(&'a [bf16]),
    /// Rows of `width` bytes and a scale.
    Int8 {
        data: &'a [u8],
        width: usize,
    },
    /// Rows of `width` numbers in blocks.
    Quantised {
        data: &'a [u8],
        width: usize,
        format: QuantisedBlocks,
    },
}

impl<'a> Elements<'a> {
    pub(crate) fn len(self) -> usize {
        match self {
            Self::F32(data) => data.len(),
            Self::Bf16(data) => data.len(),
            Self::Int8 { data, width } => data.len() / (width + SCALE) * width,
            Self::Quantised { data, format, .. } => data.len() / format.bytes() * format.numbers(),
        }
    }

    pub(crate) fn address(self) -> usize {
        match self {
            Self::F32(data) => data.as_ptr().addr(),
            Self::Bf16(data) => data.as_ptr().addr(),
            Self::Int8 { data, .. } | Self::Quantised { data, .. } => data.as_ptr().addr(),
        }
    }

    /// A range; of 8-bit integers and quantised blocks, whole rows.
    pub(crate) fn part(self, range: Range<usize>) -> Self {
        match self {
            Self::F32(data) => Self::F32(&data[range]),
            Self::Bf16(data) => Self::Bf16(&data[range]),
            Self::Int8 { data, width } => {
                let rows = range.start / width..range.end / width;
                assert!(range == (rows.start * width..rows.end * width));
                let data = &data[rows.start * (width + SCALE)..rows.end * (width + SCALE)];
                Self::Int8 { data, width }
            }
            Self::Quantised {
                data,
                width,
                format,
            } => {
                assert!(range.start.is_multiple_of(width) && range.end.is_multiple_of(width));
                let byte = |at: usize| format.row_bytes(at);
                let data = &data[byte(range.start)..byte(range.end)];
                Self::Quantised {
                    data,
                    width,
                    format,
                }
            }
        }
    }

    /// Elements `at..at + out.len()`, all of one row, as f32.
    ///
    /// # Safety
    /// As [`Lanes`].
    #[inline(always)]
    pub(crate) unsafe fn widen<L: Lanes>(self, at: usize, out: &mut [f32]) {
        let n = out.len();
        match self {
            Self::F32(data) => out.copy_from_slice(&data[at..at + n]),
            Self::Bf16(data) => {
                let data = &data[at..at + n];
                let whole = n / L::N * L::N;
                for i in (0..whole).step_by(L::N) {
                    // SAFETY: in bounds; as the caller guarantees.
                    unsafe { put::<L>(out, i, Element::load(data.as_ptr().add(i))) };
                }
                for i in whole..n {
                    out[i] = data[i].to_f32();
                }
            }
            Self::Int8 { data, width } => {
                let (row, column) = (at / width, at % width);
                let row = &data[row * (width + SCALE)..(row + 1) * (width + SCALE)];
                let whole = n / L::N * L::N;
                assert!(column + n <= width);
                // SAFETY: in bounds by the assertion; as the caller guarantees.
                unsafe {
                    let numbers = row.as_ptr().cast::<i8>();
                    let scale = i8::scale(numbers.add(width));
                    for i in (0..whole).step_by(L::N) {
                        let lanes = L::load_i8(numbers.add(column + i));
                        put::<L>(out, i, lanes.mul(L::splat(scale)));
                    }
                    for i in whole..n {
                        out[i] = (*numbers.add(column + i)).to_f32() * scale;
                    }
                }
            }
            Self::Quantised { data, format, .. } => widen_blocks(data, format, at, out),
        }
    }
}

/// Matches the format outside the loop, so that its sizes are constants inside.
#[inline(always)]
fn widen_blocks(data: &[u8], format: QuantisedBlocks, at: usize, out: &mut [f32]) {
    match format {
        QuantisedBlocks::Q4_0 => widen_groups(data, QuantisedBlocks::Q4_0, at, out),
        QuantisedBlocks::Q4_1 => widen_groups(data, QuantisedBlocks::Q4_1, at, out),
        QuantisedBlocks::Q5_0 => widen_groups(data, QuantisedBlocks::Q5_0, at, out),
        QuantisedBlocks::Q5_1 => widen_groups(data, QuantisedBlocks::Q5_1, at, out),
        QuantisedBlocks::Q8_0 => widen_groups(data, QuantisedBlocks::Q8_0, at, out),
        QuantisedBlocks::Q2_K => widen_groups(data, QuantisedBlocks::Q2_K, at, out),
        QuantisedBlocks::Q3_K => widen_groups(data, QuantisedBlocks::Q3_K, at, out),
        QuantisedBlocks::Q4_K => widen_groups(data, QuantisedBlocks::Q4_K, at, out),
        QuantisedBlocks::Q5_K => widen_groups(data, QuantisedBlocks::Q5_K, at, out),
        QuantisedBlocks::Q6_K => widen_groups(data, QuantisedBlocks::Q6_K, at, out),
    }
}

/// Rows are whole blocks, so a position in the weight is also one in its blocks.
#[inline(always)]
fn widen_groups(data: &[u8], format: QuantisedBlocks, mut at: usize, out: &mut [f32]) {
    let (numbers, bytes) = (format.numbers(), format.bytes());
    let block = |at: usize| &data[at / numbers * bytes..][..bytes];
    // the rest of a group that began before, whole groups, the beginning of a last one
    let before = (at.next_multiple_of(GROUP) - at).min(out.len());
    let (first, out) = out.split_at_mut(before);
    let mut whole = [0.0; GROUP];
    if before > 0 {
        format.group(block(at), at % numbers / GROUP, &mut whole);
        first.copy_from_slice(&whole[at % GROUP..][..before]);
        at += before;
    }
    let (groups, last) = out.as_chunks_mut();
    for out in groups {
        format.group(block(at), at % numbers / GROUP, out);
        at += GROUP;
    }
    if !last.is_empty() {
        format.group(block(at), at % numbers / GROUP, &mut whole);
        last.copy_from_slice(&whole[..last.len()]);
    }
}

/// The elements of a contiguous weight in main memory.
pub(crate) fn elements<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<Elements<'a>> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("ops: the weight is not contiguous")
    };
    match storage {
        CpuStorage::F32(data) => Ok(Elements::F32(&data[start..end])),
        CpuStorage::BF16(data) => Ok(Elements::Bf16(&data[start..end])),
        CpuStorage::U8(data) => {
            let data = &data[start..end];
            match (layout.dims(), QuantisedBlocks::of_dims(layout.dims())) {
                ([_, blocks, _], Some(format)) => Ok(Elements::Quantised {
                    data,
                    width: blocks * format.numbers(),
                    format,
                }),
                ([_, width], _) if *width > SCALE => Ok(Elements::Int8 {
                    data,
                    width: width - SCALE,
                }),
                (dims, _) => bail!("ops: bytes {dims:?} are not a weight"),
            }
        }
        _ => bail!("ops: expected a weight of f32, bf16, 8 bits or quantised blocks"),
    }
}

/// A weight in main memory, opened for reading.
pub(crate) struct Frozen<'a> {
    storage: StorageRef<'a>,
    layout: &'a Layout,
}

impl<'a> Frozen<'a> {
    /// Whether the CPU kernels read this weight.
    pub(crate) fn reads(weight: &Tensor) -> bool {
        let known = matches!(weight.dtype(), DType::F32 | DType::BF16 | DType::U8);
        weight.device().is_cpu() && known
    }

    pub(crate) fn of(weight: &'a Tensor) -> Result<Self> {
        let (storage, layout) = weight.storage_and_layout();
        match Self::reads(weight) && layout.is_contiguous() {
            true => Ok(Self { storage, layout }),
            false => {
                bail!(
                    "ops: expected a contiguous weight of f32, bf16, 8 bits or quantised blocks in main memory"
                )
            }
        }
    }

    pub(crate) fn elements(&self) -> Elements<'_> {
        match &*self.storage {
            Storage::Cpu(data) => elements(data, self.layout).expect("checked when opened"),
            _ => unreachable!("checked when opened"),
        }
    }
}

/// Numbers in a row of `weight`, which may be [`in_8_bits`] or quantised.
pub(crate) fn width(weight: &Tensor) -> Result<usize> {
    match (weight.dtype(), weight.dims()) {
        (DType::U8, [_, width]) if *width >= SCALE => Ok(width - SCALE),
        (DType::U8, dims) => match (dims, QuantisedBlocks::of_dims(dims)) {
            ([_, blocks, _], Some(format)) => Ok(blocks * format.numbers()),
            _ => bail!("ops: bytes {dims:?} are neither a weight of 8 bits nor quantised blocks"),
        },
        _ => Ok(weight.dims2()?.1),
    }
}

/// `weight` [out, in] with each row as 8-bit integers from -127 to 127 times a scale of the row: u8
/// [out, in + 4], where the bytes of the scale (f32, native order) follow the row. The largest
/// number of a row is exact up to rounding; the error of the others is at most half a scale. On the
/// CPU.
pub fn in_8_bits(weight: &Tensor) -> Result<Tensor> {
    let (rows, width) = weight.dims2()?;
    let numbers = weight
        .to_dtype(DType::F32)?
        .flatten_all()?
        .to_vec1::<f32>()?;
    let mut bytes = Vec::with_capacity(rows * (width + SCALE));
    for row in numbers.chunks_exact(width.max(1)) {
        let largest = row.iter().fold(0f32, |largest, x| largest.max(x.abs()));
        let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
        bytes.extend(row.iter().map(|x| (x / scale).round() as i8 as u8));
        bytes.extend(scale.to_ne_bytes());
    }
    Tensor::from_vec(bytes, (rows, width + SCALE), weight.device())
}
