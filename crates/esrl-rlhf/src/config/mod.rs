//! The settings of an RL run (`configs/*/{ppo,esrl,…}.toml`).

mod check;
mod clauses;
mod optimizer;
mod unused;

pub use clauses::{ClauseSource, ClausesConfig};

use crate::watch::WatchConfig;
use algorithms::{DataSource, PoolRequirements, Requirements};
use anyhow::{Result, bail};
use data::{DataPath, DataSet, Format, Only, RowsConfig, Selection, TooLong, TrainOn};
use models::{BaseWeights, LoraConfig, SamplingWeights};
use ops::Compute;
use optimizer::RlOptimizer;
use rewards::SourceConfig;
use run::Rules;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use train::OptimizerConfig;

/// All settings of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub model: ModelConfig,
    /// Used when the policy's run has no adapter of its own (a plain model, or method = "full")
    #[serde(default)]
    pub lora: LoraConfig,
    pub data: DataConfig,
    /// `name` and that algorithm's own keys (docs/methods)
    pub algorithm: toml::Table,
    /// What scores a response: the weighted sum of these (docs/rewards.md). Empty: the reward
    /// model, where there is one
    #[serde(default)]
    pub rewards: Vec<SourceConfig>,
    #[serde(default)]
    pub rollout: RolloutConfig,
    #[serde(default)]
    pub train: TrainConfig,
    /// Thresholds of the health watches
    #[serde(default)]
    pub watch: WatchConfig,
    /// `cpu`, `cuda` or `cuda:N`
    #[serde(default = "policy::default_device")]
    pub device: String,
    /// The arithmetic of products with frozen weights on the CPU
    #[serde(default)]
    pub compute: Compute,
}

/// `[model]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// The start of the policy, and the reference: an sft run, an adapter of PEFT, or a plain model
    pub policy: String,
    /// Where the base of all four roles is, if not where the policy says; its numbers must be the
    /// same
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// A reward-model run
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reward: Option<PathBuf>,
    /// Format of the frozen projections: `stored`, `q8_0`, `q4_0`, `q4_k`. Default: that of the
    /// earlier run, else `stored`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<BaseWeights>,
    /// How a plain model is prompted: `auto`, `alpaca`, `chat`, `raw` (a run has its own template)
    #[serde(default = "policy::default_template")]
    pub template: String,
    /// The time that a chat template prints, such as `2026-11-30`. Default: that of the run it
    /// starts from, else the time when the run begins
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "policy::template_date"
    )]
    pub template_date: Option<String>,
}

/// `[data]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Prompts, in any format (answers in it are the references of text metrics)
    #[serde(default)]
    pub path: DataPath,
    /// Several data sets to mix, instead of `path`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<DataSet>,
    #[serde(default)]
    pub format: Format,
    /// Prompts for evaluation; without it a share of `path` is held out
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval_path: Option<DataPath>,
    #[serde(default = "held_out")]
    pub held_out: f64,
    /// Tokens; longer prompts are left out and counted
    #[serde(default = "max_prompt_len")]
    pub max_prompt_len: usize,
    /// Use only the rows whose instruction matches this regular expression; the others are counted
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Only>,
    /// The file's names of our fields: `columns = { prompt = "question" }`
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, String>,
    /// Fields of the rows to ignore; any other unused field is reported
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
    /// Use the first rows only
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rows: Option<usize>,
    /// Rows that would take more memory than this, MB, are tokenised into the cache on disk
    #[serde(default = "data::memory_mb")]
    pub memory_mb: usize,
}

impl DataConfig {
    /// The settings of the training rows as the other stages have them. Prompts for evaluation that
    /// have a place of their own are read apart: they may be rows of another kind.
    pub(crate) fn rows(&self, max_len: usize, memory_mb: usize) -> RowsConfig<0> {
        RowsConfig {
            path: self.path.clone(),
            sources: self.sources.clone(),
            format: self.format,
            eval_path: None,
            held_out: match self.eval_path {
                Some(_) => 0.0,
                None => self.held_out,
            },
            train_on: Some(TrainOn::Last),
            max_len,
            too_long: TooLong::Drop,
            only: self.only.clone(),
            columns: self.columns.clone(),
            ignore: self.ignore.clone(),
            max_rows: self.max_rows,
            memory_mb,
            max_eval_rows: None,
        }
    }

    /// The rows to train on.
    pub fn selection(&self) -> Selection<'_> {
        Selection {
            path: &self.path,
            sources: &self.sources,
            format: self.format,
            only: self.only.as_ref(),
            columns: &self.columns,
            ignore: &self.ignore,
            max_rows: self.max_rows,
            train_on: TrainOn::Last,
            drops_tools: false,
        }
    }
}

/// `[rollout]`: how responses are sampled.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RolloutConfig {
    /// Prompts per step; stored responses or pairs per step for the methods that learn from those
    pub prompts: usize,
    /// Used unless the algorithm plans another
    pub temperature: f32,
    /// 0 = off. Log-probs are those of the full distribution, so truncation makes the update
    /// slightly off-policy
    pub top_k: usize,
    /// 1.0 = off
    pub top_p: f32,
    pub max_new_tokens: usize,
    /// Rows decoded together
    pub max_rows: usize,
    /// true: log-probs of rollouts come from a forward like the training one (ratio exactly 1 at
    /// the first minibatch). false: from the sampler's log. Default: from the sampler's hidden
    /// states where the algorithm uses a reference, else logged
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rescore: Option<bool>,
    /// Format of the frozen matrices while rollouts are sampled. If it is not that of training,
    /// log-probs come from a forward and truncated importance weights correct the update
    pub weights: SamplingWeights,
    /// Largest importance weight
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

/// `[train]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Steps of the run, a batch of rollouts each
    pub steps: usize,
    /// Tokens (prompt and response) of one forward with graph
    pub micro_batch_tokens: usize,
    /// Largest memory of the process, GB (10⁹ bytes): as many layers are checkpointed as needed
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_gb: Option<f64>,
    /// Checkpoint exactly this many layers
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_blocks: Option<usize>,
    #[serde(deserialize_with = "RlOptimizer::deserialize")]
    pub policy: OptimizerConfig,
    #[serde(deserialize_with = "RlOptimizer::deserialize")]
    pub critic: OptimizerConfig,
    /// Steps in which only the critic learns; the policy's schedule begins after them
    pub critic_warmup_steps: usize,
    /// The critic starts as the reward model (`reward`), or with a head of zeros on the policy's
    /// start (`zero`)
    pub critic_init: CriticInit,
    /// Steps between two evaluations; 0 = only at the end, as for `sample_every` and `save_every`
    pub eval_every: usize,
    /// Held-out prompts per evaluation
    pub eval_prompts: usize,
    pub sample_every: usize,
    pub save_every: usize,
    pub keep_checkpoints: usize,
    /// Older ones are also deleted while all together take more MB than this
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_checkpoints_mb: Option<u64>,
    pub seed: u64,
}

impl TrainConfig {
    /// The policy's learning rate at `step` (0-based): 0 while only the critic learns. Its schedule
    /// begins after that; in runs of earlier `rules` with the run.
    pub(crate) fn policy_lr(
        &self,
        step: u64,
        algorithm: &dyn algorithms::Algorithm,
        rules: Rules,
    ) -> f64 {
        let alone = self.critic_warmup_steps;
        let Some(after) = (step as usize).checked_sub(alone) else {
            return 0.0;
        };
        let lr = match rules >= Rules::WarmupMoves {
            true => self
                .policy
                .lr_at(after, self.steps.saturating_sub(alone), rules),
            false => self.policy.lr_at(step as usize, self.steps, rules),
        };
        lr * algorithm.lr_scale(step)
    }

    /// Which checkpoints are kept.
    pub(crate) fn keep(&self) -> run::RetentionPolicy {
        run::RetentionPolicy {
            n: self.keep_checkpoints,
            mb: self.keep_checkpoints_mb,
        }
    }
}

/// `train.critic_init`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CriticInit {
    #[default]
    Reward,
    Zero,
}

impl Default for TrainConfig {
    fn default() -> Self {
        let optimizer = optimizer::rl_defaults();
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
    /// The sources of reward: `[[rewards]]`, or the reward model alone.
    fn sources(&self) -> Vec<SourceConfig> {
        match self.model.reward {
            Some(_) if self.rewards.is_empty() => vec![SourceConfig::model()],
            _ => self.rewards.clone(),
        }
    }

    /// Whether the reward model is a source of reward.
    pub(crate) fn scores_with_model(&self) -> bool {
        rewards::needs_model(&self.sources())
    }

    /// Whether the method has a critic, and it starts as the reward model.
    pub(crate) fn critic_starts_from_reward(&self) -> Result<bool> {
        let needs = self.build_algorithm()?.requirements();
        Ok(needs.critic && self.train.critic_init == CriticInit::Reward)
    }

    /// Builds the algorithm that `[algorithm]` names and checks its keys.
    pub fn build_algorithm(&self) -> Result<Box<dyn algorithms::Algorithm>> {
        let (name, keys) = self.algorithm_keys()?;
        Ok(algorithms::build(&name, &keys, self.train.seed)?)
    }

    /// The same settings with every key of `[algorithm]` and every source of reward spelled out.
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

    pub(super) fn algorithm_keys(&self) -> Result<(String, serde_json::Value)> {
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
                    "algorithm.name = {other} is not a name; it is one of {}",
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

/// Whether the method scores responses.
pub(crate) fn learns_from_scores(needs: &Requirements) -> bool {
    match &needs.source {
        DataSource::Rollouts => true,
        DataSource::Pool(PoolRequirements {
            score,
            prompt_value,
            ..
        }) => *score || prompt_value.is_some(),
        DataSource::Pairs => false,
    }
}
