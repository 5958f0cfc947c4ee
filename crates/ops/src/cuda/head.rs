//! The vocabulary head, a chunk of rows at a time: logits in f32, their statistics, and in backward their gradient, made again.

use crate::cuda::gemm::{Side, gemm};
use crate::cuda::launch::Launch;
use crate::cuda::linear::{cast, logits};
use crate::cuda::node::{Node, apply};
use crate::cuda::place::{Open, Target, View, tensor};
use crate::cuda::wide;
use crate::head::check;
use candle_core::{DType, Result, Shape, Storage, Tensor, bail};
use std::sync::OnceLock;

const THREADS: usize = 512;
/// Logits of a chunk: 64 MiB in f32. The head is read once for each.
const CHUNK: usize = 16 * 1024 * 1024;

/// The rows of a chunk.
fn step(vocab: usize) -> usize {
    (CHUNK / vocab.max(1)).max(1)
}

/// [2, M]: log-probabilities, then entropies. Gradient to `hidden`.
pub(crate) fn token_scores(
    hidden: &Tensor,
    head: &Tensor,
    targets: &[u32],
    temperature: &[f32],
) -> Result<Tensor> {
    apply(Scores::of(hidden, head, targets, temperature)?, &[hidden])
}

#[derive(Clone)]
struct Scores {
    /// [V, d], detached; it may lie in blocks
    head: Tensor,
    /// [M]
    labels: Tensor,
    /// 1 / temperature, [M]
    inverse: Tensor,
    /// log Σ exp of each row, [M], of the forward pass
    lse: OnceLock<Tensor>,
}

impl Scores {
    fn of(hidden: &Tensor, head: &Tensor, targets: &[u32], temperature: &[f32]) -> Result<Self> {
        check(hidden, head, targets, temperature)?;
        let inverse: Vec<f32> = temperature.iter().map(|t| 1.0 / t).collect();
        let device = hidden.device();
        Ok(Self {
            head: head.detach().contiguous()?,
            labels: Tensor::from_slice(targets, targets.len(), device)?,
            inverse: Tensor::from_vec(inverse, targets.len(), device)?,
            lse: OnceLock::new(),
        })
    }

    /// Statistics of the logits of rows `first ..` into `scores` [2, total] and `lse` [total].
    fn chunk(
        &self,
        logits: View,
        first: usize,
        total: usize,
        scores: &mut Storage,
        lse: &mut Storage,
    ) -> Result<()> {
        let (labels, inverse) = (Open::of(&self.labels), Open::of(&self.inverse));
        let (rows, vocab) = logits.dims2()?;
        Launch::new("token_scores", (rows, 1), THREADS)
            .read(logits)
            .read(labels.view()?)
            .read(inverse.view()?)
            .write(Target::of(scores))
            .write(Target::of(lse))
            .u32(vocab)
            .u32(first)
            .u32(total)
            .run()
    }
}

impl Node for Scores {
    const NAME: &'static str = "token-scores";

    fn forward(&self, inputs: &[View]) -> Result<(Storage, Shape)> {
        let hidden = inputs[0];
        let ((m, d), vocab) = (hidden.dims2()?, self.head.dim(0)?);
        let mut scores = hidden.room(DType::F32, 2 * m)?;
        let mut lse = hidden.room(DType::F32, m)?;
        let head = wide(&self.head)?;
        let w = Open::of(&head);
        let w = w.view()?;
        for first in (0..m).step_by(step(vocab)) {
            let rows = step(vocab).min(m - first);
            let chunk = Logits::of(hidden.skip(first * d), rows, w)?;
            self.chunk(chunk.view(), first, m, &mut scores, &mut lse)?;
        }
        self.lse.get_or_init(|| tensor(lse, m));
        Ok((scores, (2, m).into()))
    }

    fn backward(
        &self,
        inputs: &[&Tensor],
        scores: &Tensor,
        grad: &Tensor,
    ) -> Result<Vec<Option<Tensor>>> {
        let Some(lse) = self.lse.get() else {
            bail!("token-scores: backward without forward")
        };
        let ((m, d), vocab) = (inputs[0].dims2()?, self.head.dim(0)?);
        let head = wide(&self.head)?;
        let (hidden, w) = (Open::of(inputs[0]), Open::of(&head));
        let (hidden, w) = (hidden.view()?, w.view()?);
        let (labels, inverse) = (Open::of(&self.labels), Open::of(&self.inverse));
        let (scores, lse, grad) = (Open::of(scores), Open::of(lse), Open::of(grad));
        let dtype = w.dtype();
        let mut parts = Vec::new();
        for first in (0..m).step_by(step(vocab)) {
            let rows = step(vocab).min(m - first);
            let chunk = Logits::of(hidden.skip(first * d), rows, w)?;
            let mut g = hidden.room(dtype, rows * vocab)?;
            Launch::new(
                format!("token_scores_backward_{}", dtype.as_str()),
                (rows, 1),
                THREADS,
            )
            .read(chunk.view())
            .read(labels.view()?)
            .read(inverse.view()?)
            .read(scores.view()?)
            .read(lse.view()?)
            .read(grad.view()?)
            .write(Target::of(&mut g))
            .u32(vocab)
            .u32(first)
            .u32(m)
            .run()?;
            drop(chunk);
            let g = tensor(g, (rows, vocab));
            let g = Open::of(&g);
            let mut dx = hidden.room(hidden.dtype(), rows * d)?;
            let (a, b) = (Side::rows(g.view()?), Side::rows(w));
            gemm(Target::of(&mut dx), (rows, d, vocab), 1.0, a, b, false)?;
            parts.push(tensor(dx, (rows, d)));
        }
        Ok(vec![Some(Tensor::cat(&parts, 0)?)])
    }
}

/// The logits of some rows, f32.
struct Logits {
    storage: Storage,
    shape: Shape,
}

impl Logits {
    fn of(hidden: View, rows: usize, w: View) -> Result<Self> {
        let (vocab, d) = w.dims2()?;
        let (of_rows, mut room) = (Shape::from((rows, d)), None);
        let hidden = View {
            shape: &of_rows,
            ..hidden
        };
        let mut storage = hidden.room(DType::F32, rows * vocab)?;
        let x = cast(hidden, w.dtype(), &mut room)?;
        let (a, b) = (Side::rows(x), Side::columns(w));
        gemm(Target::of(&mut storage), (rows, vocab, d), 1.0, a, b, false)?;
        Ok(Self {
            storage,
            shape: (rows, vocab).into(),
        })
    }

    fn view(&self) -> View<'_> {
        View::whole(&self.storage, &self.shape)
    }
}

/// [5, M]: log-probability and entropy under p, the same under q, and KL(p ‖ q).
pub(crate) fn compared_scores(
    hidden_p: &Tensor,
    hidden_q: &Tensor,
    head: &Tensor,
    targets: &[u32],
    temperature: &[f32],
) -> Result<Tensor> {
    let both = Scores::of(hidden_p, head, targets, temperature)?;
    check(hidden_q, head, targets, temperature)?;
    let head = wide(&both.head)?;
    let (m, vocab) = (hidden_p.dim(0)?, head.dim(0)?);
    let inverse = Open::of(&both.inverse);
    let place = inverse.view()?;
    let room = |count| place.room(DType::F32, count);
    let (mut scores, mut lse) = ([room(2 * m)?, room(2 * m)?], [room(m)?, room(m)?]);
    let mut kl = room(m)?;
    for first in (0..m).step_by(step(vocab)) {
        let rows = step(vocab).min(m - first);
        let chunk = |hidden: &Tensor| logits(&hidden.narrow(0, first, rows)?, &head);
        let (p, q) = (chunk(hidden_p)?, chunk(hidden_q)?);
        let (p, q) = (Open::of(&p), Open::of(&q));
        for ((logits, scores), lse) in [&p, &q].into_iter().zip(&mut scores).zip(&mut lse) {
            both.chunk(logits.view()?, first, m, scores, lse)?;
        }
        let shape = Shape::from(m);
        Launch::new("token_divergence", (rows, 1), THREADS)
            .read(p.view()?)
            .read(q.view()?)
            .read(place)
            .read(View::whole(&lse[0], &shape))
            .read(View::whole(&lse[1], &shape))
            .write(Target::of(&mut kl))
            .u32(vocab)
            .u32(first)
            .run()?;
    }
    let [p, q] = scores.map(|scores| tensor(scores, (2, m)));
    Tensor::cat(&[p, q, tensor(kl, (1, m))], 0)
}
