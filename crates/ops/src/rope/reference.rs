//! Rotary embedding as a composition of candle's operations: the reference of the tests, and what
//! devices and dtypes without a fused form run.

use crate::rope::Rotation;
use candle_core::{Result, Tensor};

/// [`crate::rope`] on any device.
pub fn rope(x: &Tensor, rotation: Rotation) -> Result<Tensor> {
    let ((n, width), head_dim) = (x.dims2()?, rotation.head_dim);
    let half = rotation.tables.0.dim(1)?;
    let at = Tensor::new(rotation.positions, x.device())?;
    let angles = |table: &Tensor| {
        let rows = table.index_select(&at, 0)?.reshape((n, 1, half))?;
        rows.to_dtype(x.dtype())
    };
    let (cos, sin) = (angles(rotation.tables.0)?, angles(rotation.tables.1)?);
    let x = x.reshape((n, width / head_dim, head_dim))?;
    let (x1, x2) = (x.narrow(2, 0, half)?, x.narrow(2, half, half)?);
    let y1 = (x1.broadcast_mul(&cos)? - x2.broadcast_mul(&sin)?)?;
    let y2 = (x2.broadcast_mul(&cos)? + x1.broadcast_mul(&sin)?)?;
    let mut parts = vec![y1, y2];
    if head_dim > 2 * half {
        parts.push(x.narrow(2, 2 * half, head_dim - 2 * half)?);
    }
    Tensor::cat(&parts, 2)?.reshape((n, width))
}
