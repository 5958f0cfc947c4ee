//! One decoding step of n sequences through a transformer layer, fused, on the CPU without a graph:
//! what [`crate::rms_norm`], [`crate::lora_linear`], [`crate::rope`], [`crate::cached_attention`]
//! and [`crate::swiglu`] do one after the other, in few jobs of a [`SpinPool`]. Projections of the
//! same input are one job, and what follows a projection is done while its columns are still in the
//! processor's cache.

use crate::attention::{AttentionSpec, MAX_GROUPS, cpu_decoding};
use crate::cpu::{self, Data, Shared};
use crate::elements::{Frozen, width};
use crate::product::{Mat, Term, Threads, product_at};
use crate::rms_norm::cpu as rms_norm;
use crate::rope::cpu as rope;
use crate::spin_pool::SpinPool;
use crate::swiglu::cpu as swiglu;
use crate::{cuda, skinny};
use candle_core::{Result, Tensor, bail};
use std::borrow::Cow;
use std::ops::Range;

/// A frozen projection, adapted or not. Every tensor is contiguous and in main memory; all but the
/// weight are f32.
#[derive(Clone, Copy)]
pub struct Projection<'a> {
    /// [out, in]; f32, bf16, [`crate::in_8_bits`] or [`crate::QuantisedBlocks`]
    pub weight: &'a Tensor,
    /// `[out]`, added to the projection (before a rotation)
    pub bias: Option<&'a Tensor>,
    /// A [r, in] and B [out, r]
    pub lora: Option<(&'a Tensor, &'a Tensor)>,
    /// Multiplies B·A.
    pub scale: f64,
}

/// A root-mean-square norm.
#[derive(Clone, Copy)]
pub struct Norm<'a> {
    /// `[in]`
    pub weight: &'a Tensor,
    pub eps: f64,
}

pub use crate::rope::Rotation;

/// Whether [`SpinPool`] can take the step of activations `x` with `groups` query heads for each key
/// head: f32 on the CPU, and not more groups than attention is fused for.
pub fn supports(x: &Tensor, groups: usize) -> bool {
    cpu::fused(&[x]) && !cuda::is_on_gpu(&[x]) && groups <= MAX_GROUPS
}

/// Columns of a projection that one task computes: a panel of [`product_at`].
const COLUMNS: usize = 48;

impl SpinPool<'_> {
    /// q [n, H*D] and k [n, K*D], rotated, and v [n, K*D] of the normed `x` [n, d].
    pub fn heads(
        &self,
        x: &Tensor,
        norm: Norm,
        projections: [Projection; 3],
        rotation: Rotation,
    ) -> Result<[Tensor; 3]> {
        let (cos, sin) = (Data::of(rotation.tables.0)?, Data::of(rotation.tables.1)?);
        let half = rotation.check(x.dim(0)?)?;
        let work = Work::open(x, &projections)?;
        let input = work.input(self, Some(norm))?;
        // a task computes whole heads
        let each = COLUMNS.next_multiple_of(2 * half);
        let outs: Vec<usize> = work
            .projections
            .iter()
            .map(|projection| projection.out)
            .collect();
        if outs.iter().any(|out| out % (2 * half) != 0) {
            bail!(
                "heads: projections of {outs:?} outputs are not multiples of the head width {}",
                2 * half
            )
        }
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
                rope::rotate(heads, &cos[table.clone()], &sin[table], 1.0);
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

/// Projections of one input, opened for reading.
struct Work<'a> {
    x: Data<'a>,
    /// Number of tokens.
    n: usize,
    /// Width of the input.
    k: usize,
    projections: Vec<Opened<'a>>,
}

struct Opened<'a> {
    weight: Frozen<'a>,
    bias: Option<Data<'a>>,
    out: usize,
    low: Option<Low<'a>>,
}

/// The low-rank part of a projection.
struct Low<'a> {
    a: Data<'a>,
    b: Data<'a>,
    rank: usize,
    scale: f32,
    /// Where its x·Aᵀ begins in [`Input::down`].
    at: usize,
}

/// What the projections read: the normed tokens [n, k], and x·Aᵀ [n, r] of each adapted projection,
/// concatenated.
struct Input<'a> {
    x: Cow<'a, [f32]>,
    down: Vec<f32>,
}

impl<'a> Work<'a> {
    fn open(x: &'a Tensor, projections: &[Projection<'a>]) -> Result<Self> {
        let ((n, k), mut at) = (x.dims2()?, 0);
        let mut opened = Vec::with_capacity(projections.len());
        for Projection {
            weight,
            bias,
            lora,
            scale,
        } in projections
        {
            let out = weight.dim(0)?;
            let bias = bias.map(|bias| open_bias(bias, out)).transpose()?;
            let low = match lora {
                Some((a, b)) => {
                    let rank = a.dim(0)?;
                    if a.dims() != [rank, k] || b.dims() != [out, rank] {
                        bail!(
                            "W {:?}, A {:?} and B {:?} do not fit",
                            weight.dims(),
                            a.dims(),
                            b.dims()
                        )
                    }
                    let low = Low {
                        a: Data::of(a)?,
                        b: Data::of(b)?,
                        rank,
                        scale: *scale as f32,
                        at,
                    };
                    at += n * rank;
                    Some(low)
                }
                None => None,
            };
            if width(weight)? != k || k == 0 {
                bail!(
                    "the input is [{n}, {k}] but the weight is {:?}",
                    weight.dims()
                )
            }
            let weight = Frozen::of(weight)?;
            opened.push(Opened {
                weight,
                bias,
                out,
                low,
            });
        }
        let x = Data::of(x)?;
        Ok(Self {
            x,
            n,
            k,
            projections: opened,
        })
    }

    fn input(&self, pool: &SpinPool, norm: Option<Norm>) -> Result<Input<'_>> {
        let lows = || {
            self.projections
                .iter()
                .filter_map(|projection| projection.low.as_ref())
        };
        let mut down = vec![0.0; lows().map(|low| self.n * low.rank).sum()];
        let (mut normed, weight) = match &norm {
            Some(norm) if norm.weight.dims() == [self.k] => (
                vec![0.0; self.n * self.k],
                Some((Data::of(norm.weight)?, norm.eps as f32)),
            ),
            Some(norm) => bail!(
                "the norm is {:?} but the input has {}",
                norm.weight.dims(),
                self.k
            ),
            None => (Vec::new(), None),
        };
        if weight.is_some() || !down.is_empty() {
            let (normed, down) = (Shared::new(&mut normed), Shared::new(&mut down));
            pool.each(self.n, |row| {
                let at = row * self.k..(row + 1) * self.k;
                let x = match &weight {
                    Some((weight, eps)) => {
                        // SAFETY: the tasks' rows are disjoint, here and below.
                        let y = unsafe { normed.part(at.clone()) };
                        rms_norm::forward(&self.x[at], weight, *eps, y);
                        &*y
                    }
                    None => &self.x[at],
                };
                for low in lows() {
                    let at = low.at + row * low.rank..low.at + (row + 1) * low.rank;
                    skinny::linear_one_thread(x, &low.a, self.k, unsafe { down.part(at) });
                }
            });
        }
        let x = match weight {
            Some(_) => Cow::Owned(normed),
            None => Cow::Borrowed(&*self.x),
        };
        Ok(Input { x, down })
    }

    /// Computes some columns of projection `projection` into `y` [n, out]. The caller owns these
    /// columns.
    fn columns(&self, projection: usize, input: &Input, columns: &Range<usize>, y: Shared) {
        let Opened {
            weight,
            bias,
            out,
            low,
        } = &self.projections[projection];
        let k = self.k;
        let w = weight.elements().part(columns.start * k..columns.end * k);
        let low = low.as_ref().map(|low| Term {
            k: low.rank,
            a: Mat::rows(&input.down[low.at..low.at + self.n * low.rank], low.rank),
            b: Mat::rows(
                &low.b[columns.start * low.rank..columns.end * low.rank],
                low.rank,
            )
            .t(),
            scale: low.scale,
        });
        let skinny = skinny::suits(self.n, w);
        let whole = Term::new(k, Mat::rows(&input.x, k), Mat::of(w, k).t());
        if skinny {
            skinny::columns(&input.x, w, k, *out, columns.start, y);
        }
        let terms: Vec<Term> = (!skinny).then_some(whole).into_iter().chain(low).collect();
        if !terms.is_empty() {
            let size = (self.n, columns.len());
            // SAFETY: the caller owns the columns.
            unsafe { product_at(size, y, columns.start, *out, skinny, &terms, Threads::One) }
        }
        if let Some(bias) = bias {
            for row in 0..self.n {
                let at = row * out + columns.start..row * out + columns.end;
                // SAFETY: the caller owns the columns.
                let y = unsafe { y.part(at) };
                y.iter_mut()
                    .zip(&bias[columns.clone()])
                    .for_each(|(y, bias)| *y += bias);
            }
        }
    }
}

fn open_bias(bias: &Tensor, out: usize) -> Result<Data<'_>> {
    match bias.dims() == [out] {
        true => Data::of(bias),
        false => bail!("a bias {:?} does not fit {out} outputs", bias.dims()),
    }
}

/// `0..len` in parts of `each` elements.
fn parts(len: usize, each: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len.div_ceil(each)).map(move |i| part(len, each, i))
}

fn part(len: usize, each: usize, i: usize) -> Range<usize> {
    i * each..(i * each + each).min(len)
}
