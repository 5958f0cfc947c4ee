//! The teacher-forced forward: the hidden state that predicts each label, and the label's
//! log-probability. N tokens, M labels and B sequences in a batch; d is the model's width.

use candle_core::{Result, Tensor};
use data::Example;
use models::{CausalLm, Lora, Packed, Sequence};
use ops::{Ragged, TokenScores};
use std::ops::Range;

/// The labels of a ragged batch: row `rows[i]` of the hidden states predicts `targets[i]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Labels {
    pub rows: Vec<u32>,
    pub targets: Vec<u32>,
    /// Labels of each sequence
    pub layout: Ragged,
}

/// Token ids of several sequences with their labels. Adjacent sequences with the same prompt share
/// its tokens.
///
/// ```
/// // two answers to the prompt [1, 5]
/// let batch = policy::Batch::new([(&[1, 5, 7, 2][..], 2), (&[1, 5, 2][..], 2)]);
/// assert_eq!(batch.ids, [1, 5, 7, 2, 2]);
/// assert_eq!(batch.labels.targets, [7, 2, 2]);
/// // both first labels are predicted by the prompt's last token
/// assert_eq!(batch.labels.rows, [1, 2, 1]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    pub ids: Vec<u32>,
    pub layout: Ragged,
    pub labels: Labels,
    /// The row of the last token of each sequence
    last: Vec<u32>,
}

impl Batch {
    /// Every token from `prompt_len` on is a label, except the first token of a sequence, which has
    /// no preceding token to predict it.
    pub fn new<'a>(sequences: impl IntoIterator<Item = Sequence<'a>>) -> Self {
        let sequences: Vec<Sequence> = sequences.into_iter().collect();
        Self::with_labels(&sequences, |seq| {
            let (ids, prompt_len) = sequences[seq];
            std::iter::once(prompt_len..ids.len())
        })
    }

    /// Rows of data. What is learnt of each is a label ([`Example::labels`]).
    pub fn of_examples(examples: &[&Example]) -> Self {
        let sequences = examples.iter().map(|e| (&e.ids[..], e.prompt_len));
        let sequences: Vec<Sequence> = sequences.collect();
        Self::with_labels(&sequences, |seq| examples[seq].labels())
    }

    /// `labels`: the ranges of a sequence's ids that are labels.
    fn with_labels<R: Iterator<Item = Range<usize>>>(
        sequences: &[Sequence],
        labels: impl Fn(usize) -> R,
    ) -> Self {
        let packed = Packed::new(sequences);
        let (mut rows, mut targets) = (Vec::new(), Vec::new());
        let (mut n_labels, mut last) = (Vec::new(), Vec::new());
        for (seq, (ids, _)) in sequences.iter().enumerate() {
            let n_before = rows.len();
            last.push(packed.row(seq, ids.len().saturating_sub(1)) as u32);
            for range in labels(seq) {
                for at in range.start.max(1)..range.end {
                    rows.push(packed.row(seq, at - 1) as u32);
                    targets.push(ids[at]);
                }
            }
            n_labels.push(rows.len() - n_before);
        }
        let labels = Labels {
            rows,
            targets,
            layout: Ragged::from_lens(&n_labels),
        };
        Self {
            layout: packed.layout(),
            ids: packed.ids,
            labels,
            last,
        }
    }

    /// Hidden states `[N, d]` of all tokens. `dropout`: the random draw of a training forward.
    pub fn hidden(
        &self,
        model: &CausalLm,
        lora: Option<&Lora>,
        dropout: Option<u64>,
    ) -> Result<Tensor> {
        model.hidden(&self.ids, &self.layout, lora, dropout)
    }

    /// The rows of `hidden` that predict a label, `[M, d]`.
    pub fn before_labels(&self, hidden: &Tensor) -> Result<Tensor> {
        hidden.index_select(
            &Tensor::new(self.labels.rows.as_slice(), hidden.device())?,
            0,
        )
    }

    /// The last row of each sequence, `[B, d]`, from which its reward is computed.
    pub fn last_rows(&self, hidden: &Tensor) -> Result<Tensor> {
        hidden.index_select(&Tensor::new(self.last.as_slice(), hidden.device())?, 0)
    }
}

/// Log-probabilities and entropies of all labels, `[M]` each. `temperature`: that of each sequence.
pub fn score(
    model: &CausalLm,
    lora: Option<&Lora>,
    batch: &Batch,
    temperature: &[f32],
    dropout: Option<u64>,
) -> Result<TokenScores> {
    let before = batch.before_labels(&batch.hidden(model, lora, dropout)?)?;
    model.compute().token_scores(
        &before,
        model.head(),
        &batch.labels.targets,
        &per_label(&batch.labels.layout, temperature),
    )
}

/// One value per sequence, repeated for each of its labels.
pub fn per_label(layout: &Ragged, per_seq: &[f32]) -> Vec<f32> {
    layout
        .ranges()
        .zip(per_seq)
        .flat_map(|(r, &value)| std::iter::repeat_n(value, r.len()))
        .collect()
}
