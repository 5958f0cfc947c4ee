//! The positions of tokens and the table of their rotations.

use candle_core::{Result, Tensor, bail};

/// The rotary embedding of n tokens. The first R numbers of each head of D are rotated, in the
/// pairs (i, i + R/2); the other D − R are left as they are.
#[derive(Clone, Copy)]
pub struct Rotation<'a> {
    /// cos and sin, each [max_pos, R/2], f32
    pub tables: (&'a Tensor, &'a Tensor),
    /// One per token
    pub positions: &'a [u32],
    /// D: width of a head, at least R
    pub head_dim: usize,
}

impl Rotation<'_> {
    /// Checks that the tables hold the positions of `n` tokens and that rows of each of `widths`
    /// are whole heads. R/2.
    pub(crate) fn check(&self, n: usize, widths: &[usize]) -> Result<usize> {
        let ((cos, sin), positions, head_dim) = (self.tables, self.positions, self.head_dim);
        let (max_pos, half) = cos.dims2()?;
        if sin.dims() != cos.dims() || positions.len() != n || half == 0 {
            bail!(
                "rope: {n} tokens, cos {:?}, sin {:?} and {} positions do not fit",
                cos.dims(),
                sin.dims(),
                positions.len()
            )
        }
        if 2 * half > head_dim {
            bail!(
                "rope: the tables rotate {} numbers but a head has {head_dim}",
                2 * half
            )
        }
        if let Some(width) = widths.iter().find(|width| *width % head_dim != 0) {
            bail!("rope: a width of {width} is not a multiple of the head width {head_dim}")
        }
        match positions.iter().find(|p| **p as usize >= max_pos) {
            Some(p) => bail!("rope: position {p} is beyond the table of {max_pos}"),
            None => Ok(half),
        }
    }
}
