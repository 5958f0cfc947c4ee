//! What the fused CPU kernels share: reading tensors as `f32` slices, and writing disjoint parts of
//! one buffer from several threads. Row-major throughout.

use candle_core::{
    CpuStorage, DType, Device, Layout, Result, Shape, Storage, StorageRef, Tensor, bail,
};
use rayon::prelude::*;
use std::ops::{Deref, Range};

/// Whether every tensor is `f32` in main memory: the fused CPU kernels take nothing else.
pub(crate) fn fused(tensors: &[&Tensor]) -> bool {
    tensors
        .iter()
        .all(|t| t.device().is_cpu() && t.dtype() == DType::F32)
}

/// The contiguous `f32` elements of a custom op's input.
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

/// An uninitialised buffer. A product writes each of its results once; zeroing them first would
/// cost a single-threaded pass over memory.
///
/// # Safety
/// Every element is written before it is read.
pub(crate) unsafe fn uninit(len: usize) -> Vec<f32> {
    let mut data = Vec::with_capacity(len);
    // SAFETY: the capacity is reserved; the caller writes the elements.
    #[allow(clippy::uninit_vec)]
    unsafe {
        data.set_len(len)
    };
    data
}

/// A buffer that several threads write concurrently, each its own part.
#[derive(Clone, Copy)]
pub(crate) struct Shared {
    start: *mut f32,
    len: usize,
}

// SAFETY: the threads get disjoint parts, as `part` demands.
unsafe impl Send for Shared {}
unsafe impl Sync for Shared {}

impl Shared {
    pub(crate) fn new(data: &mut [f32]) -> Self {
        Self {
            start: data.as_mut_ptr(),
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
        // SAFETY: in bounds by the assertion; not aliased, as the caller guarantees.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}

/// Elements that one task of an element-wise kernel handles.
const TASK_ELEMENTS: usize = 16 * 1024;

/// Runs `f` over consecutive ranges of rows in parallel. The ranges depend only on the sizes, never
/// on the number of threads.
pub(crate) fn for_rows(rows: usize, width: usize, f: impl Fn(usize, Range<usize>) + Sync + Send) {
    let each = rows_per_task(width);
    let range = |task: usize| task * each..((task + 1) * each).min(rows);
    match rows.div_ceil(each) {
        0 => {}
        1 => f(0, range(0)),
        tasks => (0..tasks).into_par_iter().for_each(|t| f(t, range(t))),
    }
}

/// The rows of each task of [`for_rows`]; the last may get fewer.
pub(crate) fn rows_per_task(width: usize) -> usize {
    (TASK_ELEMENTS / width.max(1)).max(1)
}
