//! Rotary embedding and SwiGLU.

use crate::cuda::launch::Launch;
use crate::cuda::node::{Node, apply};
use crate::cuda::place::{Open, Target, View, tensor};
use crate::cuda::upload::upload;
use crate::rope::check;
use candle_core::{Result, Shape, Storage, Tensor};

pub(super) const THREADS: usize = 256;

pub(crate) fn rope(x: &Tensor, cos: &Tensor, sin: &Tensor, positions: &[u32]) -> Result<Tensor> {
    check(x, (cos, sin), positions)?;
    let node = Rope {
        cos: cos.detach().contiguous()?,
        sin: sin.detach().contiguous()?,
        positions: upload(positions.to_vec(), x.device())?,
        sign: 1.0,
    };
    apply(node, &[x])
}

#[derive(Clone)]
struct Rope {
    /// [max_pos, D/2], f32
    cos: Tensor,
    sin: Tensor,
    positions: Tensor,
    /// 1, or −1 to turn back
    sign: f32,
}

impl Node for Rope {
    const NAME: &'static str = "rope";

    fn forward(&self, inputs: &[View]) -> Result<(Storage, Shape)> {
        let x = inputs[0];
        let (n, width) = x.dims2()?;
        let (cos, sin, at) = (
            Open::of(&self.cos),
            Open::of(&self.sin),
            Open::of(&self.positions),
        );
        let mut y = x.room(x.dtype(), n * width)?;
        let blocks = (n * width / 2).div_ceil(THREADS);
        Launch::new(format!("rope_{}", x.dtype().as_str()), (blocks, 1), THREADS)
            .read(x)
            .read(cos.view()?)
            .read(sin.view()?)
            .read(at.view()?)
            .write(Target::of(&mut y))
            .u32(n)
            .u32(width)
            .u32(self.cos.dim(1)?)
            .f32(self.sign)
            .run()?;
        Ok((y, x.shape.clone()))
    }

    fn backward(&self, _: &[&Tensor], _: &Tensor, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let back = Self {
            sign: -self.sign,
            ..self.clone()
        };
        Ok(vec![Some(apply(back, &[&grad.detach()])?)])
    }
}

pub(crate) fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    crate::swiglu::check(gate, up)?;
    apply(Swiglu, &[gate, up])
}

/// Over (gate, up).
struct Swiglu;

/// Blocks of four numbers a thread.
pub(super) fn blocks(n: usize) -> (usize, usize) {
    (n.div_ceil(4 * THREADS), 1)
}

impl Node for Swiglu {
    const NAME: &'static str = "swiglu";

    fn forward(&self, inputs: &[View]) -> Result<(Storage, Shape)> {
        let (gate, up) = (inputs[0], inputs[1]);
        let n = gate.shape.elem_count();
        let mut y = gate.room(gate.dtype(), n)?;
        Launch::new(
            format!("swiglu_{}", gate.dtype().as_str()),
            blocks(n),
            THREADS,
        )
        .read(gate)
        .read(up)
        .write(Target::of(&mut y))
        .u64(n)
        .run()?;
        Ok((y, gate.shape.clone()))
    }

    fn backward(
        &self,
        inputs: &[&Tensor],
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<Vec<Option<Tensor>>> {
        let (gate, up, g) = (Open::of(inputs[0]), Open::of(inputs[1]), Open::of(grad));
        let (gate, up, g) = (gate.view()?, up.view()?, g.view()?);
        let (n, dtype) = (gate.shape.elem_count(), gate.dtype());
        let (mut dgate, mut dup) = (gate.room(dtype, n)?, gate.room(dtype, n)?);
        Launch::new(
            format!("swiglu_backward_{}", dtype.as_str()),
            blocks(n),
            THREADS,
        )
        .read(gate)
        .read(up)
        .read(g)
        .write(Target::of(&mut dgate))
        .write(Target::of(&mut dup))
        .u64(n)
        .run()?;
        let shape = inputs[0].shape();
        Ok(vec![Some(tensor(dgate, shape)), Some(tensor(dup, shape))])
    }
}
