//! Rollouts of one step with all that is known of them without a gradient.

use crate::{Error, Result};
use candle_core::{Result as CResult, Tensor};
use ops::Ragged;
use std::ops::Range;

/// Rows are in prompt order, a prompt's samples together. Per-token columns are flat over `layout` (response tokens, EOS
/// included when drawn). A column nobody asked for is empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Experience {
    /// `[R]` response tokens per row
    pub lens: Vec<usize>,
    /// `[R]` stable identity of the row's prompt
    pub prompt_key: Vec<u64>,
    /// `[R]` EOS was drawn
    pub finished: Vec<bool>,
    /// `[R]`
    pub temperature: Vec<f32>,
    /// `[R]` reward of the whole response
    pub score: Vec<f32>,
    /// `[R]` sampled by the policy; false: the data's own answer
    pub drawn: Vec<bool>,
    /// `[R]` identity of the response: equal token ids, equal key
    pub response_key: Vec<u64>,
    /// `[R]` V_ref(x), when `PoolNeeds::prompt_value`
    pub prompt_value: Vec<f32>,
    /// `[M]` the token begins a clause, when `Needs::clauses`; a macro, once MA-PPO has prepared it
    pub macro_start: Vec<bool>,
    /// `[R]` when `Needs::metric`, 0..1
    pub metric: Vec<f32>,
    /// `[M]` from the sampler, tempered; 0 where not `drawn`; empty where nothing was
    pub logp_sampled: Vec<f32>,
    /// `[M]` from the training forward before any update, or of the copy that `Needs::old` names
    pub logp_old: Vec<f32>,
    /// `[M]` when `Needs::reference`
    pub logp_ref: Vec<f32>,
    /// `[M]` full-vocabulary KL(policy ‖ reference), when `Needs::reference`
    pub kl_exact: Vec<f32>,
    /// `[M]` truncated importance weights ([`crate::importance`]), where the sampler's weights were not the policy's
    pub importance: Vec<f32>,
    /// `[M]` of the policy's next-token distribution, nats
    pub entropy: Vec<f32>,
    /// `[M]` largest next-token probability of the distribution drawn from, after top-k and top-p
    pub max_prob: Vec<f32>,
    /// `[M]` critic before each token, when `Needs::critic`
    pub values: Vec<f32>,
    /// `[M]` written by `prepare` of methods that reward tokens: KL penalty, and at the last token the score
    pub rewards: Vec<f32>,
    /// `[M]` written by `prepare`
    pub advantages: Vec<f32>,
    /// `[M]` written by `prepare`
    pub returns: Vec<f32>,
    /// `[R]` sequence-level weight, e.g. r − b, written by `prepare`, which finds the phase's weights here where rows are of a pool
    pub weight: Vec<f32>,
}

impl Experience {
    pub fn n_rows(&self) -> usize {
        self.lens.len()
    }

    pub fn n_tokens(&self) -> usize {
        self.lens.iter().sum()
    }

    pub fn layout(&self) -> Ragged {
        Ragged::from_lens(&self.lens)
    }

    /// Rows in the given order (micro-batches, minibatches).
    pub fn select(&self, rows: &[usize]) -> Self {
        let layout = self.layout();
        let tokens = |column: &[f32]| pick_tokens(column, &layout, rows);
        Self {
            lens: pick(&self.lens, rows),
            prompt_key: pick(&self.prompt_key, rows),
            finished: pick(&self.finished, rows),
            temperature: pick(&self.temperature, rows),
            score: pick(&self.score, rows),
            drawn: pick(&self.drawn, rows),
            response_key: pick(&self.response_key, rows),
            prompt_value: pick(&self.prompt_value, rows),
            macro_start: pick_tokens(&self.macro_start, &layout, rows),
            metric: pick(&self.metric, rows),
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

    /// Without the rows that have no token; per-token columns stay as they are.
    pub(crate) fn with_tokens(&self) -> Self {
        let rows: Vec<usize> = (0..self.n_rows()).filter(|r| self.lens[*r] > 0).collect();
        self.select(&rows)
    }

    /// Errors where a column a method is about to read has the wrong length: the loop's mistake, said in one line.
    pub(crate) fn require(&self, tokens: &[(&str, &[f32])], rows: &[(&str, &[f32])]) -> Result<()> {
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
        let flags = self.finished.len() == self.n_rows() && self.prompt_key.len() == self.n_rows();
        match flags {
            true => Ok(()),
            false => Err(Error::Input(
                "rollouts: prompt_key and finished must have one entry per row".into(),
            )),
        }
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

/// Stored responses that an offline method learns from, one entry per row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pool {
    pub prompt_key: Vec<u64>,
    /// Response tokens
    pub lens: Vec<usize>,
    /// Equal token ids, equal key
    pub response_key: Vec<u64>,
    /// Sampled by a policy; false: the data's own answer
    pub drawn: Vec<bool>,
    /// When `PoolNeeds::score`
    pub score: Vec<f32>,
    /// V_ref(x), when `PoolNeeds::prompt_value`
    pub prompt_value: Vec<f32>,
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

/// The rows of each prompt: runs of one key.
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

/// A column as a tensor of `like`'s dtype and device, without graph.
pub(crate) fn column(values: &[f32], like: &Tensor) -> CResult<Tensor> {
    Tensor::new(values, like.device())?.to_dtype(like.dtype())
}

/// Sums of a flat tensor `[M]` over each row, `[R]`, with graph.
pub(crate) fn row_sums(flat: &Tensor, layout: &Ragged) -> CResult<Tensor> {
    let owner: Vec<u32> = (0..layout.n_seqs())
        .flat_map(|row| std::iter::repeat_n(row as u32, layout.len(row)))
        .collect();
    let owner = Tensor::new(owner, flat.device())?;
    Tensor::zeros(layout.n_seqs(), flat.dtype(), flat.device())?.index_add(&owner, flat, 0)
}

/// All values of a tensor as f64.
pub(crate) fn host(x: &Tensor) -> CResult<Vec<f64>> {
    x.detach()
        .to_dtype(candle_core::DType::F64)?
        .flatten_all()?
        .to_vec1()
}
