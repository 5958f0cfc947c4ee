//! Whether bf16 holds numbers exactly, asked of a tensor or of a file before it is loaded. Most
//! checkpoints were written in bf16, whatever the dtype of their files.

use candle_core::{CpuStorage, Storage, Tensor};
use half::f16;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

fn is_exact(value: f32) -> bool {
    value.to_bits() & 0xffff == 0
}

/// Whether bf16 holds every number of a contiguous f32 tensor in main memory.
pub(crate) fn holds_tensor(weight: &Tensor) -> bool {
    let (storage, layout) = weight.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(values)), Some((start, end))) => {
            values[start..end].iter().copied().all(is_exact)
        }
        _ => unreachable!("a weight is read as f32, contiguous"),
    }
}

/// Little-endian formats whose numbers bf16 may not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileFormat {
    F64,
    F32,
    F16,
}

impl FileFormat {
    fn bytes(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }

    /// Whether bf16 holds all `n` numbers that begin at byte `start`. Reads up to the first that it
    /// does not hold.
    pub fn fits_bf16(self, file: &File, start: u64, n: usize) -> io::Result<bool> {
        let (mut at, end) = (start, start + (n * self.bytes()) as u64);
        let mut buffer = vec![0; 1 << 16];
        while at < end {
            let part = &mut buffer[..(end - at).min(1 << 16) as usize];
            file.read_exact_at(part, at)?;
            let held = match self {
                // as it is read: rounded to f32
                Self::F64 => part.as_chunks::<8>().0.iter().all(|b| {
                    let rounded = f64::from_le_bytes(*b) as f32;
                    is_exact(rounded)
                }),
                Self::F32 => part.chunks_exact(4).all(|b| b[..2] == [0, 0]),
                Self::F16 => part.chunks_exact(2).all(|b| {
                    let bits = u16::from_le_bytes([b[0], b[1]]);
                    // seven bits of mantissa, or a subnormal number that bf16 holds exactly
                    bits & 7 == 0 || is_exact(f16::from_bits(bits).to_f32())
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
