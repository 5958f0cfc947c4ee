//! What a method asks of the training loop.

/// The data of a method, the models to read, and the shape of a step.
///
/// [`Requirements::default`] is on-policy training with one sample per prompt and one optimiser
/// step per batch, so a method names only what differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Requirements {
    /// Where the rows of a step come from.
    pub source: DataSource,
    /// Read `logp_ref`.
    pub reference: bool,
    /// When the reference is replaced by a copy of the current policy.
    pub reference_refresh: Refresh,
    /// The model that `logp_old` is read from. None: the policy at the start of the step. Some: a
    /// frozen copy of the policy, refreshed on this schedule.
    pub old_policy: Option<Refresh>,
    /// Train a value head beside the policy; the loop then calls `value_loss`.
    pub critic: bool,
    /// The most samples of a prompt in a step. `plan` never asks for more.
    pub max_samples: usize,
    /// All rows of a prompt must be in one micro-batch (MRT's Q couples them).
    pub whole_groups: bool,
    /// Passes over one batch of rollouts.
    pub epochs: usize,
    /// Optimiser steps per pass.
    pub minibatches: usize,
    /// Log-probabilities are of the sampling distribution (logits / temperature); otherwise of the
    /// policy itself.
    pub at_sampling_temperature: bool,
    /// Always read `logp_old` and `entropy` in a forward pass, never from the sampler, because the
    /// sampler's values are of another distribution.
    pub recompute_logp_old: bool,
    /// Score each row with this text metric against the prompt's reference answer (ESRL's BLEU and
    /// ROUGE capabilities).
    pub text_metric: Option<TextMetric>,
    /// Add the prompt's reference answer as the last row of its group (`Experience::sampled` is
    /// false there).
    pub reference_answer: bool,
    /// Fill `macro_start` with the response tokens that begin a clause.
    pub clauses: bool,
}

impl Default for Requirements {
    fn default() -> Self {
        Self {
            source: DataSource::Rollouts,
            reference: false,
            reference_refresh: Refresh::Never,
            old_policy: None,
            critic: false,
            max_samples: 1,
            whole_groups: false,
            epochs: 1,
            minibatches: 1,
            at_sampling_temperature: false,
            recompute_logp_old: false,
            text_metric: None,
            reference_answer: false,
            clauses: false,
        }
    }
}

/// Where the rows of a step come from.
#[derive(Clone, Debug, PartialEq)]
pub enum DataSource {
    /// Responses that the policy samples in the step.
    Rollouts,
    /// Stored responses: the answers of the data set and, for ReST, samples of earlier policies.
    Pool(PoolRequirements),
    /// Preference pairs: the chosen row, then the rejected. Each pair has its own `prompt_key`.
    Pairs,
}

/// What a method asks of a pool of stored responses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PoolRequirements {
    /// Score every row once.
    pub score: bool,
    /// Map scores into 0..1 with the logistic function.
    pub squash: bool,
    /// Estimate V_ref(x), the reference's expected score on the row's prompt.
    pub prompt_value: Option<ValueFit>,
    /// Add samples of the policy to the pool.
    pub grow: Option<Grow>,
    /// true: sample rows with replacement, in proportion to their weight. false: visit each row of
    /// weight > 0 once per epoch.
    pub replacement: bool,
}

/// How the head of V_ref is fitted to the scores of the reference's own answers.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueFit {
    /// Prompts that the reference answers, once each.
    pub prompts: usize,
    /// 0 = greedy.
    pub temperature: f32,
    pub epochs: usize,
    pub lr: f64,
}

/// ReST's Grow step.
#[derive(Clone, Debug, PartialEq)]
pub struct Grow {
    /// Responses per prompt.
    pub samples: usize,
    pub temperature: f32,
    /// Steps between two Grows; the first is at step 0.
    pub every: u64,
    /// Keep the answers of the data set in the pool.
    pub keep_data: bool,
}

/// When a frozen copy of the policy is replaced by a new one. The first copy is taken at the start
/// of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    Never,
    Steps(u64),
    /// At the start of each pass over the data.
    Epoch,
    StepsAndEpoch(u64),
}

impl Refresh {
    /// Whether the copy is replaced before `step`. Step 0 always uses the first copy.
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

/// A metric of a response against a reference answer, 0..1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextMetric {
    Bleu,
    RougeL,
}
