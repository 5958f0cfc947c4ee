//! Linear layers: frozen, frozen and added to a residual, with a LoRA adapter, trainable. `weight`
//! is [out, in].
//!
//! A frozen weight may be f32 or bf16, or [`QuantisedBlocks`](crate::QuantisedBlocks); on the CPU
//! also [`in_8_bits`](crate::in_8_bits). There `x` is f32 whatever the weight is.

mod cuda;
mod frozen;
mod lora;
pub mod reference;
pub(crate) mod slices;
mod trainable;

pub(crate) use cuda::{cast, logits as gpu_logits};

use crate::Compute;
use crate::cpu::{Data, fused};
use crate::cuda::supports;
use crate::elements::{Frozen, width};
use crate::product::Threads;
use crate::widen::cublas_reads;
use candle_core::{DType, Result, Tensor, bail};

/// `x · weightᵀ` with a frozen weight. `x` [N, in], `weight` [out, in]. Gradient to `x` only, and
/// no work on the gradient of the weight.
pub fn frozen_linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    Compute::F32.frozen_linear(x, weight)
}

/// `residual + x · weightᵀ` with a frozen weight, as [`frozen_linear`]. Gradient to `residual` [N,
/// out] and `x` [N, in].
pub fn added_linear(residual: &Tensor, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    Compute::F32.added_linear(residual, x, weight)
}

impl Compute {
    /// [`frozen_linear`](crate::frozen_linear) in this arithmetic.
    pub fn frozen_linear(self, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
        check(x, weight)?;
        if supports(&[x]) && cublas_reads(weight) {
            return cuda::frozen_linear(x, weight);
        }
        frozen::frozen_linear(self, x, weight)
    }

    /// [`added_linear`](crate::added_linear) in this arithmetic.
    pub fn added_linear(self, residual: &Tensor, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
        check_added(residual, x, weight)?;
        if supports(&[residual, x]) && cublas_reads(weight) {
            return cuda::added_linear(residual, x, weight);
        }
        if fused(&[residual, x]) && Frozen::reads(weight) {
            frozen::added_linear(self, residual, x, weight)
        } else {
            residual + self.frozen_linear(x, weight)?
        }
    }

    /// [`lora_linear`](crate::lora_linear) in this arithmetic.
    pub fn lora_linear(
        self,
        x: &Tensor,
        x_lora: &Tensor,
        w: &Tensor,
        a: &Tensor,
        b: &Tensor,
        scale: f64,
    ) -> Result<Tensor> {
        check_low_rank(x, x_lora, [w, a, b])?;
        if supports(&[x]) && cublas_reads(w) {
            return cuda::lora_linear(x, x_lora, w, a, b, scale);
        }
        if fused(&[x, x_lora, a, b]) && Frozen::reads(w) {
            lora::lora_linear(self, x, x_lora, w, a, b, scale)
        } else {
            reference::lora_linear(x, x_lora, w, a, b, scale)
        }
    }
}

/// `x · weightᵀ` with a trainable weight. `x` [N, in], `weight` [out, in]. Gradient to both.
pub fn linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    if fused(&[x, weight]) {
        check(x, weight)?;
        trainable::linear(x, weight)
    } else {
        x.matmul(&weight.t()?)
    }
}

/// `x · Wᵀ + scale · (x_lora · Aᵀ) · Bᵀ` with W frozen. `w` [out, in], `a` [r, in], `b` [out, r].
/// `x_lora` is `x`, or `x` after LoRA dropout. Gradient to `x`, `x_lora`, `a`, `b`. Source: Hu et
/// al. 2021, Eq. 3.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[[1f32, 2.]], &Device::Cpu)?;
/// let w = Tensor::new(&[[1f32, 0.], [0., 1.]], &Device::Cpu)?;
/// let a = Tensor::new(&[[1f32, 1.]], &Device::Cpu)?; // rank 1
/// let b = Tensor::new(&[[1f32], [10.]], &Device::Cpu)?;
/// let y = ops::lora_linear(&x, &x, &w, &a, &b, 2.0)?;
/// assert_eq!(y.to_vec2::<f32>()?, [[1. + 2. * 3., 2. + 2. * 30.]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn lora_linear(
    x: &Tensor,
    x_lora: &Tensor,
    w: &Tensor,
    a: &Tensor,
    b: &Tensor,
    scale: f64,
) -> Result<Tensor> {
    Compute::F32.lora_linear(x, x_lora, w, a, b, scale)
}

/// `hidden · headᵀ` [n, V] as f32 in main memory, into a buffer that is reused. `hidden` [n, d],
/// `head` [V, d].
pub(crate) fn host_logits(
    compute: Compute,
    hidden: &Tensor,
    head: &Tensor,
    out: &mut Vec<f32>,
) -> Result<()> {
    if !(fused(&[hidden]) && Frozen::reads(head)) {
        let logits = frozen_linear(hidden, head)?;
        *out = logits.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        return Ok(());
    }
    check(hidden, head)?;
    let (n, k) = hidden.dims2()?;
    let (hidden, head) = (hidden.contiguous()?, head.contiguous()?);
    let (x, w) = (Data::of(&hidden)?, Frozen::of(&head)?);
    out.resize(n * head.dim(0)?, 0.0);
    slices::forward(compute, &x, w.elements(), k, out, &[], Threads::All);
    Ok(())
}

fn check(x: &Tensor, weight: &Tensor) -> Result<()> {
    if x.dims2()?.1 != width(weight)? {
        bail!(
            "linear: x is {:?} but the weight is {:?}",
            x.dims(),
            weight.dims()
        )
    }
    Ok(())
}

fn check_added(residual: &Tensor, x: &Tensor, weight: &Tensor) -> Result<()> {
    check(x, weight)?;
    if residual.dims() != [x.dim(0)?, weight.dim(0)?] {
        bail!(
            "linear: x {:?} and the weight {:?} do not fit the residual {:?}",
            x.dims(),
            weight.dims(),
            residual.dims()
        )
    }
    Ok(())
}

fn check_low_rank(x: &Tensor, x_lora: &Tensor, [w, a, b]: [&Tensor; 3]) -> Result<()> {
    check(x, w)?;
    check(x_lora, a)?;
    if b.dims2()? != (w.dim(0)?, a.dim(0)?) {
        bail!(
            "lora_linear: W {:?}, A {:?} and B {:?} do not fit",
            w.dims(),
            a.dims(),
            b.dims()
        )
    }
    Ok(())
}
