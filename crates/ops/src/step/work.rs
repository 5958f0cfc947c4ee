//! The projections of one input, and the columns of them that one task of a step computes.

use crate::Compute;
use crate::cpu::{Data, Shared};
use crate::elements::{Frozen, width};
use crate::int16::FewRows;
use crate::product::{Mat, Term, Threads, product_at};
use crate::rms_norm::cpu as rms_norm;
use crate::skinny;
use crate::spin_pool::SpinPool;
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
    /// The arithmetic of the product with the weight
    pub compute: Compute,
}

/// A root-mean-square norm.
#[derive(Clone, Copy)]
pub struct Norm<'a> {
    /// `[width]`
    pub weight: &'a Tensor,
    pub eps: f64,
}

/// Projections of one input, opened for reading.
pub(super) struct Work<'a> {
    x: Data<'a>,
    /// Number of tokens.
    pub(super) n: usize,
    /// Width of the input.
    k: usize,
    pub(super) projections: Vec<Opened<'a>>,
    /// The weights are multiplied as integers.
    as_integers: bool,
}

pub(super) struct Opened<'a> {
    weight: Frozen<'a>,
    bias: Option<Data<'a>>,
    pub(super) out: usize,
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
pub(super) struct Input<'a> {
    x: Cow<'a, [f32]>,
    integers: Option<FewRows>,
    down: Vec<f32>,
}

impl<'a> Work<'a> {
    pub(super) fn open(x: &'a Tensor, projections: &[Projection<'a>]) -> Result<Self> {
        let ((n, k), mut at) = (x.dims2()?, 0);
        let mut opened = Vec::with_capacity(projections.len());
        for Projection {
            weight,
            bias,
            lora,
            scale,
            ..
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
        let integers = projections.iter().zip(&opened).all(|(projection, opened)| {
            let w = opened.weight.elements();
            projection.compute == Compute::Int16 && FewRows::takes(n, w)
        });
        Ok(Self {
            x,
            n,
            k,
            projections: opened,
            as_integers: integers && n > 0,
        })
    }

    pub(super) fn input(&self, pool: &SpinPool, norm: Option<Norm>) -> Result<Input<'_>> {
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
        let integers = self.as_integers.then(|| FewRows::new(&x, self.k));
        Ok(Input { x, integers, down })
    }

    /// Computes some columns of projection `projection` into `y` [n, out]. The caller owns these
    /// columns.
    pub(super) fn columns(
        &self,
        projection: usize,
        input: &Input,
        columns: &Range<usize>,
        y: Shared,
    ) {
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
        let whole = Term::new(k, Mat::rows(&input.x, k), Mat::of(w, k).t());
        let skinny = match &input.integers {
            Some(rows) => {
                rows.columns(w, *out, columns.start, y);
                true
            }
            None if skinny::suits(self.n, w) => {
                skinny::columns(&input.x, w, k, *out, columns.start, y);
                true
            }
            None => false,
        };
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
