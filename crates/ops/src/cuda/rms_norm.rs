//! Root-mean-square norm. Its weight is f32 whatever the activations are.

use crate::cuda::launch::Launch;
use crate::cuda::node::{Node, apply};
use crate::cuda::place::{Open, Target, View, tensor};
use crate::rms_norm::check;
use candle_core::{DType, Result, Shape, Storage, Tensor};

const THREADS: usize = 256;
/// Rows of one partial sum of the weight's gradient
const EACH: usize = 64;

pub(crate) fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    check(x, weight)?;
    let weight = weight.to_dtype(DType::F32)?;
    apply(RmsNorm { eps: eps as f32 }, &[x, &weight])
}

/// Over (x, weight).
struct RmsNorm {
    eps: f32,
}

impl Node for RmsNorm {
    const NAME: &'static str = "rms-norm";

    fn forward(&self, inputs: &[View]) -> Result<(Storage, Shape)> {
        let (x, w) = (inputs[0], inputs[1]);
        let (rows, d) = x.dims2()?;
        let mut y = x.room(x.dtype(), rows * d)?;
        Launch::new(
            format!("rms_norm_{}", x.dtype().as_str()),
            (rows, 1),
            THREADS,
        )
        .read(x)
        .read(w)
        .write(Target::of(&mut y))
        .u32(d)
        .f32(self.eps)
        .run()?;
        Ok((y, x.shape.clone()))
    }

    fn backward(
        &self,
        inputs: &[&Tensor],
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<Vec<Option<Tensor>>> {
        let (x, w, g) = (Open::of(inputs[0]), Open::of(inputs[1]), Open::of(grad));
        let (x, w, g) = (x.view()?, w.view()?, g.view()?);
        let ((rows, d), dtype) = (x.dims2()?, x.dtype());
        let mut dx = x.room(dtype, rows * d)?;
        let mut inverses = x.room(DType::F32, rows)?;
        Launch::new(
            format!("rms_norm_backward_{}", dtype.as_str()),
            (rows, 1),
            THREADS,
        )
        .read(x)
        .read(w)
        .read(g)
        .write(Target::of(&mut dx))
        .write(Target::of(&mut inverses))
        .u32(d)
        .f32(self.eps)
        .run()?;
        let dx = tensor(dx, (rows, d));
        if !inputs[1].track_op() {
            return Ok(vec![Some(dx), None]);
        }
        let (inverses, blocks) = (tensor(inverses, rows), rows.div_ceil(EACH));
        let mut parts = x.room(DType::F32, blocks * d)?;
        let grid = (d.div_ceil(THREADS), blocks);
        let inverses = Open::of(&inverses);
        Launch::new(format!("rms_norm_weight_{}", dtype.as_str()), grid, THREADS)
            .read(x)
            .read(g)
            .read(inverses.view()?)
            .write(Target::of(&mut parts))
            .u32(rows)
            .u32(d)
            .u32(EACH)
            .run()?;
        Ok(vec![Some(dx), Some(tensor(parts, (blocks, d)).sum(0)?)])
    }
}
