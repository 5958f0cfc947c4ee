//! What a run carries from step to step and through a checkpoint: numbers in state.json, tensors in files beside it.

use crate::learner::{Learner, Metrics, StepReport};
use crate::watch::WatchState;
use ::data::Cursor;
use algorithms::Requirements;
use anyhow::Result;
use run::Run;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What a checkpoint holds beside tensors. Random streams are keyed by step, so they need no state.
#[derive(Serialize, Deserialize)]
pub(crate) struct State {
    pub step: u64,
    pub cursor: Cursor,
    pub algorithm: serde_json::Value,
    /// Null in runs of versions that had the reward model alone
    #[serde(default)]
    pub rewards: serde_json::Value,
    pub ledger: Ledger,
    #[serde(default)]
    pub best: Option<Best>,
    #[serde(default)]
    pub watch: WatchState,
}

/// The evaluation with the highest reward so far; its policy is `best/`.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Best {
    pub step: u64,
    pub reward: f64,
}

/// Sampling and time over the whole run, into run.json.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Ledger {
    /// Greedy estimates included, here and in the tokens.
    pub samples_drawn: usize,
    pub tokens_drawn: usize,
    /// Sums over steps of the metrics named `time/…` and `esrl/samples_full`
    pub sums: Metrics,
}

impl Ledger {
    pub fn add(&mut self, report: &StepReport) {
        self.samples_drawn += report.samples_drawn;
        self.tokens_drawn += report.tokens_drawn;
        let summed = |name: &str| name.starts_with("time/") || name == "esrl/samples_full";
        for (name, value) in report.metrics.iter().filter(|(name, _)| summed(name)) {
            *self.sums.entry(name.clone()).or_default() += value;
        }
    }
}

pub(crate) fn save_policy(learner: &Learner, run: &Run, name: &str) -> Result<()> {
    let source = &learner.roles.base.source;
    run.replace_dir(name, |dir| Ok(learner.roles.policy.save(dir, source)?))
}

pub(crate) fn save(learner: &mut Learner, needs: &Requirements, dir: &Path) -> Result<()> {
    train::save_params(&learner.params(), &dir.join("params.safetensors"))?;
    let policy = dir.join("policy_optimizer.safetensors");
    learner.policy.optimizer.save(&policy)?;
    if let Some(critic) = &learner.critic {
        let file = dir.join("critic_optimizer.safetensors");
        critic.optimizer.save(&file)?;
    }
    for (file, copy) in learner.roles.copies(needs) {
        train::save_params(&copy.trainable()?.vars(), &dir.join(file))?;
    }
    Ok(())
}

pub(crate) fn load(learner: &mut Learner, needs: &Requirements, dir: &Path) -> Result<()> {
    train::load_params(&learner.params(), &dir.join("params.safetensors"))?;
    let policy = dir.join("policy_optimizer.safetensors");
    learner.policy.resume(&policy)?;
    if let Some(critic) = &mut learner.critic {
        critic.resume(&dir.join("critic_optimizer.safetensors"))?;
    }
    let like = learner.roles.policy.trainable()?;
    for (file, copy) in learner.roles.copies(needs) {
        let stored = like.trainable()?;
        train::load_params(&stored.vars(), &dir.join(file))?;
        *copy = stored.frozen();
    }
    Ok(())
}
