//! A layer with a trainable weight, on the CPU in f32.

use super::slices::linear_into;
use crate::cpu::{self, Data};
use crate::elements::elements;
use crate::product::{Mat, Term, Threads, product};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

pub(super) fn linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op2(&weight.contiguous()?, Linear)
}

/// `x·Wᵀ` over (x, W).
struct Linear;

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let ((n, k), (out, _)) = (xl.shape().dims2()?, wl.shape().dims2()?);
        // SAFETY: the product writes every element, here and below.
        let mut y = unsafe { cpu::uninit(n * out) };
        let (x, w) = (cpu::slice(x, xl)?, elements(w, wl)?);
        linear_into(x, w, k, &mut y, Threads::All);
        Ok((CpuStorage::F32(y), (n, out).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let ((n, k), out) = (x.dims2()?, w.dim(0)?);
        let grad = grad.contiguous()?;
        let (xs, ws, gs) = (Data::of(x)?, Data::of(w)?, Data::of(&grad)?);
        let (x_mat, g) = (Mat::rows(&xs, k), Mat::rows(&gs, out));
        // SAFETY: as above.
        let (mut dx, mut dw) = (None, unsafe { cpu::uninit(out * k) });
        if x.track_op() {
            // SAFETY: as above.
            let mut to = unsafe { cpu::uninit(n * k) };
            let term = Term::new(out, g, Mat::rows(&ws, k));
            product((n, k), &mut to, k, false, &[term], Threads::All);
            dx = Some(cpu::tensor(to, (n, k))?);
        }
        let term = Term::new(n, g.t(), x_mat);
        product((out, k), &mut dw, k, false, &[term], Threads::All);
        Ok((dx, Some(cpu::tensor(dw, (out, k))?)))
    }
}
