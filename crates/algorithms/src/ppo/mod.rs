//! PPO for RLHF: a critic, GAE, a clipped ratio, and the KL to the reference inside the reward.
//! Schulman et al. 2017 (arXiv 1707.06347), Ziegler et al. 2019 (arXiv 1909.08593). Choices are numbered in docs/methods/ppo.md.

mod config;

pub use config::Config;

use crate::clipped::{Surrogate, surrogate};
use crate::estimators::kl::{Controller, Estimator, adapt};
use crate::estimators::macros;
use crate::estimators::{explained_variance, gae::gae, mean, score::shaped, whiten};
use crate::experience::{column, host, row_sums};
use crate::ma_ppo::{Macros, Ratio, Termination};
use crate::metrics::{self, Metrics};
use crate::settings::bad_state;
use crate::{Algorithm, Experience, Loss, Needs, Result, Scores, Totals};
use candle_core::{Result as CResult, Tensor};
use serde_json::{Value, json};

pub(crate) fn build(_name: &str, given: &Value, _seed: u64) -> Result<Box<dyn Algorithm>> {
    Ok(Box::new(Ppo::new(Config::resolve(given)?, "")?))
}

pub(crate) fn defaults(_name: &str) -> Value {
    json!(Config::default())
}

pub(crate) fn resolve(_name: &str, given: &Value) -> Result<Value> {
    Ok(json!(Config::resolve(given)?))
}

pub struct Ppo {
    config: Config,
    /// Of `config.kl_coef`; moves when the controller is adaptive. f32, which JSON carries exactly.
    kl_coef_scale: f32,
    /// MA-PPO: actions are runs of tokens
    macros: Option<Macros>,
}

impl Ppo {
    /// MA-PPO.
    pub(crate) fn of_macros(config: Config, macros: Macros) -> Result<Self> {
        Ok(Self {
            macros: Some(macros),
            ..Self::new(config, "")?
        })
    }

    /// `at`: what stands before the keys in messages about them.
    pub(crate) fn new(config: Config, at: &str) -> Result<Self> {
        config.check(at)?;
        Ok(Self {
            config,
            kl_coef_scale: 1.0,
            macros: None,
        })
    }

    fn kl_coef(&self) -> f64 {
        self.config.kl_coef * f64::from(self.kl_coef_scale)
    }

    /// Per-token rewards, `[M]`: `−kl_coef · kl_t`, and the shaped score on the last token of each row.
    fn rewards(&self, exp: &Experience) -> (Vec<f64>, Metrics) {
        let c = &self.config;
        let ratio = exp.log_ratio_to_reference();
        let kl = ratio.iter().map(|x| c.kl_estimator.of(f64::from(*x)));
        let mut rewards: Vec<f64> = kl.map(|kl| -self.kl_coef() * kl).collect();
        let mut totals = Vec::with_capacity(exp.n_rows());
        let mut penalties = Vec::with_capacity(exp.n_rows());
        for (row, tokens) in exp.layout().ranges().enumerate() {
            let score = f64::from(exp.score[row]);
            let score = shaped(
                score,
                exp.finished[row],
                c.score_clip,
                c.eos_penalty,
                c.eos_penalty_mode,
            );
            let penalty: f64 = rewards[tokens.clone()].iter().sum();
            penalties.push(penalty);
            totals.push(score + penalty);
            if !tokens.is_empty() {
                rewards[tokens.end - 1] += score;
            }
        }
        let metrics = Metrics::from([
            ("objective/kl_coef".into(), self.kl_coef()),
            ("objective/non_score_reward".into(), mean(&penalties)),
            ("objective/rlhf_reward".into(), mean(&totals)),
        ]);
        (rewards, metrics)
    }

    fn policy_loss(
        &self,
        now: &Scores,
        exp: &Experience,
        totals: Totals,
        metrics: &mut Metrics,
    ) -> CResult<Tensor> {
        let c = &self.config;
        let n = totals.tokens as f64;
        let log_ratio = (&now.logp - column(&exp.logp_old, &now.logp)?)?;
        let log_ratio = self.of_actions(log_ratio, exp)?;
        let bounds = 1.0 - c.clip..1.0 + c.clip;
        let Surrogate {
            mut loss,
            metrics: of_ratio,
        } = surrogate(&log_ratio, &exp.advantages, bounds, n)?;
        if c.dual_clip > 0.0 {
            // A < 0: no larger than −dual_clip · A. A ≥ 0: the bound must not bind.
            let bound = exp.advantages.iter().map(|a| match *a < 0.0 {
                true => (-c.dual_clip * f64::from(*a)).min(f64::from(f32::MAX)) as f32,
                false => f32::MAX,
            });
            loss = loss.minimum(&column(&bound.collect::<Vec<f32>>(), &now.logp)?)?;
        }
        metrics.extend(of_ratio);
        let loss = (loss.sum_all()? / n)?;
        metrics.extend(metrics::of_update(&loss, now, totals)?);
        if c.entropy_coef == 0.0 {
            return Ok(loss);
        }
        loss - (now.entropy.sum_all()? * (c.entropy_coef / n))?
    }

    /// The log-ratio of each token's action, `[M]`: its own, or its macro's where the ratio is of macros.
    fn of_actions(&self, log_ratio: Tensor, exp: &Experience) -> CResult<Tensor> {
        let ratio = self
            .macros
            .as_ref()
            .map_or(Ratio::Token, |m| m.config.ratio);
        if ratio == Ratio::Token {
            return Ok(log_ratio);
        }
        let layout = exp.layout();
        let macros = layout
            .ranges()
            .flat_map(|row| macros::macros(&exp.macro_start[row]));
        let lens: Vec<usize> = macros.map(|tokens| tokens.len()).collect();
        let sums = row_sums(&log_ratio, &ops::Ragged::from_lens(&lens))?;
        let sums = match ratio {
            Ratio::MacroMean => {
                let each: Vec<f32> = lens.iter().map(|n| 1.0 / *n as f32).collect();
                (sums * column(&each, &log_ratio)?)?
            }
            _ => sums,
        };
        let of_token = lens.iter().enumerate();
        let of_token: Vec<u32> = of_token
            .flat_map(|(i, n)| std::iter::repeat_n(i as u32, *n))
            .collect();
        sums.index_select(&Tensor::new(of_token, log_ratio.device())?, 0)
    }

    /// Advantages and returns of all tokens, `[M]`.
    fn estimate(&self, rewards: &[f64], values: &[f64], exp: &Experience) -> (Vec<f64>, Vec<f64>) {
        let (gamma, lam) = (self.config.gamma, self.config.lam);
        let (mut advantages, mut returns) = (Vec::new(), Vec::new());
        for tokens in exp.layout().ranges() {
            let (rewards, values) = (&rewards[tokens.clone()], &values[tokens.clone()]);
            let (a, r) = match &self.macros {
                None => gae(rewards, values, gamma, lam),
                Some(Macros { config, .. }) => {
                    let macros = macros::macros(&exp.macro_start[tokens]);
                    let (weights, sum) = (config.value_weights, config.reward_sum);
                    macros::gae(rewards, values, &macros, (gamma, lam), weights, sum)
                }
            };
            advantages.extend(a);
            returns.extend(r);
        }
        (advantages, returns)
    }

    fn value_loss(
        &self,
        values: &Tensor,
        exp: &Experience,
        n: f64,
        metrics: &mut Metrics,
    ) -> CResult<Tensor> {
        let returns = column(&exp.returns, values)?;
        let plain = (values - &returns)?.sqr()?;
        let mut loss = plain.clone();
        if self.config.value_clip > 0.0 {
            let old = column(&exp.values, values)?;
            let width = self.config.value_clip;
            let near = (&old + (values - &old)?.clamp(-width, width)?)?;
            let clipped = (near - &returns)?.sqr()?;
            let n_clipped = host(&plain)?
                .iter()
                .zip(host(&clipped)?)
                .filter(|(p, c)| c > p)
                .count();
            metrics.insert("val/clipfrac".into(), n_clipped as f64 / n);
            loss = plain.maximum(&clipped)?;
        }
        let loss = (loss.sum_all()? * (0.5 / n))?;
        metrics.insert("loss/value".into(), host(&loss)?[0]);
        loss * self.config.vf_coef
    }
}

impl Algorithm for Ppo {
    fn needs(&self) -> Needs {
        Needs {
            reference: true,
            critic: true,
            epochs: self.config.epochs,
            minibatches: self.config.minibatches,
            tempered: true,
            clauses: self
                .macros
                .as_ref()
                .is_some_and(|m| m.config.termination == Termination::Parsing),
            ..Needs::default()
        }
    }

    fn prepare(&mut self, mut exp: Experience) -> Result<(Experience, Metrics)> {
        let tokens = [
            ("logp_old", &exp.logp_old[..]),
            ("logp_ref", &exp.logp_ref),
            ("values", &exp.values),
        ];
        exp.require(&tokens, &[("score", &exp.score)])?;
        let c = &self.config;
        let (mut rewards, shaped) = self.rewards(&exp);
        if c.whiten_rewards {
            whiten::whiten_scale_only(&mut rewards);
        }
        let values: Vec<f64> = exp.values.iter().map(|v| f64::from(*v)).collect();
        let mut metrics = metrics::of_rollouts(&exp);
        if let Some(macros) = &self.macros {
            exp.macro_start = macros.starts(&exp)?;
            let n_macros = exp
                .macro_start
                .iter()
                .filter(|start| **start)
                .count()
                .max(1) as f64;
            metrics.insert("macro/length_mean".into(), exp.n_tokens() as f64 / n_macros);
            metrics.insert(
                "macro/per_response".into(),
                n_macros / exp.n_rows().max(1) as f64,
            );
        }
        let (mut advantages, returns) = self.estimate(&rewards, &values, &exp);
        metrics.extend(shaped);
        metrics.extend(metrics::of_advantages(&advantages));
        let explained = explained_variance(&values, &returns);
        metrics.insert("val/explained_variance".into(), explained);
        if c.whiten_advantages {
            whiten::whiten(&mut advantages);
        }
        if c.kl_controller == Controller::Adaptive {
            let kl = mean(&exp.row_sums(&exp.log_ratio_to_reference()));
            let scale = f64::from(self.kl_coef_scale);
            self.kl_coef_scale = adapt(scale, kl, exp.n_rows(), c.kl_target, c.kl_horizon) as f32;
        }
        exp.advantages = advantages.into_iter().map(|a| a as f32).collect();
        exp.returns = returns.into_iter().map(|r| r as f32).collect();
        Ok((exp, metrics))
    }

    fn loss(&self, now: &Scores, exp: &Experience, totals: Totals) -> CResult<Loss> {
        if exp.n_tokens() == 0 {
            return Loss::nothing(now);
        }
        let mut metrics = Metrics::new();
        let n = totals.tokens as f64;
        let mut loss = self.policy_loss(now, exp, totals, &mut metrics)?;
        if let Some(values) = &now.values {
            loss = (loss + self.value_loss(values, exp, n, &mut metrics)?)?;
        }
        Ok(Loss { loss, metrics })
    }

    fn state(&self) -> Value {
        json!({ "kl_coef_scale": self.kl_coef_scale })
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        let scale = state["kl_coef_scale"].as_f64();
        self.kl_coef_scale =
            scale.ok_or_else(|| bad_state("ppo", "kl_coef_scale is missing"))? as f32;
        Ok(())
    }
}

/// As ESRL's release runs PPO (docs/methods/esrl.md): one-sided KL, scores held to ±10, rewards whitened.
pub(crate) fn deepspeed() -> Config {
    Config {
        kl_coef: 0.1,
        kl_estimator: Estimator::Positive,
        score_clip: 10.0,
        eos_penalty: 0.0,
        whiten_rewards: true,
        epochs: 1,
        ..Config::default()
    }
}
