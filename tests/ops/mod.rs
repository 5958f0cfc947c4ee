//! The operations of `ops`: fused forms against their references, references against finite
//! differences, closed forms.

mod all;
mod attention;
pub(crate) mod attention_window;
mod element_wise;
mod head;
mod int16;
mod linear;
mod quantised_blocks;
mod step;

use candle_core::{DType, Device, Result, Tensor};
use testkit::varied;

pub(crate) fn f32s(shape: &[usize], seed: u64, scale: f64) -> Tensor {
    varied(shape, seed, scale).to_dtype(DType::F32).unwrap()
}

/// cos and sin tables [max_pos, D/2], f64.
pub(crate) fn tables(max_pos: usize, head_dim: usize) -> (Tensor, Tensor) {
    let half = head_dim / 2;
    let angle = |p: usize, i: usize| p as f64 * 1e4f64.powf(-(i as f64) / half as f64);
    let all: Vec<f64> = (0..max_pos)
        .flat_map(|p| (0..half).map(move |i| angle(p, i)))
        .collect();
    let angles = Tensor::from_vec(all, (max_pos, half), &Device::Cpu).unwrap();
    (angles.cos().unwrap(), angles.sin().unwrap())
}

pub(crate) fn targets(m: usize, vocab: usize) -> Vec<u32> {
    (0..m).map(|i| ((i * 7 + 3) % vocab) as u32).collect()
}

pub(crate) fn temperatures(m: usize) -> Vec<f32> {
    (0..m).map(|i| [1.0, 0.5, 2.0][i % 3]).collect()
}

/// [2, M]
pub(crate) fn stacked(scores: ops::TokenScores) -> Result<Tensor> {
    Tensor::stack(&[scores.logp, scores.entropy], 0)
}
