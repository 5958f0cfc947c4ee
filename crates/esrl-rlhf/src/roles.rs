//! One base, four roles: policy, reference, reward model and critic are adapters on the same frozen
//! weights. The reward model is one of the sources of reward in [`Mixture`].

use crate::config::{Config, CriticInit};
use algorithms::{Refresh, Requirements};
use anyhow::{Context, Result};
use candle_core::{Tensor, Var};
use data::{Encoder, Template};
use models::{CausalLm, Lora, ScalarHead};
use policy::{Base, Batch, Policy};
use rewards::{Mixture, RewardModel};
use run::FileHashes;
use std::path::Path;
use std::rc::Rc;

/// The models of a run.
pub(crate) struct Roles {
    pub base: Rc<Base>,
    pub encoder: Encoder,
    pub template: Template,
    /// Trainable
    pub policy: Lora,
    /// The policy's start, frozen; None: the base itself
    pub reference: Option<Lora>,
    /// The copy of the policy whose log-probs are `logp_old`, where the method uses one
    pub old: Option<Lora>,
    pub rewards: Mixture,
    pub critic: Option<Critic>,
    /// The files of the adapter and the reward model, as they were read
    pub files: Vec<FileHashes>,
    /// The base that rollouts are sampled from, where `rollout.weights` are not those of training
    sampler: Option<CausalLm>,
}

/// A value head on an adapter of its own.
pub(crate) struct Critic {
    lora: Lora,
    head: ScalarHead,
}

impl Critic {
    /// `[M]` the value before each label, f32. A frozen copy records no graph.
    pub fn values(&self, model: &CausalLm, batch: &Batch) -> candle_core::Result<Tensor> {
        self.head
            .apply(&batch.before_labels(&batch.hidden(model, Some(&self.lora), None)?)?)
    }

    /// The same numbers, detached.
    pub fn frozen(&self) -> Self {
        Self {
            lora: self.lora.frozen(),
            head: self.head.frozen(),
        }
    }

    /// Trainable parameters by name.
    pub fn params(&self) -> Vec<(String, Var)> {
        let head = self
            .head
            .vars()
            .into_iter()
            .map(|(name, var)| (format!("value_head.{name}"), var));
        self.lora.vars().into_iter().chain(head).collect()
    }
}

impl Roles {
    /// Opens reward model and critic on the policy's base.
    pub fn open(config: &Config, needs: &Requirements, policy: Policy) -> Result<Self> {
        let Policy {
            base,
            adapter,
            adapter_files,
            encoder,
            template,
            ..
        } = policy;
        let reward = match &config.model.reward {
            Some(dir) => Some(open_reward(dir, &base)?),
            None => None,
        };
        let mut files = vec![adapter_files];
        files.extend(reward.as_ref().map(|reward| reward.files().clone()));
        let seed = config.train.seed;
        let start = match &adapter {
            Some(adapter) => adapter.frozen(),
            None => Lora::init(&config.lora, &base.model, seed)?,
        };
        let critic = needs
            .critic
            .then(|| -> Result<Critic> {
                let (lora, head) = match config.train.critic_init {
                    CriticInit::Reward => {
                        let reward = reward.as_ref().context(
                            "train.critic_init = \"reward\", and there is no model.reward; set it to \"zero\"",
                        )?;
                        (
                            reward.adapter.trainable()?,
                            reward.value_head()?.trainable()?,
                        )
                    }
                    CriticInit::Zero => {
                        let head = ScalarHead::zeros(base.model.config.hidden_size, base.model.device())?;
                        (start.trainable()?, head.trainable()?)
                    }
                };
                Ok(Critic { lora, head })
            })
            .transpose()?;
        let weights = config.rollout.weights;
        let sampler = base.model.with_sampling_weights(weights)?;
        Ok(Self {
            sampler,
            old: needs.old_policy.map(|_| copy_of(&start)).transpose()?,
            policy: start.trainable()?,
            reference: match needs.reference_refresh {
                Refresh::Never => adapter,
                _ => Some(copy_of(&start)?),
            },
            base,
            encoder,
            template,
            rewards: Mixture::open(&config.rewards, reward)?,
            critic,
            files,
        })
    }

    /// The base that trains.
    pub fn model(&self) -> &CausalLm {
        &self.base.model
    }

    /// The base that rollouts are sampled from.
    pub fn sampler(&self) -> &CausalLm {
        self.sampler.as_ref().unwrap_or(self.model())
    }

    /// Whether the sampler has other weights than the base that trains.
    pub fn samples_from_separate_weights(&self) -> bool {
        self.sampler.is_some()
    }

    /// The base, before it is shared.
    pub fn model_mut(&mut self) -> &mut CausalLm {
        let base = Rc::get_mut(&mut self.base);
        &mut base.expect("the base has one owner here").model
    }

    /// The weights of the base, which no optimiser may change. Frozen adapters are not listed: they
    /// are copies of what is on disk.
    pub fn frozen_tensors(&self) -> Vec<(String, Tensor)> {
        self.base.model.tensors()
    }

    /// Replaces the copies of the policy that are due for a refresh before `step`.
    pub fn refresh(&mut self, needs: &Requirements, step: u64, new_epoch: bool) -> Result<()> {
        if needs
            .old_policy
            .is_some_and(|when| when.is_due(step, new_epoch))
        {
            self.old = Some(copy_of(&self.policy)?);
        }
        if needs.reference_refresh.is_due(step, new_epoch) {
            self.reference = Some(copy_of(&self.policy)?);
        }
        Ok(())
    }

    /// The copies that training refreshes, by the name of their file in a checkpoint.
    pub fn copies(&mut self, needs: &Requirements) -> Vec<(&'static str, &mut Lora)> {
        let old = self.old.as_mut();
        let old = old.filter(|_| needs.old_policy.is_some_and(|when| when != Refresh::Never));
        let reference = self.reference.as_mut();
        let reference = reference.filter(|_| needs.reference_refresh != Refresh::Never);
        let old = old.map(|copy| ("old.safetensors", copy));
        let reference = reference.map(|copy| ("reference.safetensors", copy));
        old.into_iter().chain(reference).collect()
    }
}

/// A frozen copy with storage of its own, which training does not change.
fn copy_of(lora: &Lora) -> candle_core::Result<Lora> {
    Ok(lora.trainable()?.frozen())
}

fn open_reward(dir: &Path, base: &Base) -> Result<RewardModel> {
    if let Some(run) = run::open_saved_run(dir)? {
        run.warn_if_unfinished();
    }
    RewardModel::load(&dir.join("reward"), &base.model)
        .with_context(|| format!("reward model {}", dir.display()))
}
