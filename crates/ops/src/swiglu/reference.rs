//! SwiGLU as a composition of candle's operations: the reference of the tests, and what devices and
//! dtypes without a fused form run.

use candle_core::{Result, Tensor};

/// [`crate::swiglu`] on any device.
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    gate.silu()? * up
}
