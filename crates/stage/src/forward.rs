//! The teacher-forced forward: which hidden states stand before which label, and the label's log-probability.

use candle_core::{Result, Tensor};
use llama::{Llama, Lora};
use ops::{Ragged, TokenScores};

/// Where the labels of a ragged batch are: row `rows[i]` of the hidden states predicts `targets[i]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Labels {
    pub rows: Vec<u32>,
    pub targets: Vec<u32>,
    /// Labels per sequence.
    pub layout: Ragged,
}

/// Token ids of several sequences, one after another, with their labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    pub ids: Vec<u32>,
    pub layout: Ragged,
    pub labels: Labels,
}

impl Batch {
    /// Every token from `prompt_len` on is a label; the first token of a sequence has nothing before it and is none.
    pub fn new<'a>(sequences: impl IntoIterator<Item = (&'a [u32], usize)>) -> Self {
        let (mut ids, mut lens, mut n_labels) = (Vec::new(), Vec::new(), Vec::new());
        let (mut rows, mut targets) = (Vec::new(), Vec::new());
        for (seq, prompt_len) in sequences {
            let first = prompt_len.max(1);
            for at in first..seq.len() {
                rows.push((ids.len() + at - 1) as u32);
                targets.push(seq[at]);
            }
            n_labels.push(seq.len().saturating_sub(first));
            lens.push(seq.len());
            ids.extend_from_slice(seq);
        }
        let labels = Labels {
            rows,
            targets,
            layout: Ragged::from_lens(&n_labels),
        };
        Self {
            ids,
            layout: Ragged::from_lens(&lens),
            labels,
        }
    }

    /// Hidden states [N, d] of all tokens.
    pub fn hidden(
        &self,
        model: &Llama,
        lora: Option<&Lora>,
        dropout: Option<u64>,
    ) -> Result<Tensor> {
        model.hidden(&self.ids, &self.layout, lora, dropout)
    }

    /// The rows of `hidden` that stand before a label, [M, d].
    pub fn before_labels(&self, hidden: &Tensor) -> Result<Tensor> {
        hidden.index_select(
            &Tensor::new(self.labels.rows.as_slice(), hidden.device())?,
            0,
        )
    }

    /// The last row of each sequence, [B, d]: where a reward is read.
    pub fn last_rows(&self, hidden: &Tensor) -> Result<Tensor> {
        let last: Vec<u32> = self.layout.ranges().map(|r| r.end as u32 - 1).collect();
        hidden.index_select(&Tensor::new(last, hidden.device())?, 0)
    }
}

/// Log-probabilities and entropies of every label, `[M]`. `temperature`: one per sequence, the one it was drawn at.
pub fn score(
    model: &Llama,
    lora: Option<&Lora>,
    batch: &Batch,
    temperature: &[f32],
    dropout: Option<u64>,
) -> Result<TokenScores> {
    let before = batch.before_labels(&batch.hidden(model, lora, dropout)?)?;
    ops::token_scores(
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
