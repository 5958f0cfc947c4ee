//! One file per objective: tensors and plain records in, loss out. Knows neither models nor files.
//! (skeleton; split: registry.rs, experience.rs, esrl.rs, ppo.rs, reinforce.rs, mrt.rs, estimators/{gae,kl,baseline,whiten,capability}.rs)

use candle_core::{Result as CResult, Tensor};
use ops::Ragged;
use serde_json::Value;
use std::collections::BTreeMap;

pub type Result<T> = std::result::Result<T, Error>;
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Input(String),
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// What an algorithm asks of the loop.
#[derive(Clone, Debug, PartialEq)]
pub struct Needs {
    pub reference: bool,
    pub critic: bool,
    /// Rows of one prompt must be in one micro-batch (MRT's Q couples them).
    pub whole_groups: bool,
    /// Optimiser passes over one batch of rollouts, and minibatches per pass.
    pub epochs: usize,
    pub minibatches: usize,
    /// A text metric against the prompt's reference answer, per row (ESRL's BLEU / ROUGE capability).
    pub metric: Option<Metric>,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    Bleu,
    RougeL,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SamplingPlan {
    pub n: usize,
    /// None = the run's configured temperature
    pub temperature: Option<f32>,
}

/// Rollouts of one step with all that is known of them without a gradient. Rows are in prompt order, a prompt's samples
/// together. Per-token vectors are flat over `layout` (response tokens, EOS included when drawn).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Experience {
    pub lens: Vec<usize>,       // [R] response tokens per row
    pub prompt_key: Vec<u64>,   // [R] stable identity of the row's prompt
    pub finished: Vec<bool>,    // [R] EOS was drawn
    pub temperature: Vec<f32>,  // [R]
    pub score: Vec<f32>,        // [R] reward of the whole response
    pub metric: Vec<f32>,       // [R] when Needs::metric, 0..1
    pub logp_sampled: Vec<f32>, // [M] from the sampler, tempered
    pub logp_old: Vec<f32>,     // [M] from the training forward before any update
    pub logp_ref: Vec<f32>,     // [M] when Needs::reference
    pub kl_exact: Vec<f32>,     // [M] full-vocabulary KL(policy ‖ reference), when Needs::reference
    pub entropy: Vec<f32>,      // [M]
    pub max_prob: Vec<f32>,     // [M]
    pub values: Vec<f32>,       // [M] critic before each token, when Needs::critic
    // written by `prepare`
    pub advantages: Vec<f32>, // [M]
    pub returns: Vec<f32>,    // [M]
    pub weight: Vec<f32>,     // [R] sequence-level weight, e.g. r - b
}
impl Experience {
    pub fn n_rows(&self) -> usize {
        self.lens.len()
    }
    pub fn layout(&self) -> Ragged {
        Ragged::from_lens(&self.lens)
    }
    /// Rows in the given order (micro-batches, minibatches).
    pub fn select(&self, _rows: &[usize]) -> Self {
        todo!()
    }
}

/// What the policy (and critic) say now, with graph; flat over the same layout as the experience.
pub struct Scores {
    pub logp: Tensor,
    pub entropy: Tensor,
    pub values: Option<Tensor>,
}

/// A loss *sum* over this micro-batch divided by `Totals` of the whole optimiser step, so micro-batches just add up.
pub struct Loss {
    pub loss: Tensor,
    pub metrics: BTreeMap<String, f64>, /* additive over micro-batches */
}
/// Counts over the whole optimiser step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Totals {
    pub tokens: usize,
    pub rows: usize,
    pub prompts: usize,
}

/// One greedy response for a prompt seen for the first time.
pub struct Estimate {
    pub prompt_key: u64,
    pub score: f32,
    pub metric: f32,
    pub logps: Vec<f32>,
    pub entropies: Vec<f32>,
}

pub trait Algorithm {
    fn needs(&self) -> Needs;
    /// Prompts whose capability must be estimated from one greedy answer before `plan` (ESRL's first visit).
    fn unknown(&self, _prompts: &[u64]) -> Vec<u64> {
        Vec::new()
    }
    fn observe(&mut self, _estimates: &[Estimate]) {}
    /// Samples and temperature per prompt. Default: one sample at the run's temperature.
    fn plan(&mut self, prompts: &[u64], step: u64) -> Result<Vec<SamplingPlan>>;
    /// After sampling, before scoring: which rows go on (`released` ESRL drops the most confident). Sees the sampler's columns.
    fn keep(&self, exp: &Experience) -> Vec<bool> {
        vec![true; exp.n_rows()]
    }
    /// Baselines, advantages, filtering. No gradient. Also returns metrics of the step.
    fn prepare(&mut self, exp: Experience) -> Result<(Experience, BTreeMap<String, f64>)>;
    fn loss(&self, now: &Scores, exp: &Experience, totals: Totals) -> CResult<Loss>;
    fn state(&self) -> Value;
    fn restore(&mut self, state: &Value) -> Result<()>;
}
