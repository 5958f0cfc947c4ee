//! The trait between a method and the training loop.
//!
//! The loop calls, depending on the method's [`DataSource`](crate::DataSource):
//!
//! - rollouts: `prompts_to_estimate` → `observe` → `plan` → (sample) → `keep` → (score)
//! - a pool: `weigh` whenever `phase` changes; then it picks rows by weight
//! - pairs: nothing; rows come two by two
//!
//! Then, for all: (read the models) → `prepare` → for each epoch, minibatch and micro-batch
//! `policy_loss` and, with a critic, `value_loss`.

use crate::Result;
use crate::experience::Experience;
use crate::loss::{Loss, Scores, Totals};
use crate::metrics::Metrics;
use crate::pool_columns::PoolColumns;
use crate::requirements::Requirements;
use candle_core::{Result as CResult, Tensor};
use serde_json::{Value, json};

/// How many responses to sample for one prompt, and at what temperature.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SamplingPlan {
    /// 0 leaves the prompt out of this step.
    pub n: usize,
    /// None = the run's configured temperature.
    pub temperature: Option<f32>,
}

impl SamplingPlan {
    /// `n` samples of each prompt at the run's temperature.
    pub fn each(prompts: &[u64], n: usize) -> Vec<Self> {
        let temperature = None;
        vec![Self { n, temperature }; prompts.len()]
    }
}

/// One greedy response to a prompt that the method sees for the first time.
#[derive(Clone, Debug)]
pub struct Estimate {
    pub prompt_key: u64,
    pub score: f32,
    /// 0..1; 0 unless [`Requirements::text_metric`] asks for one.
    pub text_metric: f32,
    /// Per token, natural log.
    pub logps: Vec<f32>,
    /// Per token, nats.
    pub entropies: Vec<f32>,
}

/// A training method. It sees numbers and tensors, never a model, a file or text.
pub trait Algorithm {
    /// What the method asks of the loop. Constant over a run.
    fn requirements(&self) -> Requirements;

    /// Prompts whose capability must be estimated from one greedy answer before `plan` (ESRL's
    /// first visit), each once.
    fn prompts_to_estimate(&self, _prompts: &[u64]) -> Vec<u64> {
        Vec::new()
    }

    /// Receives the greedy answers that `prompts_to_estimate` asked for.
    fn observe(&mut self, _estimates: &[Estimate]) {}

    /// Samples and temperature of each prompt, at most [`Requirements::max_samples`] each.
    ///
    /// By default exactly that many, at the run's temperature.
    fn plan(&mut self, prompts: &[u64], _step: u64) -> Result<Vec<SamplingPlan>> {
        let n = self.requirements().max_samples;
        Ok(SamplingPlan::each(prompts, n))
    }

    /// With a pool: the number of the phase that a step belongs to. The loop calls `weigh` when it
    /// changes.
    fn phase(&self, _step: u64) -> u64 {
        0
    }

    /// With a pool: the weight of each row in this phase (0 leaves it out), and metrics.
    ///
    /// Depends on the arguments and the settings alone, since a resumed run calls it again.
    /// An error when no row is left to learn from.
    fn weigh(&self, pool: &PoolColumns, _phase: u64) -> Result<(Vec<f64>, Metrics)> {
        Ok((vec![1.0; pool.lens.len()], Metrics::new()))
    }

    /// A factor on the scheduled learning rate.
    fn lr_scale(&self, _step: u64) -> f64 {
        1.0
    }

    /// After sampling and before scoring: which rows to keep. Sees the sampler's columns.
    fn keep(&self, exp: &Experience) -> Vec<bool> {
        vec![true; exp.n_rows()]
    }

    /// Computes rewards, baselines and advantages without gradient, and the metrics of the step.
    fn prepare(&mut self, exp: Experience) -> Result<(Experience, Metrics)>;

    /// The policy's loss over one micro-batch.
    fn policy_loss(&self, now: &Scores, exp: &Experience, totals: Totals) -> CResult<Loss>;

    /// The critic's loss over one micro-batch, scaled by its coefficient. `values` `[M]`, with
    /// graph.
    ///
    /// Called only when [`Requirements::critic`] is set; an error otherwise.
    fn value_loss(&self, _values: &Tensor, _exp: &Experience, _totals: Totals) -> CResult<Loss> {
        candle_core::bail!("this method has no critic")
    }

    /// All that a resumed run needs beside the settings. JSON carries an f32 exactly, an f64 not
    /// always.
    fn state(&self) -> Value {
        json!({})
    }

    /// Restores what `state` returned. An error when the state is not of this method.
    fn restore(&mut self, _state: &Value) -> Result<()> {
        Ok(())
    }
}
