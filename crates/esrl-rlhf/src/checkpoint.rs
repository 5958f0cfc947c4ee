//! What a checkpoint holds: numbers in `state.json`, tensors in files beside it. Random streams are
//! keyed by step and need no state.

use crate::learner::Learner;
use crate::rl_step::StepReport;
use crate::row::Row;
use crate::watch::WatchState;
use ::data::Cursor;
use algorithms::Metrics;
use anyhow::{Result, bail};
use policy::Batch;
use run::Run;
use serde::{Deserialize, Serialize};
use std::path::Path;
use train::Gradients;

/// `state.json`. Its field names are a format.
#[derive(Serialize, Deserialize)]
pub(crate) struct LoopState {
    /// Steps taken
    pub step: u64,
    pub cursor: Cursor,
    pub algorithm: serde_json::Value,
    /// Null in runs of versions that had only the reward model
    #[serde(default)]
    pub rewards: serde_json::Value,
    #[serde(rename = "ledger")]
    pub totals: RunTotals,
    #[serde(default)]
    pub best: Option<BestEvaluation>,
    #[serde(default)]
    pub watch: WatchState,
}

/// The evaluation with the highest reward so far; its policy is `best/`.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct BestEvaluation {
    pub step: u64,
    pub reward: f64,
}

/// Sampling and seconds of the whole run, for run.json.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct RunTotals {
    /// Greedy estimates included, here and in the tokens
    pub samples_drawn: usize,
    pub tokens_drawn: usize,
    /// Steps whose learning rate or gradient was 0, those in which only the critic learns not
    /// counted
    #[serde(default)]
    pub idle_steps: usize,
    /// Sums over steps of the metrics named `time/…` and `esrl/samples_full`
    pub sums: Metrics,
}

impl RunTotals {
    /// `only_critic`: the step trains the critic alone.
    pub fn add(&mut self, report: &StepReport, only_critic: bool) {
        let is_zero = |name: &str| report.metrics.get(name) == Some(&0.0);
        let idle = !only_critic && (is_zero("policy/lr") || is_zero("policy/grad_norm"));
        self.idle_steps += usize::from(idle);
        self.samples_drawn += report.samples_drawn;
        self.tokens_drawn += report.tokens_drawn;
        let summed = |name: &str| name.starts_with("time/") || name == "esrl/samples_full";
        for (name, value) in report.metrics.iter().filter(|(name, _)| summed(name)) {
            *self.sums.entry(name.clone()).or_default() += value;
        }
    }
}

/// Writes the policy's adapter into the run's directory `name`, replacing what is there.
pub(crate) fn save_policy(learner: &Learner, run: &Run, name: &str) -> Result<()> {
    let source = &learner.roles.base.source;
    run.replace_dir(name, |dir| Ok(learner.roles.policy.save(dir, source)?))
}

/// Writes parameters, optimisers and the refreshed copies of the policy.
pub(crate) fn save(learner: &mut Learner, dir: &Path) -> Result<()> {
    train::save_params(&learner.params(), &dir.join("params.safetensors"))?;
    let policy = dir.join("policy_optimizer.safetensors");
    learner.policy.optimizer.save(&policy)?;
    if let Some(critic) = &learner.critic {
        let file = dir.join("critic_optimizer.safetensors");
        critic.optimizer.save(&file)?;
    }
    for (file, copy) in learner.roles.copies(&learner.needs) {
        train::save_params(&copy.trainable()?.vars(), &dir.join(file))?;
    }
    Ok(())
}

/// Reads what [`save`] wrote.
pub(crate) fn load(learner: &mut Learner, dir: &Path) -> Result<()> {
    train::load_params(&learner.params(), &dir.join("params.safetensors"))?;
    let policy = dir.join("policy_optimizer.safetensors");
    learner.policy.resume(&policy)?;
    if let Some(critic) = &mut learner.critic {
        critic.resume(&dir.join("critic_optimizer.safetensors"))?;
    }
    let like = learner.roles.policy.trainable()?;
    for (file, copy) in learner.roles.copies(&learner.needs) {
        let stored = like.trainable()?;
        train::load_params(&stored.vars(), &dir.join(file))?;
        *copy = stored.frozen();
    }
    Ok(())
}

/// Refuses weights that the last update broke, which a forward and backward over `row` show: a
/// checkpoint must be one to continue from. Also refuses a base that has changed.
pub(crate) fn check_weights(learner: &Learner, row: &Row) -> Result<()> {
    let roles = &learner.roles;
    learner.frozen.check(&roles.frozen_tensors())?;
    let (model, params) = (roles.model(), learner.params());
    let batch = Batch::new([row.sequence()]);
    let mut sum = policy::score(model, Some(&roles.policy), &batch, &[1.0], None)?
        .logp
        .sum_all()?;
    if let Some(critic) = &roles.critic {
        sum = (sum + critic.values(model, &batch)?.sum_all()?)?;
    }
    let mut grads = Gradients::zeros(&params);
    grads.add(&sum.backward()?)?;
    let bad = train::first_non_finite(&params)?.is_some() || grads.norm()?.1.is_some();
    if bad || !sum.to_scalar::<f32>()?.is_finite() {
        let diagnosis = train::diagnose(&params, &grads)?;
        bail!("the update broke the weights: {diagnosis}; lower the learning rate");
    }
    Ok(())
}
