//! The seam between a method and the loop that runs it.
//!
//! One step: `unknown` → `observe` → `plan` → (sample) → `keep` → (score, read models) → `prepare` → for each epoch,
//! minibatch and micro-batch `loss`.

use crate::{Experience, Result, groups};
use candle_core::{Result as CResult, Tensor};
use serde_json::Value;
use std::collections::BTreeMap;

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
    /// Log-probs are those of the distribution that was sampled from (logits / temperature); false: of the policy itself.
    pub tempered: bool,
    /// logp_old and entropy must be of that distribution, where the sampler's are not: they are always read anew.
    pub rescore: bool,
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
    /// 0: the prompt is left out of this step
    pub n: usize,
    /// None = the run's configured temperature
    pub temperature: Option<f32>,
}

/// What the policy (and critic) say now, with graph; flat over the same layout as the experience. f32 (f64 in tests).
pub struct Scores {
    /// `[M]` natural log
    pub logp: Tensor,
    /// `[M]` nats
    pub entropy: Tensor,
    /// `[M]`
    pub values: Option<Tensor>,
}

/// A loss *sum* over this micro-batch divided by `Totals` of the whole optimiser step, so micro-batches just add up.
pub struct Loss {
    pub loss: Tensor,
    /// Additive over micro-batches
    pub metrics: BTreeMap<String, f64>,
}

/// Counts over the whole optimiser step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Totals {
    pub tokens: usize,
    pub rows: usize,
    pub prompts: usize,
}

impl Totals {
    pub fn of(exp: &Experience) -> Self {
        Self {
            tokens: exp.lens.iter().sum(),
            rows: exp.n_rows(),
            prompts: groups(&exp.prompt_key).len(),
        }
    }
}

/// One greedy response for a prompt seen for the first time.
#[derive(Clone, Debug)]
pub struct Estimate {
    pub prompt_key: u64,
    pub score: f32,
    pub metric: f32,
    pub logps: Vec<f32>,
    pub entropies: Vec<f32>,
}

pub trait Algorithm {
    fn needs(&self) -> Needs;

    /// Prompts whose capability must be estimated from one greedy answer before `plan` (ESRL's first visit), each once.
    fn unknown(&self, _prompts: &[u64]) -> Vec<u64> {
        Vec::new()
    }

    fn observe(&mut self, _estimates: &[Estimate]) {}

    /// Samples and temperature per prompt.
    fn plan(&mut self, prompts: &[u64], step: u64) -> Result<Vec<SamplingPlan>>;

    /// After sampling, before scoring: which rows go on (`released` ESRL drops the most confident). Sees the sampler's
    /// columns.
    fn keep(&self, exp: &Experience) -> Vec<bool> {
        vec![true; exp.n_rows()]
    }

    /// Baselines, advantages, filtering. No gradient. Also returns metrics of the step.
    fn prepare(&mut self, exp: Experience) -> Result<(Experience, BTreeMap<String, f64>)>;

    fn loss(&self, now: &Scores, exp: &Experience, totals: Totals) -> CResult<Loss>;

    /// All that a resumed run needs beside the settings.
    fn state(&self) -> Value;

    fn restore(&mut self, state: &Value) -> Result<()>;
}
