//! The interface between the training loop and a method: what the loop knows of a step's rows.

use crate::error::{Error, Result};
use ops::Ragged;
use std::ops::Range;

/// The rows of one step, with everything known about them that has no gradient.
///
/// Rows are in prompt order, the samples of a prompt together. Columns marked `[R]` have one entry
/// per row. Columns marked `[M]` have one entry per response token (EOS included when sampled),
/// flat over [`Experience::layout`]: no padding, no mask. A column that no requirement asks for is
/// empty.
///
/// ```
/// use algorithms::{Experience, groups};
///
/// let exp = Experience {
///     lens: vec![2, 3, 1],
///     prompt_key: vec![7, 7, 8], // two samples of prompt 7, one of prompt 8
///     score: vec![1.0, 0.0, 0.5],
///     logp_old: vec![-0.1, -0.2, -1.0, -1.1, -1.2, -3.0],
///     ..Experience::default()
/// };
/// assert_eq!(exp.n_tokens(), 6);
/// assert_eq!(groups(&exp.prompt_key), [0..2, 2..3]);
///
/// // a micro-batch of the last two rows
/// let part = exp.select(&[1, 2]);
/// assert_eq!(part.lens, [3, 1]);
/// assert_eq!(part.logp_old, [-1.0, -1.1, -1.2, -3.0]);
/// assert!(part.values.is_empty());
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Experience {
    /// `[R]` response tokens per row.
    pub lens: Vec<usize>,
    /// `[R]` stable identity of the row's prompt.
    pub prompt_key: Vec<u64>,
    /// `[R]` the response ends in EOS.
    pub finished: Vec<bool>,
    /// `[R]` sampling temperature.
    pub temperature: Vec<f32>,
    /// `[R]` reward of the whole response.
    pub score: Vec<f32>,
    /// `[R]` true: sampled by the policy; false: an answer of the data set.
    pub sampled: Vec<bool>,
    /// `[R]` identity of the response: equal token ids have equal keys.
    pub response_key: Vec<u64>,
    /// `[R]` V_ref(x), with `PoolRequirements::prompt_value`.
    pub prompt_value: Vec<f32>,
    /// `[M]` the token begins a clause, with `Requirements::clauses`; or a macro action, once
    /// MA-PPO has prepared it.
    pub macro_start: Vec<bool>,
    /// `[R]` 0..1, with `Requirements::text_metric`.
    pub text_metric: Vec<f32>,
    /// `[M]` from the sampler, at its temperature; 0 where not `sampled`; empty when no row was.
    pub logp_sampled: Vec<f32>,
    /// `[M]` of the policy before any update of the step, or of the copy that
    /// `Requirements::old_policy` asks for.
    pub logp_old: Vec<f32>,
    /// `[M]` with `Requirements::reference`.
    pub logp_ref: Vec<f32>,
    /// `[M]` full-vocabulary KL(policy ‖ reference), with `Requirements::reference`.
    pub kl_exact: Vec<f32>,
    /// `[M]` truncated importance weights ([`crate::importance`]), when the sampler's weights
    /// differ from the policy's.
    pub importance: Vec<f32>,
    /// `[M]` entropy of the policy's next-token distribution, nats.
    pub entropy: Vec<f32>,
    /// `[M]` largest next-token probability of the sampling distribution, after top-k and top-p.
    pub max_prob: Vec<f32>,
    /// `[M]` the critic's value before each token, with `Requirements::critic`.
    pub values: Vec<f32>,
    /// `[M]` written by `prepare` of methods that reward tokens: the KL penalty, and the score at
    /// the last token.
    pub rewards: Vec<f32>,
    /// `[M]` written by `prepare`.
    pub advantages: Vec<f32>,
    /// `[M]` written by `prepare`.
    pub returns: Vec<f32>,
    /// `[R]` weight of the whole response, such as reward minus baseline, written by `prepare`.
    /// With a pool, `prepare` finds the weights of the phase here.
    pub weight: Vec<f32>,
}

impl Experience {
    /// R.
    pub fn n_rows(&self) -> usize {
        self.lens.len()
    }

    /// M.
    pub fn n_tokens(&self) -> usize {
        self.lens.iter().sum()
    }

    /// Where each row's tokens are in the `[M]` columns.
    pub fn layout(&self) -> Ragged {
        Ragged::from_lens(&self.lens)
    }

    /// The given rows in the given order, for a minibatch or micro-batch.
    pub fn select(&self, rows: &[usize]) -> Self {
        let layout = self.layout();
        let tokens = |column: &[f32]| pick_tokens(column, &layout, rows);
        Self {
            lens: pick(&self.lens, rows),
            prompt_key: pick(&self.prompt_key, rows),
            finished: pick(&self.finished, rows),
            temperature: pick(&self.temperature, rows),
            score: pick(&self.score, rows),
            sampled: pick(&self.sampled, rows),
            response_key: pick(&self.response_key, rows),
            prompt_value: pick(&self.prompt_value, rows),
            macro_start: pick_tokens(&self.macro_start, &layout, rows),
            text_metric: pick(&self.text_metric, rows),
            logp_sampled: tokens(&self.logp_sampled),
            logp_old: tokens(&self.logp_old),
            logp_ref: tokens(&self.logp_ref),
            kl_exact: tokens(&self.kl_exact),
            importance: tokens(&self.importance),
            entropy: tokens(&self.entropy),
            max_prob: tokens(&self.max_prob),
            values: tokens(&self.values),
            rewards: tokens(&self.rewards),
            advantages: tokens(&self.advantages),
            returns: tokens(&self.returns),
            weight: pick(&self.weight, rows),
        }
    }

    /// The rows that have tokens; per-token columns are unchanged.
    pub(crate) fn with_tokens(&self) -> Self {
        let rows: Vec<usize> = (0..self.n_rows()).filter(|r| self.lens[*r] > 0).collect();
        self.select(&rows)
    }

    /// An error when a column that a method is about to read has the wrong length, or a score is
    /// not finite.
    pub fn require(&self, tokens: &[(&str, &[f32])], rows: &[(&str, &[f32])]) -> Result<()> {
        let n_tokens = self.n_tokens();
        let sized = tokens
            .iter()
            .map(|c| (c, n_tokens))
            .chain(rows.iter().map(|c| (c, self.n_rows())));
        for ((name, column), wanted) in sized {
            if column.len() != wanted {
                return Err(Error::Input(format!(
                    "rollouts: column {name} has {} values, expected {wanted}",
                    column.len()
                )));
            }
        }
        if let Some(row) = self.score.iter().position(|score| !score.is_finite()) {
            let score = self.score[row];
            return Err(Error::Input(format!(
                "rollouts: the score of response {} is {score}",
                row + 1
            )));
        }
        let n_rows = self.n_rows();
        if self.finished.len() != n_rows || self.prompt_key.len() != n_rows {
            return Err(Error::Input(
                "rollouts: prompt_key and finished must have one entry per row".into(),
            ));
        }
        Ok(())
    }

    /// Sums of a flat column over each row, `[R]`, in f64.
    pub(crate) fn row_sums(&self, column: &[f32]) -> Vec<f64> {
        let sum = |r: Range<usize>| column[r].iter().map(|v| f64::from(*v)).sum();
        self.layout().ranges().map(sum).collect()
    }

    /// logp_old − logp_ref of each token, `[M]`.
    pub(crate) fn log_ratio_to_reference(&self) -> Vec<f32> {
        let pairs = self.logp_old.iter().zip(&self.logp_ref);
        pairs.map(|(p, q)| p - q).collect()
    }
}

fn pick_tokens<T: Copy>(column: &[T], layout: &Ragged, rows: &[usize]) -> Vec<T> {
    match column.is_empty() {
        true => Vec::new(),
        false => rows
            .iter()
            .flat_map(|r| &column[layout.range(*r)])
            .copied()
            .collect(),
    }
}

fn pick<T: Copy>(column: &[T], rows: &[usize]) -> Vec<T> {
    match column.is_empty() {
        true => Vec::new(),
        false => rows.iter().map(|r| column[*r]).collect(),
    }
}

/// The rows of each prompt: maximal runs of equal keys.
pub fn groups(prompt_key: &[u64]) -> Vec<Range<usize>> {
    let mut out: Vec<Range<usize>> = Vec::new();
    for (row, key) in prompt_key.iter().enumerate() {
        match out.last_mut() {
            Some(group) if prompt_key[group.start] == *key => group.end = row + 1,
            _ => out.push(row..row + 1),
        }
    }
    out
}
