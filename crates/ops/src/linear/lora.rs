//! A frozen layer with a low-rank adapter, on the CPU in f32: one pass over the output. Source: Hu
//! et al. 2021, Eq. 3.

use super::frozen::frozen_linear;
use super::slices::{self, layer, linear_into};
use crate::Compute;
use crate::cpu::{self, Data};
use crate::elements::{Elements, Frozen};
use crate::product::{Mat, Term, Threads, product};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use std::sync::OnceLock;

pub(super) fn lora_linear(
    compute: Compute,
    x: &Tensor,
    x_lora: &Tensor,
    w: &Tensor,
    a: &Tensor,
    b: &Tensor,
    scale: f64,
) -> Result<Tensor> {
    let (a, b) = (a.contiguous()?, b.contiguous()?);
    let op = |weight| LowRank {
        weight,
        compute,
        scale: scale as f32,
        down: OnceLock::new(),
    };
    if x.id() == x_lora.id() {
        let weight = w.detach().contiguous()?;
        x.contiguous()?.apply_op3(&a, &b, op(Some(weight)))
    } else {
        frozen_linear(compute, x, w)? + x_lora.contiguous()?.apply_op3(&a, &b, op(None))?
    }
}

/// `x·Wᵀ + scale·(x·Aᵀ)·Bᵀ` over (x, A, B); without W only the low-rank part.
struct LowRank {
    /// [out, in], contiguous, detached
    weight: Option<Tensor>,
    compute: Compute,
    scale: f32,
    /// x·Aᵀ [N, r] of the forward pass
    down: OnceLock<Vec<f32>>,
}

impl CustomOp3 for LowRank {
    fn name(&self) -> &'static str {
        "lora-linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        a: &CpuStorage,
        al: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let ((n, k), (out, r)) = (xl.shape().dims2()?, bl.shape().dims2()?);
        let (x, a, b) = (cpu::slice(x, xl)?, cpu::slice(a, al)?, cpu::slice(b, bl)?);
        // SAFETY: the products write every element, here and below.
        let mut down = unsafe { cpu::uninit(n * r) };
        linear_into(x, Elements::F32(a), k, &mut down, Threads::All);
        let low_rank = Term {
            scale: self.scale,
            ..layer(&down, Elements::F32(b), r)
        };
        // SAFETY: as above.
        let mut y = unsafe { cpu::uninit(n * out) };
        let w = self.weight.as_ref().map(Frozen::of).transpose()?;
        match w.as_ref().map(Frozen::elements) {
            Some(w) => slices::forward(self.compute, x, w, k, &mut y, &[low_rank], Threads::All),
            None => product((n, out), &mut y, out, false, &[low_rank], Threads::All),
        }
        self.down.get_or_init(|| down);
        Ok((CpuStorage::F32(y), (n, out).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        a: &Tensor,
        b: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let ((n, k), (out, r)) = (x.dims2()?, b.dims2()?);
        let grad = grad.contiguous()?;
        let Some(down) = self.down.get() else {
            bail!("lora-linear: backward without forward")
        };
        let (xs, as_, bs, gs) = (Data::of(x)?, Data::of(a)?, Data::of(b)?, Data::of(&grad)?);
        let (g, h) = (Mat::rows(&gs, out), Mat::rows(down, r));
        let (all, scale) = (Threads::All, self.scale);

        // SAFETY: as above.
        let mut db = unsafe { cpu::uninit(out * r) };
        let (a, b) = (g.t(), h);
        let term = Term { k: n, a, b, scale };
        product((out, r), &mut db, r, false, &[term], all);
        // the gradient of x·Aᵀ: scale·g·B
        // SAFETY: as above.
        let mut mid = unsafe { cpu::uninit(n * r) };
        let (a, b) = (g, Mat::rows(&bs, r));
        let term = Term {
            k: out,
            a,
            b,
            scale,
        };
        product((n, r), &mut mid, r, false, &[term], all);
        let mid = Mat::rows(&mid, r);
        // SAFETY: as above.
        let mut da = unsafe { cpu::uninit(r * k) };
        let term = Term::new(n, mid.t(), Mat::rows(&xs, k));
        product((r, k), &mut da, k, false, &[term], all);

        let dx = if x.track_op() {
            let low_rank = Term::new(r, mid, Mat::rows(&as_, k));
            let w = self.weight.as_ref().map(Frozen::of).transpose()?;
            // SAFETY: as above.
            let mut dx = unsafe { cpu::uninit(n * k) };
            match w.as_ref().map(Frozen::elements) {
                Some(w) => slices::backward(self.compute, &gs, w, k, &mut dx, &[low_rank], all),
                None => product((n, k), &mut dx, k, false, &[low_rank], all),
            }
            Some(cpu::tensor(dx, (n, k))?)
        } else {
            None
        };
        let (da, db) = (cpu::tensor(da, (r, k))?, cpu::tensor(db, (out, r))?);
        Ok((dx, Some(da), Some(db)))
    }
}
