//! Causal attention on the GPU's tensor cores, bf16. A thread block handles a tile of 64 queries or
//! keys of one head and finds its rows in a list of tiles, which is made here from the layout.

use super::spec::AttentionSpec;
use crate::cuda::kernel::Kernel;
use crate::cuda::op::{CudaOp, apply};
use crate::cuda::upload::upload;
use crate::cuda::view::{OpenTensor, View, ViewMut, from_storage};
use crate::ragged::Ragged;
use candle_core::{DType, Result, Shape, Storage, Tensor, bail};
use std::sync::OnceLock;

/// Head widths that the kernels are compiled for.
pub const HEAD_DIMS: [usize; 5] = [16, 32, 64, 96, 128];

const THREADS: usize = 128;
const TILE: usize = 64;
const HALF_TILE: usize = 32;

pub(super) fn causal_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    layout: &Ragged,
    spec: AttentionSpec,
) -> Result<Tensor> {
    let (queries, n_queries) = query_tiles(layout);
    let (keys, children, n_keys) = key_tiles(layout);
    let device = q.device();
    let node = Attention {
        spec,
        queries: upload(queries, device)?,
        n_queries,
        keys: upload(keys, device)?,
        children: upload(children, device)?,
        n_keys,
        window: spec.reach().min(layout.n_tokens()),
        lse: OnceLock::new(),
    };
    apply(node, &[q, k, v])
}

/// One `QueryTile` of attention.cuh per tile, and the number of tiles.
fn query_tiles(layout: &Ragged) -> (Vec<u32>, usize) {
    let (mut tiles, mut n) = (Vec::new(), 0);
    for seq in 0..layout.n_seqs() {
        let (own, prefix) = (layout.range(seq), layout.prefix(seq));
        for start in (0..own.len()).step_by(TILE) {
            let tile = [
                own.start + start,
                TILE.min(own.len() - start),
                prefix.len() + start,
                prefix.start,
                prefix.len(),
                own.start,
            ];
            tiles.extend(tile.map(|x| x as u32));
            n += 1;
        }
    }
    (tiles, n)
}

/// One `KeyTile` of attention.cuh per tile, the (row, length) of the sequences that continue
/// another, and the number of tiles. Neither list is empty: a GPU tensor has at least one element.
fn key_tiles(layout: &Ragged) -> (Vec<u32>, Vec<u32>, usize) {
    let (mut tiles, mut children, mut n) = (Vec::new(), Vec::new(), 0);
    for family in layout.families() {
        let first = children.len() / 2;
        for &child in &family[1..] {
            let range = layout.range(child);
            if !range.is_empty() {
                children.extend([range.start as u32, range.len() as u32]);
            }
        }
        let count = children.len() / 2 - first;
        for (i, &seq) in family.iter().enumerate() {
            let own = layout.range(seq);
            for start in (0..own.len()).step_by(TILE) {
                let tile = [
                    own.start + start,
                    TILE.min(own.len() - start),
                    start,
                    own.start,
                    own.len(),
                    first,
                    if i == 0 { count } else { 0 },
                ];
                tiles.extend(tile.map(|x| x as u32));
                n += 1;
            }
        }
    }
    if children.is_empty() {
        children.extend([0, 0]);
    }
    (tiles, children, n)
}

struct Attention {
    spec: AttentionSpec,
    queries: Tensor,
    n_queries: usize,
    keys: Tensor,
    children: Tensor,
    n_keys: usize,
    /// Keys that a query sees, at most N
    window: usize,
    /// log Σ exp of the scaled scores, [N, H], of the forward pass
    lse: OnceLock<Tensor>,
}

impl Attention {
    fn kernel<'a>(&self, what: &str, grid: (usize, usize), rows: usize) -> Kernel<'a> {
        let width = self.spec.head_dim;
        // rows of bf16, padded by 8 elements; and two f32 for each of 32 queries
        let shared = rows * (width + 8) * 2 + 2 * HALF_TILE * 4;
        Kernel::new(format!("{what}_{width}"), grid, THREADS).shared(shared)
    }
}

impl CudaOp for Attention {
    const NAME: &'static str = "causal-attention";

    fn forward(&self, inputs: &[View]) -> Result<(Storage, Shape)> {
        let [q, k, v] = [inputs[0], inputs[1], inputs[2]];
        let ((n, width), heads) = (q.dims2()?, self.spec.heads);
        let (mut out, mut lse) = (
            q.alloc(DType::BF16, n * width)?,
            q.alloc(DType::F32, n * heads)?,
        );
        let tiles = OpenTensor::of(&self.queries);
        self.kernel("attention", (self.n_queries, heads), 2 * TILE)
            .read(q)
            .read(k)
            .read(v)
            .write(ViewMut::of(&mut out))
            .write(ViewMut::of(&mut lse))
            .read(tiles.view()?)
            .u32(self.window)
            .u32(heads)
            .u32(self.spec.groups())
            .f32(self.spec.scale_f32())
            .launch()?;
        self.lse.get_or_init(|| from_storage(lse, (n, heads)));
        Ok((out, q.shape.clone()))
    }

    fn backward(
        &self,
        inputs: &[&Tensor],
        out: &Tensor,
        grad: &Tensor,
    ) -> Result<Vec<Option<Tensor>>> {
        let Some(lse) = self.lse.get() else {
            bail!("causal-attention: backward without forward")
        };
        let [q, k, v] = [0, 1, 2].map(|i| OpenTensor::of(inputs[i]));
        let (q, k, v) = (q.view()?, k.view()?, v.view()?);
        let (out, grad, lse) = (
            OpenTensor::of(out),
            OpenTensor::of(grad),
            OpenTensor::of(lse),
        );
        let (grad, lse) = (grad.view()?, lse.view()?);
        let (heads, groups, scale) = (self.spec.heads, self.spec.groups(), self.spec.scale_f32());
        let (n, width) = q.dims2()?;
        let (mut dq, mut dots) = (
            q.alloc(DType::BF16, n * width)?,
            q.alloc(DType::F32, n * heads)?,
        );
        let tiles = OpenTensor::of(&self.queries);
        self.kernel("attention_queries", (self.n_queries, heads), TILE)
            .read(q)
            .read(k)
            .read(v)
            .read(out.view()?)
            .read(grad)
            .read(lse)
            .write(ViewMut::of(&mut dots))
            .write(ViewMut::of(&mut dq))
            .read(tiles.view()?)
            .u32(self.window)
            .u32(heads)
            .u32(groups)
            .f32(scale)
            .launch()?;
        let dots = from_storage(dots, (n, heads));
        let count = k.shape.elem_count();
        let (mut dk, mut dv) = (k.alloc(DType::BF16, count)?, k.alloc(DType::BF16, count)?);
        let (tiles, children) = (OpenTensor::of(&self.keys), OpenTensor::of(&self.children));
        let dots = OpenTensor::of(&dots);
        let grid = (self.n_keys, heads / groups);
        self.kernel("attention_keys", grid, 2 * TILE + 2 * HALF_TILE)
            .read(q)
            .read(k)
            .read(v)
            .read(grad)
            .read(lse)
            .read(dots.view()?)
            .write(ViewMut::of(&mut dk))
            .write(ViewMut::of(&mut dv))
            .read(tiles.view()?)
            .read(children.view()?)
            .u32(self.window)
            .u32(heads)
            .u32(groups)
            .f32(scale)
            .launch()?;
        let of = |storage, input: &Tensor| Some(from_storage(storage, input.shape()));
        Ok(vec![
            of(dq, inputs[0]),
            of(dk, inputs[1]),
            of(dv, inputs[2]),
        ])
    }
}
