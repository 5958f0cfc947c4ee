//! RMS norm on the CPU, fused: forward reads a row twice, backward keeps only the input.
//!
//! y = x·i·w with i = 1/sqrt(mean(x²) + eps); dx = i·(w∘g) − x·i³/d·Σ(w∘g∘x); dw = Σ_rows g∘x·i.

use crate::cpu::{self, Data, Shared};
use crate::simd::{Lanes, dispatch, get, put};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

pub(super) fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    x.contiguous()?
        .apply_op2(&weight.contiguous()?, RmsNorm { eps: eps as f32 })
}

struct RmsNorm {
    eps: f32,
}

impl CustomOp2 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, w) = (cpu::slice(x, xl)?, cpu::slice(w, wl)?);
        let (rows, d) = xl.shape().dims2()?;
        // SAFETY: every row is written, here and in the backward pass.
        let mut y = unsafe { cpu::uninit(x.len()) };
        let out = Shared::new(&mut y);
        cpu::for_rows(rows, d, |_, r| {
            let at = r.start * d..r.end * d;
            // SAFETY: the tasks' rows are disjoint.
            forward(&x[at.clone()], w, self.eps, unsafe { out.part(at) });
        });
        Ok((CpuStorage::F32(y), xl.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (rows, d) = x.dims2()?;
        let grad = grad.contiguous()?;
        let (xs, ws, gs) = (Data::of(x)?, Data::of(w)?, Data::of(&grad)?);
        let (xs, ws, gs) = (&*xs, &*ws, &*gs);
        let each = cpu::rows_per_task(d);
        // SAFETY: as above.
        let mut dx = unsafe { cpu::uninit(xs.len()) };
        // one partial gradient of the weight per task, summed in order at the end
        let mut parts = vec![
            0.0;
            if w.track_op() {
                rows.div_ceil(each) * d
            } else {
                0
            }
        ];
        let (dx_out, parts_out) = (Shared::new(&mut dx), Shared::new(&mut parts));
        cpu::for_rows(rows, d, |task, r| {
            let at = r.start * d..r.end * d;
            let part = if w.track_op() {
                task * d..(task + 1) * d
            } else {
                0..0
            };
            // SAFETY: the tasks' rows and partial sums are disjoint.
            let (dx, dw) = unsafe { (dx_out.part(at.clone()), parts_out.part(part)) };
            backward(&xs[at.clone()], ws, &gs[at], self.eps, dx, dw);
        });
        let dw = w.track_op().then(|| {
            let mut dw = vec![0.0; d];
            for part in parts.chunks(d.max(1)) {
                dw.iter_mut().zip(part).for_each(|(a, b)| *a += b);
            }
            cpu::tensor(dw, d)
        });
        Ok((Some(cpu::tensor(dx, (rows, d))?), dw.transpose()?))
    }
}

#[inline(always)]
unsafe fn inverse_rms<L: Lanes>(x: &[f32], eps: f32) -> f32 {
    // SAFETY: the caller is inside a `dispatch!` function.
    unsafe {
        let mut sum = L::splat(0.0);
        for i in (0..x.len()).step_by(L::N) {
            let x: L = get(x, i, 0.0);
            sum = x.fma(x, sum);
        }
        1.0 / (sum.sum() / x.len() as f32 + eps).sqrt()
    }
}

#[inline(always)]
unsafe fn forward_kernel<L: Lanes>(x: &[f32], w: &[f32], eps: f32, y: &mut [f32]) {
    let d = w.len();
    for (x, y) in x.chunks_exact(d).zip(y.chunks_exact_mut(d)) {
        // SAFETY: the caller is inside a `dispatch!` function.
        unsafe {
            let inv = L::splat(inverse_rms::<L>(x, eps));
            for i in (0..d).step_by(L::N) {
                let v = get::<L>(x, i, 0.0).mul(inv).mul(get(w, i, 0.0));
                put(y, i, v);
            }
        }
    }
}
dispatch!(pub(crate) fn forward = forward_kernel(x: &[f32], w: &[f32], eps: f32, y: &mut [f32]));

/// The same numbers, written over the input.
#[inline(always)]
unsafe fn in_place_kernel<L: Lanes>(x: &mut [f32], w: &[f32], eps: f32) {
    let d = w.len();
    for x in x.chunks_exact_mut(d) {
        // SAFETY: the caller is inside a `dispatch!` function.
        unsafe {
            let inv = L::splat(inverse_rms::<L>(x, eps));
            for i in (0..d).step_by(L::N) {
                let v = get::<L>(x, i, 0.0).mul(inv).mul(get(w, i, 0.0));
                put(x, i, v);
            }
        }
    }
}
dispatch!(pub(crate) fn in_place = in_place_kernel(x: &mut [f32], w: &[f32], eps: f32));

#[inline(always)]
unsafe fn backward_kernel<L: Lanes>(
    x: &[f32],
    w: &[f32],
    g: &[f32],
    eps: f32,
    dx: &mut [f32],
    dw: &mut [f32],
) {
    let d = w.len();
    for ((x, g), dx) in x
        .chunks_exact(d)
        .zip(g.chunks_exact(d))
        .zip(dx.chunks_exact_mut(d))
    {
        // SAFETY: the caller is inside a `dispatch!` function.
        unsafe {
            let inv = inverse_rms::<L>(x, eps);
            let mut dot = L::splat(0.0);
            for i in (0..d).step_by(L::N) {
                let wg = get::<L>(w, i, 0.0).mul(get(g, i, 0.0));
                dot = wg.fma(get(x, i, 0.0), dot);
            }
            let back = L::splat(-inv * inv * inv * dot.sum() / d as f32);
            let inv = L::splat(inv);
            for i in (0..d).step_by(L::N) {
                let (x, g): (L, L) = (get(x, i, 0.0), get(g, i, 0.0));
                put(dx, i, inv.mul(get(w, i, 0.0)).fma(g, x.mul(back)));
                if !dw.is_empty() {
                    put(dw, i, g.mul(x).fma(inv, get(dw, i, 0.0)));
                }
            }
        }
    }
}
dispatch!(fn backward = backward_kernel(x: &[f32], w: &[f32], g: &[f32], eps: f32, dx: &mut [f32], dw: &mut [f32]));
