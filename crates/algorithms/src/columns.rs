//! Between flat columns of numbers and tensors.

use candle_core::{DType, Result, Tensor};
use ops::Ragged;

/// A column as a tensor of `like`'s dtype and device, without graph.
pub fn column(values: &[f32], like: &Tensor) -> Result<Tensor> {
    Tensor::new(values, like.device())?.to_dtype(like.dtype())
}

/// Sums of a flat tensor `[M]` over each row, `[R]`, with graph.
pub fn row_sums(flat: &Tensor, layout: &Ragged) -> Result<Tensor> {
    let owner: Vec<u32> = (0..layout.n_seqs())
        .flat_map(|row| std::iter::repeat_n(row as u32, layout.len(row)))
        .collect();
    let owner = Tensor::new(owner, flat.device())?;
    Tensor::zeros(layout.n_seqs(), flat.dtype(), flat.device())?.index_add(&owner, flat, 0)
}

/// All values of a tensor as f64.
pub fn host(x: &Tensor) -> Result<Vec<f64>> {
    x.detach().to_dtype(DType::F64)?.flatten_all()?.to_vec1()
}
