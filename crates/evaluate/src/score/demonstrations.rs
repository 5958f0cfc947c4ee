//! The loss of a policy on demonstrations.

use anyhow::{Result, ensure};
use data::{Demonstration, Example, TrainOn};
use policy::{Batch, Policy};
use serde::Serialize;

/// A policy on demonstrations.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DemonstrationScores {
    pub rows: usize,
    pub left_out: usize,
    /// Response tokens, EOS included.
    pub tokens: usize,
    /// Mean negative log-likelihood of a response token, nats.
    pub loss: f64,
    /// exp(loss)
    pub perplexity: f64,
}

#[derive(Serialize)]
pub(super) struct DemonstrationRow {
    /// Index among the readable rows, from 1.
    row: usize,
    tokens: usize,
    loss: f64,
}

/// Scores the answers that `train_on` names, in forwards of `batch_tokens` tokens.
pub(super) fn score(
    policy: &Policy,
    items: &[Demonstration],
    (train_on, batch_tokens): (TrainOn, usize),
) -> Result<(DemonstrationScores, Vec<DemonstrationRow>)> {
    let context = policy.model().config.max_position_embeddings;
    let mut kept: Vec<(usize, Example)> = Vec::new();
    for (row, item) in items.iter().enumerate() {
        let examples = match train_on {
            TrainOn::All => policy.encoder.conversation(item)?,
            TrainOn::Last => vec![policy.encoder.demonstration(item)?],
        };
        if examples.iter().all(|example| example.ids.len() <= context) {
            kept.extend(examples.into_iter().map(|example| (row, example)));
        }
    }
    policy.encoder.report_rows("scored");
    ensure!(
        !kept.is_empty(),
        "no row fits the context of {context} tokens"
    );
    let lens: Vec<usize> = kept.iter().map(|(_, e)| e.ids.len()).collect();
    let mut progress = run::Progress::new("score", kept.len() as u64);
    let mut rows: Vec<DemonstrationRow> = Vec::with_capacity(kept.len());
    for range in ops::micro_batches(&lens, batch_tokens) {
        let part = &kept[range.clone()];
        let batch = Batch::of_examples(&part.iter().map(|(_, e)| e).collect::<Vec<_>>());
        let ones = vec![1.0; part.len()];
        let scores = policy::score(policy.model(), policy.adapter.as_ref(), &batch, &ones, None)?;
        let logps = scores.logp.to_vec1::<f32>()?;
        for ((row, _), labels) in part.iter().zip(batch.labels.layout.ranges()) {
            let nll: f64 = logps[labels.clone()].iter().map(|l| -f64::from(*l)).sum();
            // the answers of a conversation may be examples of their own
            let before = rows.pop_if(|last| last.row == row + 1);
            let (n, sum) = before.map_or((0, 0.0), |b| (b.tokens, b.loss * b.tokens as f64));
            let tokens = n + labels.len();
            rows.push(DemonstrationRow {
                row: row + 1,
                tokens,
                loss: (sum + nll) / tokens as f64,
            });
        }
        progress.update(range.end as u64, batch.ids.len() as u64, "");
    }
    progress.finish("");
    let tokens: usize = rows.iter().map(|r| r.tokens).sum();
    let loss = rows.iter().map(|r| r.loss * r.tokens as f64).sum::<f64>() / tokens as f64;
    let report = DemonstrationScores {
        rows: rows.len(),
        left_out: items.len() - rows.len(),
        tokens,
        loss,
        perplexity: loss.exp(),
    };
    Ok((report, rows))
}
