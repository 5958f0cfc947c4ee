//! The vocabulary head on a GPU, a chunk of rows at a time: logits in f32 and their statistics;
//! backward recomputes the logits.

use crate::cuda::gemm::{Product, Side};
use crate::cuda::kernel::Kernel;
use crate::cuda::op::{CudaOp, apply};
use crate::cuda::view::{OpenTensor, View, ViewMut, from_storage};
use crate::linear::{cast, gpu_logits};
use crate::widen::for_product;
use candle_core::{DType, Result, Shape, Storage, Tensor, bail};
use std::sync::OnceLock;

const THREADS: usize = 512;
/// Logits of a chunk: 64 MiB in f32. The head is read once per chunk.
const CHUNK_LOGITS: usize = 16 * 1024 * 1024;

/// Rows of a chunk.
fn chunk_rows(vocab: usize) -> usize {
    (CHUNK_LOGITS / vocab.max(1)).max(1)
}

/// [2, M]: log-probabilities, then entropies. Gradient to `hidden`.
pub(super) fn token_scores(
    hidden: &Tensor,
    head: &Tensor,
    targets: &[u32],
    temperature: &[f32],
) -> Result<Tensor> {
    apply(Scores::of(hidden, head, targets, temperature)?, &[hidden])
}

#[derive(Clone)]
struct Scores {
    /// [V, d], detached; it may be quantised
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
        let (labels, inverse) = (OpenTensor::of(&self.labels), OpenTensor::of(&self.inverse));
        let (rows, vocab) = logits.dims2()?;
        Kernel::new("token_scores", (rows, 1), THREADS)
            .read(logits)
            .read(labels.view()?)
            .read(inverse.view()?)
            .write(ViewMut::of(scores))
            .write(ViewMut::of(lse))
            .u32(vocab)
            .u32(first)
            .u32(total)
            .launch()
    }
}

impl CudaOp for Scores {
    const NAME: &'static str = "token-scores";

    fn forward(&self, inputs: &[View]) -> Result<(Storage, Shape)> {
        let hidden = inputs[0];
        let ((m, d), vocab) = (hidden.dims2()?, self.head.dim(0)?);
        let mut scores = hidden.alloc(DType::F32, 2 * m)?;
        let mut lse = hidden.alloc(DType::F32, m)?;
        let head = for_product(&self.head)?;
        let w = OpenTensor::of(&head);
        let w = w.view()?;
        for first in (0..m).step_by(chunk_rows(vocab)) {
            let rows = chunk_rows(vocab).min(m - first);
            let chunk = Logits::of(hidden.skip(first * d), rows, w)?;
            self.chunk(chunk.view(), first, m, &mut scores, &mut lse)?;
        }
        self.lse.get_or_init(|| from_storage(lse, m));
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
        let head = for_product(&self.head)?;
        let (hidden, w) = (OpenTensor::of(inputs[0]), OpenTensor::of(&head));
        let (hidden, w) = (hidden.view()?, w.view()?);
        let (labels, inverse) = (OpenTensor::of(&self.labels), OpenTensor::of(&self.inverse));
        let (scores, lse, grad) = (
            OpenTensor::of(scores),
            OpenTensor::of(lse),
            OpenTensor::of(grad),
        );
        let dtype = w.dtype();
        let mut parts = Vec::new();
        for first in (0..m).step_by(chunk_rows(vocab)) {
            let rows = chunk_rows(vocab).min(m - first);
            let chunk = Logits::of(hidden.skip(first * d), rows, w)?;
            let mut g = hidden.alloc(dtype, rows * vocab)?;
            Kernel::new(
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
            .write(ViewMut::of(&mut g))
            .u32(vocab)
            .u32(first)
            .u32(m)
            .launch()?;
            drop(chunk);
            let g = from_storage(g, (rows, vocab));
            let g = OpenTensor::of(&g);
            let mut dx = hidden.alloc(hidden.dtype(), rows * d)?;
            let (a, b) = (Side::rows(g.view()?), Side::rows(w));
            Product::new((rows, d, vocab), a, b).write_to(ViewMut::of(&mut dx))?;
            parts.push(from_storage(dx, (rows, d)));
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
        let (of_rows, mut copy) = (Shape::from((rows, d)), None);
        let hidden = View {
            shape: &of_rows,
            ..hidden
        };
        let mut storage = hidden.alloc(DType::F32, rows * vocab)?;
        let x = cast(hidden, w.dtype(), &mut copy)?;
        let (a, b) = (Side::rows(x), Side::columns(w));
        Product::new((rows, vocab, d), a, b).write_to(ViewMut::of(&mut storage))?;
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
pub(super) fn compared_scores(
    hidden_p: &Tensor,
    hidden_q: &Tensor,
    head: &Tensor,
    targets: &[u32],
    temperature: &[f32],
) -> Result<Tensor> {
    let both = Scores::of(hidden_p, head, targets, temperature)?;
    let head = for_product(&both.head)?;
    let (m, vocab) = (hidden_p.dim(0)?, head.dim(0)?);
    let inverse = OpenTensor::of(&both.inverse);
    let inverse = inverse.view()?;
    let alloc = |count| inverse.alloc(DType::F32, count);
    let (mut scores, mut lse) = ([alloc(2 * m)?, alloc(2 * m)?], [alloc(m)?, alloc(m)?]);
    let mut kl = alloc(m)?;
    for first in (0..m).step_by(chunk_rows(vocab)) {
        let rows = chunk_rows(vocab).min(m - first);
        let chunk = |hidden: &Tensor| gpu_logits(&hidden.narrow(0, first, rows)?, &head);
        let (p, q) = (chunk(hidden_p)?, chunk(hidden_q)?);
        let (p, q) = (OpenTensor::of(&p), OpenTensor::of(&q));
        for ((logits, scores), lse) in [&p, &q].into_iter().zip(&mut scores).zip(&mut lse) {
            both.chunk(logits.view()?, first, m, scores, lse)?;
        }
        let shape = Shape::from(m);
        Kernel::new("token_divergence", (rows, 1), THREADS)
            .read(p.view()?)
            .read(q.view()?)
            .read(inverse)
            .read(View::whole(&lse[0], &shape))
            .read(View::whole(&lse[1], &shape))
            .write(ViewMut::of(&mut kl))
            .u32(vocab)
            .u32(first)
            .launch()?;
    }
    let [p, q] = scores.map(|scores| from_storage(scores, (2, m)));
    Tensor::cat(&[p, q, from_storage(kl, (1, m))], 0)
}
