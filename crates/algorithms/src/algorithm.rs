//! The seam between a method and the loop that runs it.
//!
//! What a step learns from is the [`Feed`]. Rollouts: `unknown` → `observe` → `plan` → (sample) → `keep` → (score). A pool of
//! stored responses: `weigh` at each new `phase`, then rows are drawn by weight. Pairs: rows come two by two. Then, for all:
//! (read models) → `prepare` → for each epoch, minibatch and micro-batch `loss`.

use crate::{Experience, Pool, Result, groups};
use candle_core::{Result as CResult, Tensor};
use serde_json::Value;
use std::collections::BTreeMap;

/// What an algorithm asks of the loop.
#[derive(Clone, Debug, PartialEq)]
pub struct Needs {
    pub feed: Feed,
    /// Read `logp_ref`
    pub reference: bool,
    /// When the reference becomes a copy of the policy again
    pub reference_refresh: Refresh,
    /// Whose log-probs `logp_old` are: None = the policy's at the beginning of the step; else those of a copy of it
    pub old: Option<Refresh>,
    pub critic: bool,
    /// Most samples of a prompt in a step
    pub samples: usize,
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
    /// The prompt's reference answer joins its samples as their last row (`Experience::drawn` is false there)
    pub reference_answer: bool,
    /// Read `macro_start`: which response tokens begin a clause
    pub clauses: bool,
}

impl Default for Needs {
    /// Rollouts of the policy and nothing else; one optimiser step per batch.
    fn default() -> Self {
        Self {
            feed: Feed::Rollouts,
            reference: false,
            reference_refresh: Refresh::Never,
            old: None,
            critic: false,
            samples: 1,
            whole_groups: false,
            epochs: 1,
            minibatches: 1,
            tempered: false,
            rescore: false,
            metric: None,
            reference_answer: false,
            clauses: false,
        }
    }
}

/// What a step's rows are.
#[derive(Clone, Debug, PartialEq)]
pub enum Feed {
    /// Responses that the policy draws at each step.
    Rollouts,
    /// Stored responses: the data's own answers, and for ReST what earlier policies drew.
    Pool(PoolNeeds),
    /// Two responses of the data to one prompt: the chosen row, then the rejected. Each pair has a `prompt_key` of its own.
    Pairs,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PoolNeeds {
    /// Every row is scored once
    pub score: bool,
    /// Scores go through the logistic function, into 0..1
    pub squash: bool,
    /// Estimate V_ref(x), the reference's expected score on the row's prompt
    pub prompt_value: Option<ValueFit>,
    /// Draw responses into the pool
    pub grow: Option<Grow>,
    /// true: rows are drawn with replacement, in proportion to their weight. false: each row of weight > 0 once an epoch
    pub replacement: bool,
}

/// How the head of V_ref is fitted to the scores of the reference's own answers.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueFit {
    /// Prompts that the reference answers once
    pub prompts: usize,
    /// 0 = greedy
    pub temperature: f32,
    pub epochs: usize,
    pub lr: f64,
}

/// ReST's Grow.
#[derive(Clone, Debug, PartialEq)]
pub struct Grow {
    /// Responses per prompt
    pub samples: usize,
    pub temperature: f32,
    /// The pool is drawn anew from the policy every so many steps, the first time at step 0
    pub every: u64,
    /// The data's own answers stay in the pool
    pub keep_data: bool,
}

/// When a frozen copy of the policy, taken at the start, is taken anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    Never,
    Steps(u64),
    /// At the start of each pass over the data
    Epoch,
    StepsAndEpoch(u64),
}

impl Refresh {
    /// Before `step`, which begins a pass over the data or does not. Step 0 has the copy of the start.
    pub fn is_due(self, step: u64, new_epoch: bool) -> bool {
        let every = |n: u64| step.is_multiple_of(n.max(1));
        let due = match self {
            Self::Never => false,
            Self::Steps(n) => every(n),
            Self::Epoch => new_epoch,
            Self::StepsAndEpoch(n) => new_epoch || every(n),
        };
        due && step > 0
    }
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

impl SamplingPlan {
    /// `n` samples of each prompt at the run's temperature.
    pub fn each(prompts: &[u64], n: usize) -> Vec<Self> {
        let temperature = None;
        vec![Self { n, temperature }; prompts.len()]
    }
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

impl Loss {
    /// Of a micro-batch without a token.
    pub fn nothing(now: &Scores) -> CResult<Self> {
        Ok(Self {
            loss: Tensor::zeros((), now.logp.dtype(), now.logp.device())?,
            metrics: BTreeMap::new(),
        })
    }
}

/// Counts over the whole optimiser step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Totals {
    pub tokens: usize,
    pub rows: usize,
    pub prompts: usize,
    /// Set in `macro_start`
    pub macros: usize,
}

impl Totals {
    pub fn of(exp: &Experience) -> Self {
        Self {
            tokens: exp.lens.iter().sum(),
            rows: exp.n_rows(),
            prompts: groups(&exp.prompt_key).len(),
            macros: exp.macro_start.iter().filter(|start| **start).count(),
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

    /// Samples and temperature per prompt: one at the run's temperature.
    fn plan(&mut self, prompts: &[u64], _step: u64) -> Result<Vec<SamplingPlan>> {
        Ok(SamplingPlan::each(prompts, 1))
    }

    /// `Feed::Pool`: the stretch of the run that a step belongs to; the pool is weighed anew when it changes.
    fn phase(&self, _step: u64) -> u64 {
        0
    }

    /// `Feed::Pool`: each row's weight in this phase, 0 to leave it out, and metrics. A function of its arguments and the settings
    /// alone: a resumed run calls it again. An error where no row is left to learn from.
    fn weigh(&self, pool: &Pool, _phase: u64) -> Result<(Vec<f64>, BTreeMap<String, f64>)> {
        Ok((vec![1.0; pool.lens.len()], BTreeMap::new()))
    }

    /// What the scheduled learning rate is multiplied by.
    fn lr_scale(&self, _step: u64) -> f64 {
        1.0
    }

    /// After sampling, before scoring: which rows go on (`released` ESRL drops the most confident). Sees the sampler's
    /// columns.
    fn keep(&self, exp: &Experience) -> Vec<bool> {
        vec![true; exp.n_rows()]
    }

    /// Baselines, advantages, filtering. No gradient. Also returns metrics of the step.
    fn prepare(&mut self, exp: Experience) -> Result<(Experience, BTreeMap<String, f64>)>;

    /// With a critic, a part of the policy's and a part of the values alone: without `now.values` the first, with them the sum of both.
    fn loss(&self, now: &Scores, exp: &Experience, totals: Totals) -> CResult<Loss>;

    /// All that a resumed run needs beside the settings.
    fn state(&self) -> Value;

    fn restore(&mut self, state: &Value) -> Result<()>;
}
