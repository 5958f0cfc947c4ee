//! What the fused CPU kernels share: reading tensors as `f32` slices, and writing disjoint parts of one buffer from several threads.
//! Row-major throughout.

use candle_core::{
    CpuStorage, DType, Device, Layout, Result, Shape, Storage, StorageRef, Tensor, bail,
};
use rayon::prelude::*;
use std::ops::{Deref, Range};

/// Whether every tensor is `f32` in main memory, the one case that has fused kernels.
pub(crate) fn fused(tensors: &[&Tensor]) -> bool {
    tensors
        .iter()
        .all(|t| t.device().is_cpu() && t.dtype() == DType::F32)
}

/// The contiguous `f32` elements of a storage that a custom op was handed.
pub(crate) fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(data), Some((start, end))) => Ok(&data[start..end]),
        (CpuStorage::F32(_), None) => bail!("ops: the input is not contiguous"),
        _ => bail!("ops: the input is not f32"),
    }
}

/// A contiguous `f32` CPU tensor opened for reading.
pub(crate) struct Data<'a> {
    storage: StorageRef<'a>,
    range: Range<usize>,
}

impl<'a> Data<'a> {
    pub(crate) fn of(tensor: &'a Tensor) -> Result<Self> {
        let (storage, layout) = tensor.storage_and_layout();
        let Some((start, end)) = layout.contiguous_offsets() else {
            bail!("ops: the tensor is not contiguous")
        };
        match &*storage {
            Storage::Cpu(CpuStorage::F32(_)) => Ok(Self {
                storage,
                range: start..end,
            }),
            _ => bail!("ops: expected an f32 tensor in main memory"),
        }
    }
}

impl Deref for Data<'_> {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(data)) => &data[self.range.clone()],
            _ => unreachable!("checked when opened"),
        }
    }
}

/// A tensor over `data`, without a graph.
pub(crate) fn tensor(data: Vec<f32>, shape: impl Into<Shape>) -> Result<Tensor> {
    Tensor::from_vec(data, shape.into(), &Device::Cpu)
}

/// A buffer of numbers that nobody has set: a product writes each of its results once, and zeros before that are a pass over memory, by
/// one thread, for nothing.
///
/// # Safety
/// Every number is written before it is read.
pub(crate) unsafe fn room(len: usize) -> Vec<f32> {
    let mut data = Vec::with_capacity(len);
    // SAFETY: there is room for them, and the caller's promise.
    #[allow(clippy::uninit_vec)]
    unsafe {
        data.set_len(len)
    };
    data
}

/// A buffer that several threads write at once, each its own part.
#[derive(Clone, Copy)]
pub(crate) struct Shared {
    at: *mut f32,
    len: usize,
}

// SAFETY: every use hands disjoint parts to the threads, which is the contract of `part` and `at`.
unsafe impl Send for Shared {}
unsafe impl Sync for Shared {}

impl Shared {
    pub(crate) fn new(data: &mut [f32]) -> Self {
        Self {
            at: data.as_mut_ptr(),
            len: data.len(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// # Safety
    /// No other live reference may overlap this range, and the buffer must outlive the use.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn part(&self, range: Range<usize>) -> &mut [f32] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: in bounds by the assertion; not aliased by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.at.add(range.start), range.len()) }
    }
}

/// Elements that one task of an element-wise kernel handles.
const TASK: usize = 16 * 1024;

/// Runs `f` over consecutive ranges of rows in parallel. The ranges depend on the sizes alone, never on the threads.
pub(crate) fn for_rows(rows: usize, width: usize, f: impl Fn(usize, Range<usize>) + Sync + Send) {
    let each = rows_per_task(width);
    let range = |task: usize| task * each..((task + 1) * each).min(rows);
    match rows.div_ceil(each) {
        0 => {}
        1 => f(0, range(0)),
        tasks => (0..tasks).into_par_iter().for_each(|t| f(t, range(t))),
    }
}

/// How many rows each call of [`for_rows`] gets (the last may get fewer).
pub(crate) fn rows_per_task(width: usize) -> usize {
    (TASK / width.max(1)).max(1)
}
