//! `silu(gate) ∘ up` on the CPU, fused. With s = sigmoid(gate): dgate = g∘up∘s∘(1 + gate∘(1 − s));
//! dup = g∘gate∘s.

use crate::cpu::{self, Data, Shared};
use crate::simd::{Lanes, dispatch, exp, get, put};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

pub(super) fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    gate.contiguous()?.apply_op2(&up.contiguous()?, Swiglu)
}

struct Swiglu;

impl CustomOp2 for Swiglu {
    fn name(&self) -> &'static str {
        "swiglu"
    }

    fn cpu_fwd(
        &self,
        gate: &CpuStorage,
        gl: &Layout,
        up: &CpuStorage,
        ul: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (gate, up) = (cpu::slice(gate, gl)?, cpu::slice(up, ul)?);
        // SAFETY: every element is written, here and in the backward pass.
        let mut y = unsafe { cpu::uninit(gate.len()) };
        let out = Shared::new(&mut y);
        cpu::for_rows(gate.len(), 1, |_, r| {
            // SAFETY: the tasks' ranges are disjoint.
            forward(&gate[r.clone()], &up[r.clone()], unsafe { out.part(r) });
        });
        Ok((CpuStorage::F32(y), gl.shape().clone()))
    }

    fn bwd(
        &self,
        gate: &Tensor,
        up: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let (gate_in, up_in, g_in) = (Data::of(gate)?, Data::of(up)?, Data::of(&grad)?);
        let (gate_in, up_in, g_in) = (&*gate_in, &*up_in, &*g_in);
        // SAFETY: as above.
        let (mut dgate, mut dup) = unsafe { (cpu::uninit(g_in.len()), cpu::uninit(g_in.len())) };
        let (dgate_out, dup_out) = (Shared::new(&mut dgate), Shared::new(&mut dup));
        cpu::for_rows(g_in.len(), 1, |_, r| {
            // SAFETY: the tasks' ranges are disjoint.
            let (dgate, dup) = unsafe { (dgate_out.part(r.clone()), dup_out.part(r.clone())) };
            backward(&gate_in[r.clone()], &up_in[r.clone()], &g_in[r], dgate, dup);
        });
        Ok((
            Some(cpu::tensor(dgate, gate.shape())?),
            Some(cpu::tensor(dup, up.shape())?),
        ))
    }
}

#[inline(always)]
unsafe fn sigmoid<L: Lanes>(x: L) -> L {
    // SAFETY: the caller is inside a `dispatch!` function.
    unsafe {
        let one = L::splat(1.0);
        one.div(one.add(exp(L::splat(0.0).sub(x))))
    }
}

#[inline(always)]
unsafe fn forward_kernel<L: Lanes>(gate: &[f32], up: &[f32], y: &mut [f32]) {
    for i in (0..y.len()).step_by(L::N) {
        // SAFETY: the caller is inside a `dispatch!` function.
        unsafe {
            let gate: L = get(gate, i, 0.0);
            put(y, i, gate.mul(sigmoid(gate)).mul(get(up, i, 0.0)));
        }
    }
}
dispatch!(pub(crate) fn forward = forward_kernel(gate: &[f32], up: &[f32], y: &mut [f32]));

#[inline(always)]
unsafe fn backward_kernel<L: Lanes>(
    gate: &[f32],
    up: &[f32],
    g: &[f32],
    dgate: &mut [f32],
    dup: &mut [f32],
) {
    for i in (0..g.len()).step_by(L::N) {
        // SAFETY: the caller is inside a `dispatch!` function.
        unsafe {
            let (gate, up, g): (L, L, L) = (get(gate, i, 0.0), get(up, i, 0.0), get(g, i, 0.0));
            let s = sigmoid(gate);
            let one = L::splat(1.0);
            put(dgate, i, g.mul(up).mul(s).mul(gate.fma(one.sub(s), one)));
            put(dup, i, g.mul(gate).mul(s));
        }
    }
}
dispatch!(fn backward = backward_kernel(gate: &[f32], up: &[f32], g: &[f32], dgate: &mut [f32], dup: &mut [f32]));
