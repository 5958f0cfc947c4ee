//! Dropout whose mask is drawn where the numbers are, and drawn again for the gradient: nothing is kept.

use crate::cuda::element_wise::{THREADS, blocks};
use crate::cuda::launch::Launch;
use crate::cuda::node::{Node, apply};
use crate::cuda::place::{Open, Target, View, tensor};
use candle_core::{Result, Shape, Storage, Tensor};

/// Zeroes a share `p` of the numbers of `x` and multiplies the others by 1 / (1 - p), where kernels run. Random numbers: Philox4x32-10 keyed by
/// `seed`, counted by position and `stream`.
pub(crate) fn dropout(x: &Tensor, p: f64, seed: u64, stream: u32) -> Result<Tensor> {
    let node = DropOut {
        seed,
        stream,
        threshold: (p * 2f64.powi(32)) as u32,
        keep: (1.0 / (1.0 - p)) as f32,
    };
    apply(node, &[x])
}

struct DropOut {
    seed: u64,
    stream: u32,
    /// Random numbers below this drop theirs
    threshold: u32,
    keep: f32,
}

impl DropOut {
    fn run(&self, x: View) -> Result<Storage> {
        let n = x.shape.elem_count();
        let mut y = x.room(x.dtype(), n)?;
        let name = format!("drop_out_{}", x.dtype().as_str());
        Launch::new(name, blocks(n), THREADS)
            .read(x)
            .write(Target::of(&mut y))
            .u64(n)
            .u32(self.seed as u32 as usize)
            .u32((self.seed >> 32) as usize)
            .u32(self.stream as usize)
            .u32(self.threshold as usize)
            .f32(self.keep)
            .run()?;
        Ok(y)
    }
}

impl Node for DropOut {
    const NAME: &'static str = "drop-out";

    fn forward(&self, inputs: &[View]) -> Result<(Storage, Shape)> {
        Ok((self.run(inputs[0])?, inputs[0].shape.clone()))
    }

    fn backward(&self, _: &[&Tensor], _: &Tensor, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let dx = self.run(Open::of(grad).view()?)?;
        Ok(vec![Some(tensor(dx, grad.shape()))])
    }
}
