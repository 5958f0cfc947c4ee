//! One base, four roles: policy, reference, reward model and critic are adapters on the same frozen weights.

use crate::config::{Config, CriticInit};
use anyhow::{Context, Result, ensure};
use candle_core::{Device, Tensor, Var};
use data::{Encoder, Template};
use llama::{Llama, Lora, ScalarHead};
use rewards::RewardModel;
use stage::{Base, Batch, Policy, TemplateChoice};
use std::rc::Rc;

pub(crate) struct Roles {
    pub base: Rc<Base>,
    pub encoder: Encoder,
    pub template: Template,
    /// Trainable.
    pub policy: Lora,
    /// Where the policy began, frozen. None: the base itself.
    pub reference: Option<Lora>,
    pub reward: RewardModel,
    pub critic: Option<Critic>,
}

pub(crate) struct Critic {
    lora: Lora,
    head: ScalarHead,
}

impl Critic {
    /// The value before each label, `[M]`, f32. A frozen copy records no graph.
    pub fn values(&self, model: &Llama, batch: &Batch) -> candle_core::Result<Tensor> {
        self.head
            .apply(&batch.before_labels(&batch.hidden(model, Some(&self.lora), None)?)?)
    }

    pub fn frozen(&self) -> Self {
        Self {
            lora: self.lora.frozen(),
            head: self.head.frozen(),
        }
    }

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
    pub fn open(config: &Config, with_critic: bool, device: &Device) -> Result<Self> {
        let template = TemplateChoice::parse(&config.model.template)?;
        let Policy {
            base,
            adapter,
            encoder,
            template,
            ..
        } = Policy::open(&config.model.policy, template, device)?;
        let reward_dir = config.model.reward.join("reward");
        if let Some(run) = run::open_finished(&config.model.reward)? {
            run.note_unfinished();
        }
        let reward = RewardModel::load(&reward_dir, &base.model)
            .with_context(|| format!("reward model {}", config.model.reward.display()))?;
        ensure!(
            reward.template == template,
            "the reward model {} was trained under another prompt template than the policy {}; train it from the run or model the policy comes from",
            config.model.reward.display(),
            config.model.policy
        );
        let seed = config.train.seed;
        let start = match &adapter {
            Some(adapter) => adapter.frozen(),
            None => Lora::init(&config.lora, &base.model, seed)?,
        };
        let critic = with_critic
            .then(|| -> Result<Critic> {
                let (lora, head) = match config.train.critic_init {
                    CriticInit::Reward => (
                        reward.adapter.trainable()?,
                        reward.value_head()?.trainable()?,
                    ),
                    CriticInit::Zero => {
                        let head = ScalarHead::zeros(base.model.config.hidden_size, device)?;
                        (start.trainable()?, head.trainable()?)
                    }
                };
                Ok(Critic { lora, head })
            })
            .transpose()?;
        Ok(Self {
            policy: start.trainable()?,
            reference: adapter,
            base,
            encoder,
            template,
            reward,
            critic,
        })
    }

    pub fn model(&self) -> &Llama {
        &self.base.model
    }
}
