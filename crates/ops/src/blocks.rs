//! Weights in GGUF's blocks: 32 or 256 numbers of 2 to 8 bits that share scales, as ggml lays them out (`ggml-common.h`, `ggml-quants.c`).
//!
//! Such a weight is a tensor of bytes [out, blocks, bytes of a block], and the bytes of a block say which format it is, for no two have as
//! many. Kernels widen the blocks on the way to a register or a panel; on a card a weight is widened to bf16 for one product. A gradient
//! goes through the widened numbers to the input, none to the weight: Dettmers et al. 2023 (QLoRA), Eq. 5 and 6.

mod formats;

pub use formats::Blocks;
pub(crate) use formats::GROUP;

use crate::cpu::{Shared, for_rows, room};
use crate::cuda;
use crate::elements::{Elements, Frozen, width};
use crate::simd::{Lanes, dispatch};
use candle_core::quantized::QTensor;
use candle_core::{DType, Device, Result, Tensor, bail};

impl Blocks {
    /// The format of a weight; None: its numbers lie in no blocks.
    pub fn of(weight: &Tensor) -> Option<Self> {
        Self::of_dims(weight.dims()).filter(|_| weight.dtype() == DType::U8)
    }

    /// The format of bytes of this shape.
    pub(crate) fn of_dims(dims: &[usize]) -> Option<Self> {
        match dims {
            [_, _, bytes] => Self::ALL.into_iter().find(|b| b.bytes() == *bytes),
            _ => None,
        }
    }

    /// A weight [out, in] out of its bytes, row after row.
    pub fn weight(
        self,
        data: &[u8],
        (out, input): (usize, usize),
        device: &Device,
    ) -> Result<Tensor> {
        let shape = (out, input / self.numbers(), self.bytes());
        if input % self.numbers() != 0 || data.len() != shape.0 * shape.1 * shape.2 {
            bail!(
                "{} bytes are no [{out}, {input}] in blocks of {}",
                data.len(),
                self.name()
            )
        }
        Tensor::from_slice(data, shape, device)
    }

    /// `weight` [out, in] of f32 or bf16, its rows whole blocks, with every block rounded by ggml's reference quantisers (candle's port). On
    /// the CPU.
    pub fn round(self, weight: &Tensor) -> Result<Tensor> {
        let blocks = QTensor::quantize(&weight.detach(), self.ggml())?;
        self.weight(&blocks.data()?, weight.dims2()?, &Device::Cpu)
    }
}

/// The numbers of a weight that may lie in blocks, which are then f32. No gradient.
pub fn widened(weight: &Tensor) -> Result<Tensor> {
    match Blocks::of(weight) {
        Some(_) => numbers(weight),
        None => Ok(weight.detach()),
    }
}

/// Rows of an embedding [V, d] that may lie in blocks. `ids` `[N]`. [N, d].
pub fn embedding(weight: &Tensor, ids: &Tensor) -> Result<Tensor> {
    let rows = weight.index_select(ids, 0)?;
    match Blocks::of(weight) {
        Some(_) => widened(&rows),
        None => Ok(rows),
    }
}

/// The numbers of a weight in blocks, [out, in], f32.
fn numbers(weight: &Tensor) -> Result<Tensor> {
    let weight = weight.contiguous()?;
    if cuda::is_on_gpu(&[&weight]) {
        return cuda::widened(&weight, DType::F32);
    }
    let (rows, width) = (weight.dim(0)?, width(&weight)?);
    let open = Frozen::of(&weight)?;
    // SAFETY: every row is written.
    let mut numbers = unsafe { room(rows * width) };
    let out = Shared::new(&mut numbers);
    for_rows(rows, width, |_, rows| {
        // SAFETY: the tasks' rows are disjoint.
        let out = unsafe { out.part(rows.start * width..rows.end * width) };
        widen_rows(open.elements(), rows.start, width, out);
    });
    Tensor::from_vec(numbers, (rows, width), &Device::Cpu)
}

/// Rows of `width` numbers from row `first` on.
#[inline(always)]
unsafe fn rows_kernel<L: Lanes>(w: Elements, first: usize, width: usize, out: &mut [f32]) {
    for (i, out) in out.chunks_exact_mut(width.max(1)).enumerate() {
        // SAFETY: the caller is inside a `dispatch!` function.
        unsafe { w.widen::<L>((first + i) * width, out) };
    }
}
dispatch!(fn widen_rows = rows_kernel(w: Elements, first: usize, width: usize, out: &mut [f32]));
