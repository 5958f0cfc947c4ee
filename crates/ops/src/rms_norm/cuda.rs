//! RMS norm on a GPU. Its weight is f32 whatever the dtype of the activations.

use crate::cuda::kernel::Kernel;
use crate::cuda::op::{CudaOp, apply};
use crate::cuda::view::{OpenTensor, View, ViewMut, from_storage};
use candle_core::{DType, Result, Shape, Storage, Tensor};

const THREADS: usize = 256;
/// Numbers of a row up to which a warp takes it, and a thread block several.
const NARROW: usize = 128;
const ROWS_OF_A_BLOCK: usize = THREADS / 32;
/// Rows of one partial sum of the gradient of the weight.
const ROWS_PER_SUM: usize = 64;

pub(super) fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    let weight = weight.to_dtype(DType::F32)?;
    apply(RmsNorm { eps: eps as f32 }, &[x, &weight])
}

/// A kernel over `rows` of `d` numbers.
fn by_rows<'a>(what: &str, dtype: DType, rows: usize, d: usize) -> Kernel<'a> {
    let (form, thread_blocks) = match d <= NARROW {
        true => ("_narrow", rows.div_ceil(ROWS_OF_A_BLOCK)),
        false => ("", rows),
    };
    let name = format!("{what}{form}_{}", dtype.as_str());
    Kernel::new(name, (thread_blocks, 1), THREADS)
}

/// Over (x, weight).
struct RmsNorm {
    eps: f32,
}

impl CudaOp for RmsNorm {
    const NAME: &'static str = "rms-norm";

    fn forward(&self, inputs: &[View]) -> Result<(Storage, Shape)> {
        let (x, w) = (inputs[0], inputs[1]);
        let (rows, d) = x.dims2()?;
        let mut y = x.alloc(x.dtype(), rows * d)?;
        by_rows("rms_norm", x.dtype(), rows, d)
            .read(x)
            .read(w)
            .write(ViewMut::of(&mut y))
            .u32(rows)
            .u32(d)
            .f32(self.eps)
            .launch()?;
        Ok((y, x.shape.clone()))
    }

    fn backward(
        &self,
        inputs: &[&Tensor],
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<Vec<Option<Tensor>>> {
        let (x, w, g) = (
            OpenTensor::of(inputs[0]),
            OpenTensor::of(inputs[1]),
            OpenTensor::of(grad),
        );
        let (x, w, g) = (x.view()?, w.view()?, g.view()?);
        let ((rows, d), dtype) = (x.dims2()?, x.dtype());
        let mut dx = x.alloc(dtype, rows * d)?;
        let mut inverses = x.alloc(DType::F32, rows)?;
        by_rows("rms_norm_backward", dtype, rows, d)
            .read(x)
            .read(w)
            .read(g)
            .write(ViewMut::of(&mut dx))
            .write(ViewMut::of(&mut inverses))
            .u32(rows)
            .u32(d)
            .f32(self.eps)
            .launch()?;
        let dx = from_storage(dx, (rows, d));
        if !inputs[1].track_op() {
            return Ok(vec![Some(dx), None]);
        }
        let (inverses, sums) = (from_storage(inverses, rows), rows.div_ceil(ROWS_PER_SUM));
        let mut parts = x.alloc(DType::F32, sums * d)?;
        let grid = (d.div_ceil(THREADS), sums);
        let inverses = OpenTensor::of(&inverses);
        Kernel::new(format!("rms_norm_weight_{}", dtype.as_str()), grid, THREADS)
            .read(x)
            .read(g)
            .read(inverses.view()?)
            .write(ViewMut::of(&mut parts))
            .u32(rows)
            .u32(d)
            .u32(ROWS_PER_SUM)
            .launch()?;
        Ok(vec![Some(dx), Some(from_storage(parts, (sums, d)).sum(0)?)])
    }
}
