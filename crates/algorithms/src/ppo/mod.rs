//! PPO for RLHF: a critic, GAE, a clipped ratio, and the KL to the reference inside the reward.
//! Schulman et al. 2017 (arXiv 1707.06347), Ziegler et al. 2019 (arXiv 1909.08593). Choices are numbered in docs/methods/ppo.md.

mod config;

pub use config::Config;

use crate::clipped::{Surrogate, surrogate};
use crate::estimators::kl::{Controller, Estimator, adapt};
use crate::estimators::{explained_variance, gae::gae, mean, score::shaped, whiten};
use crate::experience::{column, host};
use crate::metrics::{self, Metrics};
use crate::settings::bad_state;
use crate::{Algorithm, Experience, Loss, Needs, Result, SamplingPlan, Scores, Totals};
use candle_core::{Result as CResult, Tensor};
use serde_json::{Value, json};
use std::ops::Range;

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
    pub(crate) config: Config,
    /// Of `config.kl_coef`; moves when the controller is adaptive. f32, which JSON carries exactly.
    kl_coef_scale: f32,
}

/// What the probability ratio is of: N tokens, or the N macros of MA-PPO.
pub(crate) struct Actions<'a> {
    /// `[N]` log π − log π_old, with graph
    pub log_ratio: Tensor,
    /// `[N]`
    pub advantages: &'a [f32],
    /// N of the whole optimiser step
    pub n: f64,
}

impl<'a> Actions<'a> {
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
    /// `at`: what stands before the keys in messages about them.
    pub(crate) fn new(config: Config, at: &str) -> Result<Self> {
        config.check(at)?;
        Ok(Self {
            config,
            kl_coef_scale: 1.0,
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
        actions: &Actions,
        now: &Scores,
        totals: Totals,
        metrics: &mut Metrics,
    ) -> CResult<Tensor> {
        let c = &self.config;
        let Actions {
            log_ratio,
            advantages,
            n,
        } = actions;
        let bounds = 1.0 - c.clip..1.0 + c.clip;
        let Surrogate {
            mut loss,
            metrics: of_ratio,
        } = surrogate(log_ratio, advantages, bounds, *n)?;
        if c.dual_clip > 0.0 {
            // A < 0: no larger than −dual_clip · A. A ≥ 0: the bound must not bind.
            let bound = advantages.iter().map(|a| match *a < 0.0 {
                true => (-c.dual_clip * f64::from(*a)).min(f64::from(f32::MAX)) as f32,
                false => f32::MAX,
            });
            loss = loss.minimum(&column(&bound.collect::<Vec<f32>>(), log_ratio)?)?;
        }
        metrics.extend(of_ratio);
        let loss = (loss.sum_all()? / *n)?;
        metrics.extend(metrics::of_update(&loss, now, totals)?);
        if c.entropy_coef == 0.0 {
            return Ok(loss);
        }
        loss - (now.entropy.sum_all()? * (c.entropy_coef / totals.tokens as f64))?
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

    /// Rewards, then advantages and returns by `credit`, row by row; the step's metrics.
    pub(crate) fn prepare_by(
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
        let mut metrics = metrics::of_rollouts(&exp);
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
        exp.rewards = rewards.into_iter().map(|r| r as f32).collect();
        exp.advantages = advantages.into_iter().map(|a| a as f32).collect();
        exp.returns = returns.into_iter().map(|r| r as f32).collect();
        Ok((exp, metrics))
    }

    /// The whole loss, its policy part over `actions`.
    pub(crate) fn loss_of(
        &self,
        actions: &Actions,
        now: &Scores,
        exp: &Experience,
        totals: Totals,
    ) -> CResult<Loss> {
        let mut metrics = Metrics::new();
        let mut loss = self.policy_loss(actions, now, totals, &mut metrics)?;
        if let Some(values) = &now.values {
            let n = totals.tokens as f64;
            loss = (loss + self.value_loss(values, exp, n, &mut metrics)?)?;
        }
        Ok(Loss { loss, metrics })
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
            samples: self.config.samples,
            ..Needs::default()
        }
    }

    fn plan(&mut self, prompts: &[u64], _step: u64) -> Result<Vec<SamplingPlan>> {
        Ok(SamplingPlan::each(prompts, self.config.samples))
    }

    fn prepare(&mut self, exp: Experience) -> Result<(Experience, Metrics)> {
        let (gamma, lam) = (self.config.gamma, self.config.lam);
        self.prepare_by(exp, &|_, rewards, values| gae(rewards, values, gamma, lam))
    }

    fn loss(&self, now: &Scores, exp: &Experience, totals: Totals) -> CResult<Loss> {
        if exp.n_tokens() == 0 {
            return Loss::nothing(now);
        }
        self.loss_of(&Actions::tokens(now, exp, totals)?, now, exp, totals)
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
