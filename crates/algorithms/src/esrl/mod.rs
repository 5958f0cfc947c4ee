//! ESRL: efficient sampling-based reinforcement learning (Wang et al. 2024, arXiv 2308.02223).
//!
//! Prompts at which the policy is able get fewer samples at a lower temperature (Eq. 7 to 9). A
//! prompt with several samples is trained by MRT (Eq. 4, 5), one with a single sample by REINFORCE
//! (Eq. 3), with rewards minus the mean of a queue. Modes and deviations (D1, D2, …) are in
//! docs/methods/esrl.md. The mode `released` is another algorithm and is in `released.rs`.

mod config;
mod ledger;
mod memory;
mod released;

pub use config::{Config, Mode, ReleasedConfig, SamplingConfig};

use crate::algorithm::{Algorithm, Estimate, SamplingPlan};
use crate::columns::{column, host, row_sums};
use crate::error::Result;
use crate::estimators::baseline::Fifo;
use crate::estimators::capability::{self, Capability};
use crate::estimators::mean;
use crate::experience::{Experience, groups};
use crate::loss::{Loss, Scores, Totals, policy_metrics};
use crate::method::{Method, Name};
use crate::metrics::{Definitions, Metrics};
use crate::requirements::{Requirements, TextMetric};
use crate::settings::bad_state;
use crate::{mrt, reinforce};
use candle_core::{Result as CResult, Tensor};
use ledger::Ledger;
use memory::{Memory, Record};
use rand::Rng;
use serde_json::{Value, json};

impl Method for Esrl {
    type Config = Config;
    const NAMES: &'static [Name] = &[Name {
        name: "esrl",
        about: "efficient sampling: k and temperature by the prompt's difficulty, MRT or REINFORCE",
        paper: "Wang et al. 2024, arXiv 2308.02223",
    }];
    const PAGE: &'static str = "esrl";
    const METRICS: Definitions = ledger::METRICS;

    fn defaults(_name: &str, given: &Value) -> Result<Config> {
        Config::defaults(given)
    }

    fn build(_name: &str, config: Config, seed: u64) -> Box<dyn Algorithm> {
        match config {
            Config::Sampling(config) => Box::new(Self::new(config, seed)),
            Config::Released(config) => Box::new(released::Released::new(config)),
        }
    }
}

/// Modes `paper` and `corrected`.
pub struct Esrl {
    config: SamplingConfig,
    seed: u64,
    memory: Memory,
    fifo: Fifo,
    step: Ledger,
}

impl Esrl {
    fn new(config: SamplingConfig, seed: u64) -> Self {
        Self {
            fifo: Fifo::new(config.fifo),
            config,
            seed,
            memory: Memory::default(),
            step: Ledger::default(),
        }
    }

    /// Capability of one response.
    fn capability(&self, score: f32, metric: f32, logps: &[f32], entropies: &[f32]) -> f64 {
        match self.config.capability {
            Capability::Reward | Capability::Random => f64::from(score),
            Capability::Entropy => capability::sampled_entropy(logps),
            Capability::FullEntropy => capability::full_entropy(entropies),
            Capability::Bleu | Capability::Rouge => f64::from(metric),
        }
    }

    /// The record of each prompt from its samples of this step.
    fn records(&self, exp: &Experience) -> Vec<(u64, Record)> {
        let layout = exp.layout();
        let of_row = |row: usize| {
            let tokens = layout.range(row);
            let metric = exp.text_metric.get(row).copied().unwrap_or_default();
            let entropy = exp.entropy.get(tokens.clone()).unwrap_or_default();
            self.capability(exp.score[row], metric, &exp.logp_old[tokens], entropy)
        };
        let of_group = |rows: std::ops::Range<usize>| {
            let capability: Vec<f64> = rows.clone().map(of_row).collect();
            let reward: Vec<f64> = rows.clone().map(|r| f64::from(exp.score[r])).collect();
            let record = Record {
                capability: mean(&capability) as f32,
                reward: mean(&reward) as f32,
            };
            (exp.prompt_key[rows.start], record)
        };
        groups(&exp.prompt_key).into_iter().map(of_group).collect()
    }

    /// r − b of each row, before scaling. Also pushes the rewards into the queue.
    fn weights(&mut self, rewards: &[f64], exp: &Experience) -> Vec<f64> {
        self.fifo.push(rewards);
        let b = if self.config.baseline {
            self.fifo.mean()
        } else {
            0.0
        };
        let known: Vec<Option<f64>> = exp
            .prompt_key
            .iter()
            .map(|key| self.memory.reward(*key))
            .collect();
        let level = mean(&known.iter().flatten().copied().collect::<Vec<_>>());
        let of_prompt =
            |known: &Option<f64>| self.config.prompt_baseline * (known.unwrap_or(level) - level);
        rewards
            .iter()
            .zip(&known)
            .map(|(r, known)| r - b - of_prompt(known))
            .collect()
    }

    fn reward_scale(&self) -> f64 {
        match (self.config.scale_rewards, self.fifo.std()) {
            (true, std) if std > 1e-6 => std,
            _ => 1.0,
        }
    }

    /// Eq. 4's exponents of one prompt's samples, `[k]`: α log p(y|x), or its length-normalised
    /// form (D9).
    fn exponents(&self, logp_seq: &Tensor, lens: &[usize], logp_old: &[f64]) -> CResult<Tensor> {
        let alpha = self.config.alpha;
        match self.config.length_normalise {
            true => mrt::length_normalised(logp_seq, alpha, lens, logp_old),
            false => logp_seq * alpha,
        }
    }
}

impl Algorithm for Esrl {
    fn requirements(&self) -> Requirements {
        let c = &self.config;
        let reads_logp_old = c.kl_coef > 0.0
            || c.length_normalise
            || matches!(c.capability, Capability::Entropy | Capability::FullEntropy);
        Requirements {
            reference: c.kl_coef > 0.0,
            whole_groups: c.k_max > 1,
            minibatches: c.minibatches,
            at_sampling_temperature: c.loss_temperature,
            recompute_logp_old: !c.loss_temperature && reads_logp_old,
            text_metric: match c.capability {
                Capability::Bleu => Some(TextMetric::Bleu),
                Capability::Rouge => Some(TextMetric::RougeL),
                _ => None,
            },
            max_samples: c.k_max,
            ..Requirements::default()
        }
    }

    fn prompts_to_estimate(&self, prompts: &[u64]) -> Vec<u64> {
        match self.config.capability {
            Capability::Random => Vec::new(),
            _ => self.memory.unseen(prompts),
        }
    }

    fn observe(&mut self, estimates: &[Estimate]) {
        for e in estimates {
            let capability = self.capability(e.score, e.text_metric, &e.logps, &e.entropies) as f32;
            let reward = e.score;
            self.memory
                .record(e.prompt_key, Record { capability, reward });
        }
        self.step.greedy = estimates.len();
        self.step.greedy_tokens = estimates.iter().map(|e| e.logps.len()).sum();
    }

    fn plan(&mut self, prompts: &[u64], step: u64) -> Result<Vec<SamplingPlan>> {
        let c = &self.config;
        let capability = self.memory.capabilities(prompts);
        let k = match c.capability {
            Capability::Random => {
                let draw =
                    |i| run::stream(self.seed, "esrl k", step, i as u64).random_range(1..=c.k_max);
                (0..prompts.len()).map(draw).collect()
            }
            _ => {
                let positive = capability::normalise(&capability, c.normalise);
                capability::samples(&positive, (c.k_floor, c.k_max), c.beta, c.rounding)
            }
        };
        let tau = |k: &usize| capability::temperature(*k, c.k_max, c.tau_min, c.tau_max);
        let plan = k
            .iter()
            .map(|k| SamplingPlan {
                n: *k,
                temperature: Some(tau(k) as f32),
            })
            .collect();
        self.step.tau = k.iter().filter(|k| **k > 0).map(tau).collect();
        self.step.capability = capability;
        self.step.k = k;
        Ok(plan)
    }

    fn prepare(&mut self, mut exp: Experience) -> Result<(Experience, Metrics)> {
        let with_metric = self.requirements().text_metric.is_some();
        let metric = with_metric.then_some(("text_metric", &exp.text_metric[..]));
        exp.require(&[("logp_old", &exp.logp_old)], metric.as_slice())?;
        let reward = self.config.reward();
        let rewards = reward.of(&exp)?;
        let mut metrics = reward.metrics(&exp, &rewards);
        let weights = self.weights(&rewards, &exp);
        let scale = self.reward_scale();
        metrics.extend(self.step.metrics(&exp, self.config.k_max));
        metrics.insert("esrl/baseline".into(), self.fifo.mean());
        metrics.insert("esrl/reward_scale".into(), scale);
        for (key, record) in self.records(&exp) {
            self.memory.record(key, record);
        }
        self.step = Ledger::default();
        exp.weight = weights.into_iter().map(|w| (w / scale) as f32).collect();
        Ok((exp, metrics))
    }

    fn policy_loss(&self, now: &Scores, exp: &Experience, totals: Totals) -> CResult<Loss> {
        // A row without tokens has no probability to move, and must not take a share of Q.
        let exp = exp.with_tokens();
        if exp.n_rows() == 0 {
            return Loss::zero(&now.logp);
        }
        let mut metrics = Metrics::new();
        let n = totals.prompts as f64;
        let logp_seq = row_sums(&now.logp, &exp.layout())?; // [R]
        let weight = column(&exp.weight, &now.logp)?; // [R]
        let logp_old = match exp.logp_old.is_empty() {
            true => vec![0.0; exp.n_rows()],
            false => exp.row_sums(&exp.logp_old),
        };
        let (mut mrt, mut reinforce) = (Vec::new(), Vec::new());
        for g in groups(&exp.prompt_key) {
            let (logp, w) = (
                logp_seq.narrow(0, g.start, g.len())?,
                weight.narrow(0, g.start, g.len())?,
            );
            if g.len() == 1 {
                reinforce.push((reinforce::loss(&logp, &w)? / n)?);
                continue;
            }
            let z = self.exponents(&logp, &exp.lens[g.clone()], &logp_old[g])?;
            let scale = if self.config.mrt_scale_by_alpha {
                self.config.alpha
            } else {
                1.0
            };
            mrt.push((mrt::loss(&z, &w)? / (n * scale))?);
        }
        let mut total: Option<Tensor> = None;
        for (name, parts) in [("loss/mrt", mrt), ("loss/reinforce", reinforce)] {
            if parts.is_empty() {
                metrics.insert(name.into(), 0.0);
                continue;
            }
            let part = Tensor::stack(&parts, 0)?.sum_all()?;
            metrics.insert(name.into(), host(&part)?[0]);
            total = Some(match total {
                Some(sum) => (sum + part)?,
                None => part,
            });
        }
        let loss = total.expect("there is a row, so there is a part");
        metrics.extend(policy_metrics(&loss, now, totals)?);
        Ok(Loss { loss, metrics })
    }

    fn state(&self) -> Value {
        json!({ "fifo": self.fifo.values(), "memory": self.memory })
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        let read = |e: serde_json::Error| bad_state("esrl", e);
        let queue: Vec<f64> = serde_json::from_value(state["fifo"].clone()).map_err(read)?;
        self.memory = serde_json::from_value(state["memory"].clone()).map_err(read)?;
        self.fifo = Fifo::new(self.config.fifo);
        self.fifo.push(&queue);
        Ok(())
    }
}
