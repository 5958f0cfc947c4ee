//! Causal attention on the tensor cores, bf16. A block of 64 queries or keys of one head finds its rows in a list that is made here from the
//! layout.

use crate::Ragged;
use crate::attention::Dims;
use crate::cuda::launch::Launch;
use crate::cuda::node::{Node, apply};
use crate::cuda::place::{Open, Target, View, tensor};
use crate::cuda::upload::upload;
use candle_core::{DType, Result, Shape, Storage, Tensor, bail};
use std::sync::OnceLock;

/// Head widths that the kernels are compiled for.
pub const HEAD_DIMS: [usize; 4] = [16, 32, 64, 128];

const THREADS: usize = 128;
const TILE: usize = 64;
const HALF_TILE: usize = 32;

pub(crate) fn causal_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    layout: &Ragged,
    head_dim: usize,
) -> Result<Tensor> {
    let dims = Dims::of(q, k, v, layout.n_tokens(), head_dim)?;
    let (queries, n_queries) = query_tiles(layout);
    let (keys, children, n_keys) = key_tiles(layout);
    let device = q.device();
    let node = Attention {
        dims,
        queries: upload(queries, device)?,
        n_queries,
        keys: upload(keys, device)?,
        children: upload(children, device)?,
        n_keys,
        lse: OnceLock::new(),
    };
    apply(node, &[q, k, v])
}

/// `QueryTile` of attention.cuh for each, and how many.
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

/// `KeyTile` of attention.cuh for each, the (row, length) of the sequences that continue another, and how many tiles. Neither list is
/// empty, for there are no tensors without numbers on a card.
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
    dims: Dims,
    queries: Tensor,
    n_queries: usize,
    keys: Tensor,
    children: Tensor,
    n_keys: usize,
    /// log Σ exp of the scaled scores, [N, H], of the forward pass
    lse: OnceLock<Tensor>,
}

impl Attention {
    fn launch<'a>(&self, what: &str, grid: (usize, usize), rows: usize) -> Launch<'a> {
        let width = self.dims.head;
        // rows of bf16, a little longer than the head; and two numbers for each of 32 queries
        let shared = rows * (width + 8) * 2 + 2 * HALF_TILE * 4;
        Launch::new(format!("{what}_{width}"), grid, THREADS).shared(shared)
    }

    fn heads(&self) -> usize {
        self.dims.q / self.dims.head
    }
}

impl Node for Attention {
    const NAME: &'static str = "causal-attention";

    fn forward(&self, inputs: &[View]) -> Result<(Storage, Shape)> {
        let [q, k, v] = [inputs[0], inputs[1], inputs[2]];
        let ((n, width), heads) = (q.dims2()?, self.heads());
        let (mut out, mut lse) = (
            q.room(DType::BF16, n * width)?,
            q.room(DType::F32, n * heads)?,
        );
        let tiles = Open::of(&self.queries);
        self.launch("attention", (self.n_queries, heads), 2 * TILE)
            .read(q)
            .read(k)
            .read(v)
            .write(Target::of(&mut out))
            .write(Target::of(&mut lse))
            .read(tiles.view()?)
            .u32(heads)
            .u32(self.dims.groups())
            .f32(self.dims.scale())
            .run()?;
        self.lse.get_or_init(|| tensor(lse, (n, heads)));
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
        let [q, k, v] = [0, 1, 2].map(|i| Open::of(inputs[i]));
        let (q, k, v) = (q.view()?, k.view()?, v.view()?);
        let (out, grad, lse) = (Open::of(out), Open::of(grad), Open::of(lse));
        let (grad, lse) = (grad.view()?, lse.view()?);
        let (heads, groups, scale) = (self.heads(), self.dims.groups(), self.dims.scale());
        let (n, width) = q.dims2()?;
        let (mut dq, mut dots) = (
            q.room(DType::BF16, n * width)?,
            q.room(DType::F32, n * heads)?,
        );
        let tiles = Open::of(&self.queries);
        self.launch("attention_queries", (self.n_queries, heads), TILE)
            .read(q)
            .read(k)
            .read(v)
            .read(out.view()?)
            .read(grad)
            .read(lse)
            .write(Target::of(&mut dots))
            .write(Target::of(&mut dq))
            .read(tiles.view()?)
            .u32(heads)
            .u32(groups)
            .f32(scale)
            .run()?;
        let dots = tensor(dots, (n, heads));
        let count = k.shape.elem_count();
        let (mut dk, mut dv) = (k.room(DType::BF16, count)?, k.room(DType::BF16, count)?);
        let (tiles, children) = (Open::of(&self.keys), Open::of(&self.children));
        let dots = Open::of(&dots);
        let grid = (self.n_keys, heads / groups);
        self.launch("attention_keys", grid, 2 * TILE + 2 * HALF_TILE)
            .read(q)
            .read(k)
            .read(v)
            .read(grad)
            .read(lse)
            .read(dots.view()?)
            .write(Target::of(&mut dk))
            .write(Target::of(&mut dv))
            .read(tiles.view()?)
            .read(children.view()?)
            .u32(heads)
            .u32(groups)
            .f32(scale)
            .run()?;
        let of = |storage, input: &Tensor| Some(tensor(storage, input.shape()));
        Ok(vec![
            of(dq, inputs[0]),
            of(dk, inputs[1]),
            of(dv, inputs[2]),
        ])
    }
}
