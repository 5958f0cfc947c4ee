//! One decoding step of n sequences through a transformer layer, fused, on the CPU without a graph:
//! what [`crate::rms_norm`], [`crate::lora_linear`], [`crate::rope`], [`crate::cached_attention`]
//! and [`crate::swiglu`] do one after the other, in few jobs of a [`SpinPool`]. Projections of the
//! same input are one job, and what follows a projection is done while its columns are still in the
//! processor's cache.

mod work;

pub use crate::rope::Rotation;
pub use work::{Norm, Projection};

use crate::attention::{AttentionSpec, MAX_GROUPS, cpu_decoding};
use crate::cpu::{self, Data, Shared};
use crate::cuda;
use crate::rms_norm::cpu as rms_norm;
use crate::rope::cpu as rope;
use crate::spin_pool::SpinPool;
use crate::swiglu::cpu as swiglu;
use candle_core::{Result, Tensor, bail};
use std::ops::Range;
use work::Work;

/// Whether [`SpinPool`] can take the step of activations `x` with `groups` query heads for each key
/// head: f32 on the CPU, and not more groups than attention is fused for.
pub fn supports(x: &Tensor, groups: usize) -> bool {
    cpu::fused(&[x]) && !cuda::is_on_gpu(&[x]) && groups <= MAX_GROUPS
}

/// Columns of a projection that one task computes: a panel of [`crate::product::product_at`].
const COLUMNS: usize = 48;

impl SpinPool<'_> {
    /// q [n, H*D] and k [n, K*D], rotated, and v [n, K*D] of the normed `x` [n, d]. `head_norms`,
    /// of q and of k, each `[D]`, are of each head before its rotation.
    pub fn heads(
        &self,
        x: &Tensor,
        norm: Norm,
        projections: [Projection; 3],
        head_norms: Option<[Norm; 2]>,
        rotation: Rotation,
    ) -> Result<[Tensor; 3]> {
        let (cos, sin) = (Data::of(rotation.tables.0)?, Data::of(rotation.tables.1)?);
        let work = Work::open(x, &projections)?;
        let outs = [0, 1, 2].map(|i| work.projections[i].out);
        let (half, head_dim) = (rotation.check(work.n, &outs)?, rotation.head_dim);
        let head_norms = open_head_norms(&head_norms, head_dim)?;
        let input = work.input(self, Some(norm))?;
        // a task computes whole heads
        let each = COLUMNS.next_multiple_of(head_dim);
        let mut y = outs
            .iter()
            // SAFETY: the projections write all their columns, here and below.
            .map(|out| unsafe { cpu::uninit(work.n * out) })
            .collect::<Vec<_>>();
        let shared: Vec<Shared> = y.iter_mut().map(|y| Shared::new(y)).collect();
        let tasks: Vec<(usize, Range<usize>)> = (0..3)
            .flat_map(|i| parts(outs[i], each).map(move |columns| (i, columns)))
            .collect();
        self.each(tasks.len(), |task| {
            let (i, columns) = &tasks[task];
            work.columns(*i, &input, columns, shared[*i]);
            for (row, position) in rotation.positions.iter().enumerate().filter(|_| *i < 2) {
                let at = row * outs[*i];
                let table = *position as usize * half..(*position as usize + 1) * half;
                // SAFETY: the tasks' columns are disjoint.
                let heads = unsafe { shared[*i].part(at + columns.start..at + columns.end) };
                if let Some((weight, eps)) = head_norms.get(*i) {
                    rms_norm::in_place(heads, weight, *eps);
                }
                rope::rotate(heads, head_dim, &cos[table.clone()], &sin[table], 1.0);
            }
        });
        let mut tensors = y
            .into_iter()
            .zip(outs)
            .map(|(y, out)| cpu::tensor(y, (work.n, out)));
        let mut next = || tensors.next().expect("three projections");
        Ok([next()?, next()?, next()?])
    }

    /// [`crate::cached_attention`] in one job of the pool.
    pub fn attend(
        &self,
        q: &Tensor,
        keys: &Tensor,
        values: &Tensor,
        spans: &[Vec<(usize, usize)>],
        spec: AttentionSpec,
    ) -> Result<Tensor> {
        spec.check_cached([q, keys, values], spans)?;
        cpu_decoding::cached_attention(q, keys, values, spans, spec, Some(self))
    }

    /// `x + projection(input)`: `x` [n, d], `input` [n, in].
    pub fn add(&self, x: &Tensor, input: &Tensor, projection: Projection) -> Result<Tensor> {
        let projections = [projection];
        let work = Work::open(input, &projections)?;
        let out = work.projections[0].out;
        if x.dims() != [work.n, out] {
            bail!(
                "add: x is {:?} but the projection gives [{}, {out}]",
                x.dims(),
                work.n
            )
        }
        let (input, x) = (work.input(self, None)?, Data::of(x)?);
        // SAFETY: as above.
        let (mut y, x) = (unsafe { cpu::uninit(work.n * out) }, &*x);
        let shared = Shared::new(&mut y);
        self.each(out.div_ceil(COLUMNS), |task| {
            let columns = part(out, COLUMNS, task);
            work.columns(0, &input, &columns, shared);
            for row in 0..work.n {
                let at = row * out + columns.start..row * out + columns.end;
                // SAFETY: the tasks' columns are disjoint.
                let y = unsafe { shared.part(at.clone()) };
                y.iter_mut().zip(&x[at]).for_each(|(y, x)| *y += x);
            }
        });
        cpu::tensor(y, (work.n, out))
    }

    /// `silu(gate(x)) ∘ up(x)` of the normed `x` [n, d]: [n, out].
    pub fn gated(
        &self,
        x: &Tensor,
        norm: Norm,
        gate: Projection,
        up: Projection,
    ) -> Result<Tensor> {
        let projections = [gate, up];
        let work = Work::open(x, &projections)?;
        let out = work.projections[0].out;
        if work.projections[1].out != out {
            bail!(
                "gated: gate has {out} outputs and up has {}",
                work.projections[1].out
            )
        }
        let input = work.input(self, Some(norm))?;
        let size = work.n * out;
        // SAFETY: as above.
        let mut buffers = [(); 3].map(|()| unsafe { cpu::uninit(size) });
        let shared = buffers.each_mut().map(|data| Shared::new(data));
        self.each(out.div_ceil(COLUMNS), |task| {
            let columns = part(out, COLUMNS, task);
            work.columns(0, &input, &columns, shared[0]);
            work.columns(1, &input, &columns, shared[1]);
            for row in 0..work.n {
                let at = row * out + columns.start..row * out + columns.end;
                // SAFETY: the tasks' columns are disjoint.
                let [gate, up, y] = unsafe { shared.each_ref().map(|data| data.part(at.clone())) };
                swiglu::forward(gate, up, y);
            }
        });
        let [_, _, y] = buffers;
        cpu::tensor(y, (work.n, out))
    }
}

/// Weights `[head_dim]` and eps of the norms of q and k, or nothing.
fn open_head_norms<'a>(
    norms: &Option<[Norm<'a>; 2]>,
    head_dim: usize,
) -> Result<Vec<(Data<'a>, f32)>> {
    let open = |norm: &Norm<'a>| match norm.weight.dims() == [head_dim] {
        true => Ok((Data::of(norm.weight)?, norm.eps as f32)),
        false => bail!(
            "heads: a norm of heads is {:?} but a head has {head_dim}",
            norm.weight.dims()
        ),
    };
    norms.iter().flatten().map(open).collect()
}

/// `0..len` in parts of `each` elements.
fn parts(len: usize, each: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len.div_ceil(each)).map(move |i| part(len, each, i))
}

fn part(len: usize, each: usize, i: usize) -> Range<usize> {
    i * each..(i * each + each).min(len)
}
