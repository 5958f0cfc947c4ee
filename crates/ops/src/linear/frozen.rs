//! Layers with a frozen weight. Candle's matmul always computes both gradients; here the weight
//! lives inside the op, so only the gradient of the input is computed.
//!
//! On the CPU in f32 the weight is f32, bf16, 8 bits or quantised blocks. Inputs of other dtypes
//! and devices use candle's product.

use super::slices;
use crate::Compute;
use crate::cpu::{self, Data, Shared};
use crate::elements::{Frozen, width};
use crate::product::Threads;
use crate::widen::widened;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Storage, Tensor, bail};

pub(super) fn frozen_linear(compute: Compute, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    x.contiguous()?
        .apply_op1(FrozenLinear::new(compute, weight)?)
}

/// On the CPU in f32.
pub(super) fn added_linear(
    compute: Compute,
    residual: &Tensor,
    x: &Tensor,
    weight: &Tensor,
) -> Result<Tensor> {
    let op = AddedLinear(FrozenLinear::new(compute, weight)?);
    x.contiguous()?.apply_op2(&residual.contiguous()?, op)
}

struct FrozenLinear {
    /// [out, in], contiguous, detached; f32, bf16 or quantised blocks, on the CPU also 8 bits
    weight: Tensor,
    compute: Compute,
}

impl FrozenLinear {
    fn new(compute: Compute, weight: &Tensor) -> Result<Self> {
        let weight = weight.detach().contiguous()?;
        Ok(Self { weight, compute })
    }

    /// `x · wᵀ`
    fn forward(&self, x: &[f32], w: &Frozen, k: usize, y: &mut [f32]) {
        slices::forward(self.compute, x, w.elements(), k, y, &[], Threads::All);
    }
}

impl CustomOp1 for FrozenLinear {
    fn name(&self) -> &'static str {
        "frozen-linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (n, k) = layout.shape().dims2()?;
        let out = self.weight.dim(0)?;
        let y = if let (CpuStorage::F32(_), Ok(w)) = (x, Frozen::of(&self.weight)) {
            // SAFETY: the product writes every element, here and below.
            let mut y = unsafe { cpu::uninit(n * out) };
            self.forward(cpu::slice(x, layout)?, &w, k, &mut y);
            CpuStorage::F32(y)
        } else {
            let transposed = widened(&self.weight)?.t()?;
            let (w, wl) = transposed.storage_and_layout();
            match &*w {
                Storage::Cpu(w) => plain(x, layout, w, wl, (n, out, k))?,
                _ => bail!("linear: the weight is on another device than the input"),
            }
        };
        Ok((y, (n, out).into()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        if !(cpu::fused(&[&grad]) && Frozen::reads(&self.weight)) {
            let weight = widened(&self.weight)?;
            let dx = grad.to_dtype(weight.dtype())?.matmul(&weight)?;
            return Ok(Some(dx.to_dtype(grad.dtype())?));
        }
        let (n, k) = (grad.dim(0)?, width(&self.weight)?);
        let (g, w) = (Data::of(&grad)?, Frozen::of(&self.weight)?);
        // SAFETY: as above.
        let mut dx = unsafe { cpu::uninit(n * k) };
        slices::backward(
            self.compute,
            &g,
            w.elements(),
            k,
            &mut dx,
            &[],
            Threads::All,
        );
        Ok(Some(cpu::tensor(dx, (n, k))?))
    }
}

/// `residual + x·Wᵀ` over (x, residual): one op in the graph instead of two, each with a gradient
/// of its own.
struct AddedLinear(FrozenLinear);

impl CustomOp2 for AddedLinear {
    fn name(&self) -> &'static str {
        "added-linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        residual: &CpuStorage,
        rl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let ((n, k), out) = (xl.shape().dims2()?, self.0.weight.dim(0)?);
        let weight = Frozen::of(&self.0.weight)?;
        let x = cpu::slice(x, xl)?;
        // compute the whole product before adding: a layer with an adapter of zeros gives the same
        // bits SAFETY: as above.
        let mut y = unsafe { cpu::uninit(n * out) };
        self.0.forward(x, &weight, k, &mut y);
        let (residual, sum) = (cpu::slice(residual, rl)?, Shared::new(&mut y));
        cpu::for_rows(n, out, |_, r| {
            let at = r.start * out..r.end * out;
            // SAFETY: the tasks' rows are disjoint.
            let y = unsafe { sum.part(at.clone()) };
            y.iter_mut().zip(&residual[at]).for_each(|(y, r)| *y += r);
        });
        Ok((CpuStorage::F32(y), (n, out).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        residual: &Tensor,
        y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let of_residual = residual.track_op().then(|| grad.clone());
        Ok((self.0.bwd(x, y, grad)?, of_residual))
    }
}

/// Candle's product [n, k] x [k, out] at the precision of the weight. The result has the dtype of
/// `x`.
fn plain(
    x: &CpuStorage,
    xl: &Layout,
    w: &CpuStorage,
    wl: &Layout,
    (n, out, k): (usize, usize, usize),
) -> Result<CpuStorage> {
    let size = (1, n, out, k);
    if x.dtype() == w.dtype() {
        return x.matmul(w, size, xl, wl);
    }
    let rounded = x.to_dtype(xl, w.dtype())?;
    let y = rounded.matmul(w, size, &Layout::contiguous((n, k)), wl)?;
    y.to_dtype(&Layout::contiguous((n, out)), x.dtype())
}
