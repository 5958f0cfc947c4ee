//! Rotary position embedding on the CPU, fused. The rotation is orthogonal, so its backward is the
//! rotation by the opposite angle.

use crate::cpu::{self, Data, Shared};
use crate::rope::Rotation;
use crate::simd::{Lanes, dispatch, get, put};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use std::sync::Arc;

pub(super) fn rope(x: &Tensor, rotation: Rotation) -> Result<Tensor> {
    let (cos, sin) = rotation.tables;
    x.contiguous()?.apply_op1(Rope {
        cos: cos.detach().contiguous()?,
        sin: sin.detach().contiguous()?,
        positions: rotation.positions.into(),
        head_dim: rotation.head_dim,
        sign: 1.0,
    })
}

struct Rope {
    cos: Tensor,
    sin: Tensor,
    positions: Arc<[u32]>,
    head_dim: usize,
    sign: f32,
}

impl CustomOp1 for Rope {
    fn name(&self) -> &'static str {
        "rope"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = cpu::slice(x, layout)?;
        let (rows, width) = layout.shape().dims2()?;
        let half = self.cos.dim(1)?;
        let (cos, sin) = (Data::of(&self.cos)?, Data::of(&self.sin)?);
        let (cos, sin) = (&*cos, &*sin);
        let mut y = x.to_vec();
        let out = Shared::new(&mut y);
        cpu::for_rows(rows, width, |_, r| {
            for row in r {
                let (at, p) = (row * width..(row + 1) * width, self.positions[row] as usize);
                let (cos, sin) = (&cos[p * half..][..half], &sin[p * half..][..half]);
                // SAFETY: the tasks' rows are disjoint.
                rotate(unsafe { out.part(at) }, self.head_dim, cos, sin, self.sign);
            }
        });
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let back = Rope {
            cos: self.cos.clone(),
            sin: self.sin.clone(),
            positions: self.positions.clone(),
            head_dim: self.head_dim,
            sign: -self.sign,
        };
        Ok(Some(grad.contiguous()?.apply_op1_no_bwd(&back)?))
    }
}

/// Rotates the heads of `x`, of width `head_dim`, in place.
#[inline(always)]
unsafe fn rotate_kernel<L: Lanes>(
    x: &mut [f32],
    head_dim: usize,
    cos: &[f32],
    sin: &[f32],
    sign: f32,
) {
    let half = cos.len();
    for x in x.chunks_exact_mut(head_dim) {
        let (first, second) = x[..2 * half].split_at_mut(half);
        for i in (0..half).step_by(L::N) {
            // SAFETY: the caller is inside a `dispatch!` function.
            unsafe {
                let (x1, x2): (L, L) = (get(first, i, 0.0), get(second, i, 0.0));
                let (cos, sin) = (
                    get::<L>(cos, i, 0.0),
                    get::<L>(sin, i, 0.0).mul(L::splat(sign)),
                );
                put(first, i, x1.mul(cos).sub(x2.mul(sin)));
                put(second, i, x2.mul(cos).add(x1.mul(sin)));
            }
        }
    }
}
dispatch!(pub(crate) fn rotate = rotate_kernel(x: &mut [f32], head_dim: usize, cos: &[f32], sin: &[f32], sign: f32));
