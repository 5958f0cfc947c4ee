//! Writing into a KV cache in place. `store` is [S, width], one row per cached token; nothing
//! records a graph.

mod cpu;
mod cuda;
pub mod reference;

use crate::cpu::fused;
use crate::cuda as gpu;
use crate::rope::{Rotation, rope};
use candle_core::{Result, Tensor};

/// Writes token rows into a key or value cache in place: row i of `src` [n, width] goes to row
/// `rows[i]` of `store` [S, width].
pub fn scatter_rows(store: &Tensor, rows: &[usize], src: &Tensor) -> Result<()> {
    if gpu::supports(&[store, src]) {
        return cuda::scatter_rows(store, rows, src);
    }
    if fused(&[store, src]) {
        cpu::scatter_rows(store, rows, src)
    } else {
        reference::scatter_rows(store, rows, src)
    }
}

/// Rotates queries and keys to their positions and writes keys and values into the cache: [`rope`]
/// and [`scatter_rows`] in one kernel on a GPU. `q` [n, H*D], `k` and `v` [n, K*D]; token i goes to
/// row `rows[i]` of `stores` (keys and values, [S, K*D]). Result: the rotated queries [n, H*D].
pub fn rotate_into(
    [q, k, v]: [&Tensor; 3],
    rotation: Rotation,
    stores: (&Tensor, &Tensor),
    rows: &[usize],
) -> Result<Tensor> {
    if gpu::supports(&[q, k, v, stores.0, stores.1]) {
        return cuda::rotate_into([q, k, v], rotation, stores, rows);
    }
    let rotated = |x: &Tensor| rope(&x.detach(), rotation);
    scatter_rows(stores.0, rows, &rotated(k)?)?;
    scatter_rows(stores.1, rows, v)?;
    rotated(q)
}
