//! The settings of an RL run (`configs/*/{ppo,esrl}.toml`).

use crate::clauses::ClausesConfig;
use crate::watch::WatchConfig;
use anyhow::{Result, bail, ensure};
use data::{Format, Only};
use models::{BaseWeights, LoraConfig, SamplingWeights};
use planning::memory::MemoryConfig;
use rewards::SourceConfig;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use train::OptimizerConfig;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub model: ModelConfig,
    /// Used when the policy's run brings no adapter of its own (a plain model, or method = "full")
    #[serde(default)]
    pub lora: LoraConfig,
    pub data: DataConfig,
    /// `name` and that algorithm's own keys (docs/methods)
    pub algorithm: toml::Table,
    /// What scores a response: the weighted sum of these (docs/rewards.md). None: the reward model, where there is one
    #[serde(default)]
    pub rewards: Vec<SourceConfig>,
    #[serde(default)]
    pub rollout: RolloutConfig,
    #[serde(default)]
    pub train: TrainConfig,
    /// When a run is ill
    #[serde(default)]
    pub watch: WatchConfig,
    /// `cpu`, `cuda` or `cuda:N`
    #[serde(default = "policy::cpu")]
    pub device: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// The policy's start and the reference: an sft run, or a plain model
    pub policy: String,
    /// A reward-model run
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reward: Option<PathBuf>,
    /// What the frozen projections are kept in: `stored`, `q8_0`, `q4_0`, `q4_k`. Default: as the earlier run keeps them, else `stored`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<BaseWeights>,
    /// How a plain model is prompted: `auto`, `alpaca`, `chat`, `raw` (a run brings its own template)
    #[serde(default = "policy::auto")]
    pub template: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Prompts, in any format (answers in it serve as references for text metrics)
    pub path: PathBuf,
    #[serde(default)]
    pub format: Format,
    /// Prompts for evaluation; without it a share of `path` is held out
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval_path: Option<PathBuf>,
    #[serde(default = "held_out")]
    pub held_out: f64,
    /// Longer prompts are left out, and counted
    #[serde(default = "max_prompt_len")]
    pub max_prompt_len: usize,
    /// Take only the rows whose instruction this regular expression is found in; the others are counted
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Only>,
    /// Use the first rows only
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rows: Option<usize>,
}

/// How responses are drawn.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RolloutConfig {
    /// Prompts per step; stored responses or pairs per step for the methods that learn from those
    pub prompts: usize,
    /// Where the algorithm plans none of its own
    pub temperature: f32,
    /// 0 = off. Log-probs are those of the whole distribution, so truncating it makes the update slightly off-policy
    pub top_k: usize,
    /// 1.0 = off
    pub top_p: f32,
    pub max_new_tokens: usize,
    /// Rows decoded together
    pub max_rows: usize,
    /// Log-probs of rollouts by a forward like the training one (ratio exactly 1 at the first minibatch), or those that the
    /// sampler logged. Default: off the states that the sampler drew from where the algorithm uses a reference, else logged
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rescore: Option<bool>,
    /// What the frozen matrices are while rollouts are drawn. Where they are not those of training, log-probs are read by a forward and the
    /// update is corrected by truncated importance weights
    pub weights: SamplingWeights,
    /// The most that an importance weight may be
    pub importance_cap: f64,
    /// How MA-PPO's parsing termination finds clauses
    pub clauses: ClausesConfig,
}

impl Default for RolloutConfig {
    fn default() -> Self {
        Self {
            prompts: 16,
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            max_new_tokens: 128,
            max_rows: 32,
            rescore: None,
            weights: SamplingWeights::Same,
            importance_cap: 2.0,
            clauses: ClausesConfig::default(),
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Rollout batches in all
    pub steps: usize,
    /// Tokens (prompt + response) of one forward with graph
    pub micro_batch_tokens: usize,
    /// Most memory of the process, GB (10⁹ bytes): as many blocks are checkpointed as it takes
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_gb: Option<f64>,
    /// Checkpoint exactly so many blocks
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_blocks: Option<usize>,
    pub policy: OptimizerConfig,
    pub critic: OptimizerConfig,
    /// Steps in which only the critic learns
    pub critic_warmup_steps: usize,
    /// The critic begins as the reward model (`reward`) or with a head of zeros on the policy's start (`zero`)
    pub critic_init: CriticInit,
    pub eval_every: usize,
    /// Held-out prompts per evaluation
    pub eval_prompts: usize,
    pub sample_every: usize,
    pub save_every: usize,
    pub keep_checkpoints: usize,
    /// Older ones are deleted, too, where all together would be more MB than this
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_checkpoints_mb: Option<u64>,
    pub seed: u64,
}

impl TrainConfig {
    /// The policy's learning rate at `step` (0-based): none while the critic learns alone.
    pub(crate) fn policy_lr(&self, step: u64, algorithm: &dyn algorithms::Algorithm) -> f64 {
        match (step as usize) < self.critic_warmup_steps {
            true => 0.0,
            false => self.policy.lr_at(step as usize, self.steps) * algorithm.lr_scale(step),
        }
    }

    pub(crate) fn keep(&self) -> run::RetentionPolicy {
        run::RetentionPolicy {
            n: self.keep_checkpoints,
            mb: self.keep_checkpoints_mb,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CriticInit {
    #[default]
    Reward,
    Zero,
}

impl Default for TrainConfig {
    fn default() -> Self {
        let optimizer = OptimizerConfig {
            lr: 1e-5,
            eps: 1e-5,
            ..OptimizerConfig::default()
        };
        Self {
            steps: 100,
            micro_batch_tokens: 4096,
            memory_gb: None,
            checkpoint_blocks: None,
            policy: optimizer.clone(),
            critic: optimizer,
            critic_warmup_steps: 0,
            critic_init: CriticInit::Reward,
            eval_every: 20,
            eval_prompts: 32,
            sample_every: 10,
            save_every: 20,
            keep_checkpoints: 2,
            keep_checkpoints_mb: None,
            seed: 1,
        }
    }
}

fn held_out() -> f64 {
    0.05
}
fn max_prompt_len() -> usize {
    512
}

impl Config {
    /// Refuses values that cannot work, before anything is read.
    pub fn check(&self) -> Result<()> {
        let (r, t) = (&self.rollout, &self.train);
        policy::TemplateChoice::parse(&self.model.template)?;
        policy::DeviceChoice::parse(&self.device)?;
        self.check_algorithm()?;
        rewards::check(&self.rewards)?;
        policy::check_data(self.data.held_out, self.data.max_rows)?;
        ensure!(r.prompts > 0, "rollout.prompts = 0: a step needs prompts");
        ensure!(
            r.max_new_tokens > 0,
            "rollout.max_new_tokens = 0: a response needs room"
        );
        ensure!(
            r.max_rows > 0,
            "rollout.max_rows = 0: nothing could be decoded"
        );
        ensure!(
            r.temperature > 0.0 && r.temperature.is_finite(),
            "rollout.temperature = {} must be a number above 0 to explore",
            r.temperature
        );
        ensure!(
            r.top_p > 0.0 && r.top_p <= 1.0,
            "rollout.top_p = {} is not in (0, 1]",
            r.top_p
        );
        let narrow = r.weights != SamplingWeights::Same;
        ensure!(
            !narrow || r.rescore != Some(false),
            "rollout.rescore = false takes the sampler's log-probs for the policy's, and with rollout.weights they are not; leave it out"
        );
        ensure!(
            !narrow || self.device == "cpu",
            "rollout.weights works on the CPU, and device = \"{}\"; leave one of them out",
            self.device
        );
        let needs = self.build_algorithm()?.requirements();
        ensure!(
            !narrow || needs.source == algorithms::DataSource::Rollouts,
            "rollout.weights are for methods that draw at each step, and this one learns from stored answers; leave it out"
        );
        ensure!(
            !narrow || needs.at_sampling_temperature,
            "rollout.weights is corrected by log-probs at the temperature of the draw, which algorithm.loss_temperature = false does not read; set it to true, or leave rollout.weights out"
        );
        ensure!(
            r.importance_cap >= 1.0,
            "rollout.importance_cap = {} must be a number from 1 up",
            r.importance_cap
        );
        ensure!(t.steps > 0, "train.steps = 0: nothing would be trained");
        ensure!(
            t.micro_batch_tokens > 0,
            "train.micro_batch_tokens = 0: a forward needs tokens"
        );
        ensure!(
            t.keep_checkpoints > 0,
            "train.keep_checkpoints = 0; it must be at least 1"
        );
        self.memory().check()?;
        r.clauses.check()?;
        self.watch.check()?;
        t.policy.check("train.policy")?;
        t.critic.check("train.critic")?;
        for (name, every) in [
            ("eval_every", t.eval_every),
            ("sample_every", t.sample_every),
            ("save_every", t.save_every),
        ] {
            ensure!(
                every > 0,
                "train.{name} = 0; give the number of steps between two"
            );
        }
        Ok(())
    }

    pub(crate) fn memory(&self) -> MemoryConfig {
        MemoryConfig {
            memory_gb: self.train.memory_gb,
            checkpoint_blocks: self.train.checkpoint_blocks,
        }
    }

    /// The algorithm's keys, and that what it needs is there.
    fn check_algorithm(&self) -> Result<()> {
        let needs = self.build_algorithm()?.requirements();
        let scores = crate::feed::needs_scores(&needs);
        ensure!(
            !self.sources().is_empty() || !scores,
            "model.reward is missing: this algorithm learns from scores; name a reward-model run, or give [[rewards]]"
        );
        ensure!(
            self.model.reward.is_some() || !rewards::needs_model(&self.rewards),
            "model.reward is missing: [[rewards]] has a source of kind \"model\"; name a reward-model run"
        );
        let from_reward = needs.critic && self.train.critic_init == CriticInit::Reward;
        ensure!(
            self.model.reward.is_some() || !from_reward,
            "train.critic_init = \"reward\", and there is no model.reward; set it to \"zero\""
        );
        Ok(())
    }

    /// What scores a response.
    fn sources(&self) -> Vec<SourceConfig> {
        match self.model.reward {
            Some(_) if self.rewards.is_empty() => vec![SourceConfig::model()],
            _ => self.rewards.clone(),
        }
    }

    /// The algorithm that `[algorithm]` names, with its own keys checked.
    pub fn build_algorithm(&self) -> Result<Box<dyn algorithms::Algorithm>> {
        let (name, keys) = self.algorithm_keys()?;
        Ok(algorithms::build(&name, &keys, self.train.seed)?)
    }

    /// The same settings with every key of `[algorithm]` and every source of reward written out.
    pub(crate) fn resolved(&self) -> Result<Self> {
        let (name, keys) = self.algorithm_keys()?;
        let mut table = toml::Table::from_iter([("name".to_string(), name.as_str().into())]);
        table.extend(toml::Table::try_from(algorithms::resolve(&name, &keys)?)?);
        Ok(Self {
            algorithm: table,
            rewards: self.sources(),
            ..self.clone()
        })
    }

    fn algorithm_keys(&self) -> Result<(String, serde_json::Value)> {
        let mut keys = self.algorithm.clone();
        let known = || algorithms::names().join(", ");
        match keys.remove("name") {
            Some(toml::Value::String(name)) => {
                if let Some(key) = not_finite(&keys) {
                    bail!("algorithm.{key} is not finite; give a number");
                }
                Ok((name, serde_json::to_value(keys)?))
            }
            Some(other) => {
                bail!(
                    "algorithm.name = {other} is no name; it is one of {}",
                    known()
                )
            }
            None => bail!("algorithm.name is missing; it is one of {}", known()),
        }
    }
}

/// The first key whose number is NaN or infinite, which JSON cannot carry.
fn not_finite(table: &toml::Table) -> Option<String> {
    table.iter().find_map(|(key, value)| match value {
        toml::Value::Float(number) if !number.is_finite() => Some(key.clone()),
        toml::Value::Table(inner) => not_finite(inner).map(|name| format!("{key}.{name}")),
        _ => None,
    })
}
