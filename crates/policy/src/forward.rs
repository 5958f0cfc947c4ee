//! The teacher-forced forward: which hidden states stand before which label, and the label's log-probability.

use candle_core::{Result, Tensor};
use models::{CausalLm, Lora, Packed, Sequence};
use ops::{Ragged, TokenScores};

/// Where the labels of a ragged batch are: row `rows[i]` of the hidden states predicts `targets[i]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Labels {
    pub rows: Vec<u32>,
    pub targets: Vec<u32>,
    /// Labels per sequence.
    pub layout: Ragged,
}

/// Token ids of several sequences with their labels. Neighbours with the same prompt share its tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    pub ids: Vec<u32>,
    pub layout: Ragged,
    pub labels: Labels,
    /// The row of each sequence's last token
    last: Vec<u32>,
}

impl Batch {
    /// Every token from `prompt_len` on is a label; the first token of a sequence has nothing before it and is none.
    pub fn new<'a>(sequences: impl IntoIterator<Item = Sequence<'a>>) -> Self {
        let sequences: Vec<Sequence> = sequences.into_iter().collect();
        let packed = Packed::new(&sequences);
        let (mut rows, mut targets) = (Vec::new(), Vec::new());
        let (mut n_labels, mut last) = (Vec::new(), Vec::new());
        for (seq, (ids, prompt_len)) in sequences.iter().enumerate() {
            let labels = (*prompt_len).max(1)..ids.len();
            n_labels.push(labels.len());
            last.push(packed.row(seq, ids.len().saturating_sub(1)) as u32);
            for at in labels {
                rows.push(packed.row(seq, at - 1) as u32);
                targets.push(ids[at]);
            }
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

    /// Hidden states [N, d] of all tokens.
    pub fn hidden(
        &self,
        model: &CausalLm,
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
        hidden.index_select(&Tensor::new(self.last.as_slice(), hidden.device())?, 0)
    }
}

/// Log-probabilities and entropies of every label, `[M]`. `temperature`: one per sequence, the one it was drawn at.
pub fn score(
    model: &CausalLm,
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
