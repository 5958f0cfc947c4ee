//! Frozen weights as the kernels read them: rows of f32, or of bf16 that become f32 on the way to a register.

use crate::simd::{Lanes, put};
use candle_core::{CpuStorage, DType, Layout, Result, Storage, StorageRef, Tensor, bail};
use half::bf16;
use std::ops::Range;

/// A number as a weight keeps it.
pub(crate) trait Element: Copy {
    /// # Safety
    /// As [`Lanes::load`].
    unsafe fn load<L: Lanes>(at: *const Self) -> L;
    fn to_f32(self) -> f32;
}

impl Element for f32 {
    #[inline(always)]
    unsafe fn load<L: Lanes>(at: *const Self) -> L {
        // SAFETY: the caller's promise.
        unsafe { L::load(at) }
    }
    fn to_f32(self) -> f32 {
        self
    }
}

impl Element for bf16 {
    #[inline(always)]
    unsafe fn load<L: Lanes>(at: *const Self) -> L {
        // SAFETY: the caller's promise.
        unsafe { L::load_bf16(at) }
    }
    fn to_f32(self) -> f32 {
        bf16::to_f32(self)
    }
}

/// Row-major elements of a weight.
#[derive(Clone, Copy)]
pub(crate) enum Elements<'a> {
    F32(&'a [f32]),
    Bf16(&'a [bf16]),
}

impl<'a> Elements<'a> {
    pub(crate) fn len(self) -> usize {
        match self {
            Self::F32(data) => data.len(),
            Self::Bf16(data) => data.len(),
        }
    }

    pub(crate) fn part(self, range: Range<usize>) -> Self {
        match self {
            Self::F32(data) => Self::F32(&data[range]),
            Self::Bf16(data) => Self::Bf16(&data[range]),
        }
    }

    /// Elements `at..at + out.len()` as f32.
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
                    // SAFETY: in bounds; the caller's promise.
                    unsafe { put::<L>(out, i, Element::load(data.as_ptr().add(i))) };
                }
                for i in whole..n {
                    out[i] = data[i].to_f32();
                }
            }
        }
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
        _ => bail!("ops: expected a weight of f32 or bf16"),
    }
}

/// A weight in main memory, opened for reading.
pub(crate) struct Frozen<'a> {
    storage: StorageRef<'a>,
    layout: &'a Layout,
}

impl<'a> Frozen<'a> {
    /// Whether the kernels read weights of this kind.
    pub(crate) fn reads(weight: &Tensor) -> bool {
        weight.device().is_cpu() && matches!(weight.dtype(), DType::F32 | DType::BF16)
    }

    pub(crate) fn of(weight: &'a Tensor) -> Result<Self> {
        let (storage, layout) = weight.storage_and_layout();
        match Self::reads(weight) && layout.is_contiguous() {
            true => Ok(Self { storage, layout }),
            false => bail!("ops: expected a contiguous weight of f32 or bf16 in main memory"),
        }
    }

    pub(crate) fn elements(&self) -> Elements<'_> {
        match &*self.storage {
            Storage::Cpu(data) => elements(data, self.layout).expect("checked when opened"),
            _ => unreachable!("checked when opened"),
        }
    }
}
