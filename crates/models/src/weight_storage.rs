//! How the matrices of a base are kept, and whether bf16 holds a file's numbers, asked of the file before they are loaded. Most checkpoints were
//! written in bf16, whatever the dtype of their files.

use crate::{BaseWeights, Result};
use candle_core::{CpuStorage, DType, Device, Storage, Tensor};
use half::f16;
use ops::Blocks;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// How matrices are kept that lie in no blocks; everything else is f32. The kernels of `ops` read all of them and give f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightStorage {
    /// In bf16 where that holds every number of the matrix: nothing changes but the memory and the order of some sums
    Exact,
    /// In bf16, rounded
    Rounded,
    /// In f32, as the file has it, blocks widened
    Whole,
}

/// What a matrix is in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    F32,
    Bf16,
    Blocks(Blocks),
}

impl Kept {
    /// Of a matrix [rows, width].
    pub fn bytes(self, (rows, width): (usize, usize)) -> usize {
        match self {
            Self::F32 => 4 * rows * width,
            Self::Bf16 => 2 * rows * width,
            Self::Blocks(blocks) => rows * blocks.row_bytes(width),
        }
    }
}

impl WeightStorage {
    /// A base that is trained starts from the numbers of its file. A frozen one loses nothing on the CPU, and is rounded on a card, whose memory
    /// is dearer.
    pub fn of(on_cpu: bool, trained: bool) -> Self {
        match (on_cpu, trained) {
            (_, true) => Self::Whole,
            (true, false) => Self::Exact,
            (false, false) => Self::Rounded,
        }
    }

    /// What becomes of a matrix with rows of `width` numbers. `stored`: the blocks that it lies in; `in_bf16`: whether that holds its numbers.
    pub(crate) fn kept(
        self,
        projections: BaseWeights,
        (name, width): (&str, usize),
        stored: Option<Blocks>,
        in_bf16: impl FnOnce() -> Result<bool>,
    ) -> Result<Kept> {
        let blocks = projections.blocks(name, width).or(stored);
        Ok(match (self, blocks) {
            (Self::Whole, _) => Kept::F32,
            (_, Some(blocks)) => Kept::Blocks(blocks),
            (Self::Rounded, None) => Kept::Bf16,
            (Self::Exact, None) if in_bf16()? => Kept::Bf16,
            (Self::Exact, None) => Kept::F32,
        })
    }

    /// The same, done to a weight of f32 or in blocks in main memory.
    pub(crate) fn keep(
        self,
        projections: BaseWeights,
        name: &str,
        read: Tensor,
        device: &Device,
    ) -> Result<Tensor> {
        let stored = Blocks::of(&read);
        let width = match (stored, read.dims()) {
            (Some(blocks), [_, n, _]) => n * blocks.numbers(),
            (None, [_, width]) => *width,
            _ => return Ok(read.to_device(device)?),
        };
        let kept = self.kept(projections, (name, width), stored, || holds(&read))?;
        let kept = match kept {
            Kept::Blocks(blocks) if stored == Some(blocks) => read,
            Kept::Blocks(blocks) => blocks.round(&ops::widened(&read)?)?,
            Kept::Bf16 => read.to_dtype(DType::BF16)?,
            Kept::F32 => ops::widened(&read)?,
        };
        Ok(kept.to_device(device)?)
    }
}

/// Of a weight in f32 in main memory.
fn holds(weight: &Tensor) -> Result<bool> {
    let (storage, layout) = weight.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(values)), Some((start, end))) => {
            Ok(values[start..end].iter().copied().all(in_bf16))
        }
        _ => unreachable!("a weight is read as f32, whole"),
    }
}

fn in_bf16(value: f32) -> bool {
    value.to_bits() & 0xffff == 0
}

/// Little-endian numbers of a file that are wider than bf16, or other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wide {
    F32,
    F16,
}

impl Wide {
    fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }

    /// Whether bf16 holds all of `n` numbers that lie at byte `start`. Reads as far as the first that it does not.
    pub fn in_bf16(self, file: &File, start: u64, n: usize) -> io::Result<bool> {
        let (mut at, end) = (start, start + (n * self.bytes()) as u64);
        let mut buffer = vec![0; 1 << 16];
        while at < end {
            let part = &mut buffer[..(end - at).min(1 << 16) as usize];
            file.read_exact_at(part, at)?;
            let held = match self {
                Self::F32 => part.chunks_exact(4).all(|b| b[..2] == [0, 0]),
                Self::F16 => part.chunks_exact(2).all(|b| {
                    let bits = u16::from_le_bytes([b[0], b[1]]);
                    // a mantissa of seven bits, but for the smallest numbers
                    bits & 7 == 0 || in_bf16(f16::from_bits(bits).to_f32())
                }),
            };
            if !held {
                return Ok(false);
            }
            at += part.len() as u64;
        }
        Ok(true)
    }
}
