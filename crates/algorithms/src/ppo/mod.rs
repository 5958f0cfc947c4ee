//! PPO for RLHF: a critic, GAE, a clipped ratio, and the KL to the reference inside the reward.
//!
//! Schulman et al. 2017 (arXiv 1707.06347), Ziegler et al. 2019 (arXiv 1909.08593). Choices are
//! numbered in docs/methods/ppo.md.

mod config;

pub use config::Config;

use crate::algorithm::Algorithm;
use crate::clipped::{Surrogate, surrogate};
use crate::columns::{column, host};
use crate::error::Result;
use crate::estimators::kl::{Controller, adapt};
use crate::estimators::{explained_variance, gae::gae, mean, whiten};
use crate::experience::Experience;
use crate::loss::{Loss, Scores, Totals, policy_metrics};
use crate::method::{Method, Name};
use crate::metrics::{Definitions, Metrics, advantage_metrics, rollout_metrics};
use crate::requirements::Requirements;
use crate::settings::bad_state;
use candle_core::{Result as CResult, Tensor};
use serde_json::{Value, json};
use std::ops::Range;

impl Method for Ppo {
    type Config = Config;
    const NAMES: &'static [Name] = &[Name {
        name: "ppo",
        about: "clipped policy gradient with a critic and a KL penalty in the reward",
        paper: "Schulman et al. 2017, Ziegler et al. 2019, arXiv 1707.06347, 1909.08593",
    }];
    const PAGE: &'static str = "ppo";
    const METRICS: Definitions = &[
        (
            "val/explained_variance",
            "1 - var(returns - values) / var(returns) over tokens, before the update",
        ),
        (
            "val/clipfrac",
            "share of tokens whose clipped value loss is the larger, mean over the step's updates",
        ),
        (
            "loss/value",
            "0.5 * mean over tokens of the (clipped) squared error of the critic, before vf_coef",
        ),
    ];

    fn build(_name: &str, config: Config, _seed: u64) -> Box<dyn Algorithm> {
        Box::new(Self::new(config))
    }
}

/// PPO. Other methods build on it: MA-PPO, and ESRL's `released` mode.
pub struct Ppo {
    pub(crate) config: Config,
    /// Factor on `config.kl_coef`, moved by the adaptive controller. f32, which JSON carries
    /// exactly.
    kl_coef_scale: f32,
}

/// What the probability ratio is taken over: N tokens, or the N macro actions of MA-PPO.
pub(crate) struct Actions<'a> {
    /// `[N]` log π − log π_old, with graph
    pub log_ratio: Tensor,
    /// `[N]`
    pub advantages: &'a [f32],
    /// The N of the whole optimiser step.
    pub n: f64,
}

impl<'a> Actions<'a> {
    /// Every token is an action.
    pub fn tokens(now: &Scores, exp: &'a Experience, totals: Totals) -> CResult<Self> {
        Ok(Self {
            log_ratio: (&now.logp - column(&exp.logp_old, &now.logp)?)?,
            advantages: &exp.advantages,
            n: totals.tokens as f64,
        })
    }
}

/// Advantages and returns of the tokens of one response, from its per-token rewards and values.
pub(crate) type Credit<'a> = &'a dyn Fn(Range<usize>, &[f64], &[f64]) -> (Vec<f64>, Vec<f64>);

impl Ppo {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            kl_coef_scale: 1.0,
        }
    }

    fn kl_coef(&self) -> f64 {
        self.config.kl_coef * f64::from(self.kl_coef_scale)
    }

    /// Per-token rewards, `[M]`: `−kl_coef · kl_t`, and the shaped score on the last token of each
    /// row.
    fn rewards(&self, exp: &Experience) -> (Vec<f64>, Metrics) {
        let c = &self.config;
        let ratio = exp.log_ratio_to_reference();
        let kl = ratio.iter().map(|x| c.kl_estimator.of(f64::from(*x)));
        let mut rewards: Vec<f64> = kl.map(|kl| -self.kl_coef() * kl).collect();
        let mut totals = Vec::with_capacity(exp.n_rows());
        let mut penalties = Vec::with_capacity(exp.n_rows());
        for (row, tokens) in exp.layout().ranges().enumerate() {
            let score = f64::from(exp.score[row]);
            let score = c.score.apply(score, exp.finished[row]);
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

    /// The policy's loss over `actions`.
    pub(crate) fn loss_of_actions(
        &self,
        actions: &Actions,
        now: &Scores,
        totals: Totals,
    ) -> CResult<Loss> {
        let c = &self.config;
        let Actions {
            log_ratio,
            advantages,
            n,
        } = actions;
        let bounds = 1.0 - c.clip..1.0 + c.clip;
        let Surrogate {
            mut loss,
            mut metrics,
        } = surrogate(log_ratio, advantages, bounds, *n)?;
        if c.dual_clip > 0.0 {
            // A < 0: at most −dual_clip · A. A ≥ 0: the bound must not bind.
            let bound = advantages.iter().map(|a| match *a < 0.0 {
                true => (-c.dual_clip * f64::from(*a)).min(f64::from(f32::MAX)) as f32,
                false => f32::MAX,
            });
            loss = loss.minimum(&column(&bound.collect::<Vec<f32>>(), log_ratio)?)?;
        }
        let mut loss = (loss.sum_all()? / *n)?;
        metrics.extend(policy_metrics(&loss, now, totals)?);
        if c.entropy_coef != 0.0 {
            let coef = c.entropy_coef / totals.tokens as f64;
            loss = (loss - (now.entropy.sum_all()? * coef)?)?;
        }
        Ok(Loss { loss, metrics })
    }

    /// Rewards, then advantages and returns by `credit`, row by row, and the metrics of the step.
    pub(crate) fn prepare_with(
        &mut self,
        mut exp: Experience,
        credit: Credit,
    ) -> Result<(Experience, Metrics)> {
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
        let (mut advantages, mut returns) = (Vec::new(), Vec::new());
        for tokens in exp.layout().ranges() {
            let (rewards, values) = (&rewards[tokens.clone()], &values[tokens.clone()]);
            let (a, r) = credit(tokens, rewards, values);
            advantages.extend(a);
            returns.extend(r);
        }
        let mut metrics = rollout_metrics(&exp);
        metrics.extend(shaped);
        metrics.extend(advantage_metrics(&advantages));
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
        exp.rewards = rewards.into_iter().map(|r| r as f32).collect();
        exp.advantages = advantages.into_iter().map(|a| a as f32).collect();
        exp.returns = returns.into_iter().map(|r| r as f32).collect();
        Ok((exp, metrics))
    }
}

impl Algorithm for Ppo {
    fn requirements(&self) -> Requirements {
        Requirements {
            reference: true,
            critic: true,
            epochs: self.config.updates.epochs,
            minibatches: self.config.updates.minibatches,
            at_sampling_temperature: true,
            max_samples: self.config.samples,
            ..Requirements::default()
        }
    }

    fn prepare(&mut self, exp: Experience) -> Result<(Experience, Metrics)> {
        let (gamma, lam) = (self.config.gamma, self.config.lam);
        self.prepare_with(exp, &|_, rewards, values| gae(rewards, values, gamma, lam))
    }

    fn policy_loss(&self, now: &Scores, exp: &Experience, totals: Totals) -> CResult<Loss> {
        if exp.n_tokens() == 0 {
            return Loss::zero(&now.logp);
        }
        self.loss_of_actions(&Actions::tokens(now, exp, totals)?, now, totals)
    }

    fn value_loss(&self, values: &Tensor, exp: &Experience, totals: Totals) -> CResult<Loss> {
        if exp.n_tokens() == 0 {
            return Loss::zero(values);
        }
        let n = totals.tokens as f64;
        let returns = column(&exp.returns, values)?;
        let plain = (values - &returns)?.sqr()?;
        let mut loss = plain.clone();
        let mut metrics = Metrics::new();
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
        let loss = (loss * self.config.vf_coef)?;
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
