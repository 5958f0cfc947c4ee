//! The gated activation of LLaMA's feed-forward layer. Source: Shazeer 2020.

pub(crate) mod cpu;
mod cuda;
pub mod reference;

use crate::cpu::fused;
use candle_core::{Result, Tensor, bail};

/// `silu(gate) * up`, element by element. Gradient to both.
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    check(gate, up)?;
    if crate::cuda::supports(&[gate, up]) {
        return cuda::swiglu(gate, up);
    }
    if fused(&[gate, up]) {
        cpu::swiglu(gate, up)
    } else {
        reference::swiglu(gate, up)
    }
}

fn check(gate: &Tensor, up: &Tensor) -> Result<()> {
    if gate.dims() != up.dims() {
        bail!(
            "swiglu: gate is {:?} but up is {:?}",
            gate.dims(),
            up.dims()
        )
    }
    Ok(())
}
