//! The positions of tokens and the table of their rotations.

use candle_core::{Result, Tensor, bail};

/// The rotary embedding of n tokens.
#[derive(Clone, Copy)]
pub struct Rotation<'a> {
    /// cos and sin, each [max_pos, D/2], f32
    pub tables: (&'a Tensor, &'a Tensor),
    /// One per token
    pub positions: &'a [u32],
}

impl Rotation<'_> {
    /// Checks that the tables hold the positions of `n` tokens. D/2.
    pub(crate) fn check(&self, n: usize) -> Result<usize> {
        let ((cos, sin), positions) = (self.tables, self.positions);
        let (max_pos, half) = cos.dims2()?;
        if sin.dims() != cos.dims() || positions.len() != n || half == 0 {
            bail!(
                "rope: {n} tokens, cos {:?}, sin {:?} and {} positions do not fit",
                cos.dims(),
                sin.dims(),
                positions.len()
            )
        }
        match positions.iter().find(|p| **p as usize >= max_pos) {
            Some(p) => bail!("rope: position {p} is beyond the table of {max_pos}"),
            None => Ok(half),
        }
    }
}
