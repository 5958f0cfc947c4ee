//! GOLD: off-policy policy gradient on demonstrations (Pang & He 2021, arXiv 2009.07839). A demonstration's token counts by
//! the policy's own probability of it, and by the MLE model's rewards of what follows. Choices are numbered in
//! docs/methods/gold.md.

mod config;

pub use config::Config;

use crate::estimators::mean;
use crate::experience::{column, host};
use crate::metrics::{self, Definitions, Metrics};
use crate::{Algorithm, Experience, Feed, Loss, Needs, PoolNeeds, Refresh, Result, Scores, Totals};
use candle_core::{Result as CResult, Tensor};
use serde_json::{Value, json};

pub(crate) const METRICS: Definitions = &[
    (
        "gold/weight_mean",
        "mean over tokens of the importance weight, clamp(π̃(y_t), u, 1)",
    ),
    (
        "gold/return_mean",
        "mean over tokens of the return, the sum over the suffix of max(c, reward)",
    ),
    (
        "gold/p_mle_mean",
        "mean over tokens of the MLE model's probability of the demonstration's token",
    ),
];

/// What a token of a demonstration is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reward {
    /// GOLD-p: log p_MLE(y_t) − b
    LogProb,
    /// GOLD-s: p_MLE(y_t)
    Prob,
}

impl Reward {
    fn of(name: &str) -> Self {
        match name {
            "gold_p" => Self::LogProb,
            _ => Self::Prob,
        }
    }
}

pub(crate) fn build(name: &str, given: &Value, _seed: u64) -> Result<Box<dyn Algorithm>> {
    let reward = Reward::of(name);
    let config = Config::resolve(reward, given)?;
    config.check()?;
    Ok(Box::new(Gold { config, reward }))
}

pub(crate) fn defaults(name: &str) -> Value {
    json!(Config::of(Reward::of(name)))
}

pub(crate) fn resolve(name: &str, given: &Value) -> Result<Value> {
    Ok(json!(Config::resolve(Reward::of(name), given)?))
}

pub(crate) struct Gold {
    config: Config,
    reward: Reward,
}

impl Gold {
    /// GOLD-s as a part of another method.
    pub(crate) fn s(config: Config) -> Self {
        Self {
            config,
            reward: Reward::Prob,
        }
    }

    /// π̃ and p_MLE are read; nothing else.
    pub(crate) fn needs_of_models(&self) -> Needs {
        let c = &self.config;
        Needs {
            reference: true,
            reference_refresh: match c.drift {
                true => Refresh::Epoch,
                false => Refresh::Never,
            },
            old: Some(match c.sync_epoch {
                true => Refresh::StepsAndEpoch(c.sync_steps),
                false => Refresh::Steps(c.sync_steps),
            }),
            rescore: true,
            ..Needs::default()
        }
    }

    /// Reward of one token, or of one past the end, where p counts as 1.
    fn reward(&self, logp: f64) -> f64 {
        let reward = match self.reward {
            Reward::LogProb => logp.max(1e-10f64.ln()) - self.config.baseline.unwrap_or(0.0),
            Reward::Prob => logp.exp(),
        };
        reward.max(self.config.reward_min)
    }

    /// Returns of one row, `[T]`: the sum over the suffix of γ^j · max(c, reward).
    fn returns(&self, logp_mle: &[f32]) -> Vec<f64> {
        let past_end = self.reward(0.0);
        let rewards: Vec<f64> = logp_mle
            .iter()
            .map(|l| self.reward(f64::from(*l)))
            .collect();
        let at = |t: usize| rewards.get(t).copied().unwrap_or(past_end);
        let of = |t: usize| {
            let terms =
                (0..self.config.suffix).map(|j| self.config.gamma.powi(j as i32) * at(t + j));
            terms.sum::<f64>()
        };
        (0..logp_mle.len()).map(of).collect()
    }

    /// Writes weight × return of each token into `advantages`.
    pub(crate) fn weigh_tokens(&self, mut exp: Experience) -> Result<(Experience, Metrics)> {
        let tokens = [("logp_old", &exp.logp_old[..]), ("logp_ref", &exp.logp_ref)];
        exp.require(&tokens, &[])?;
        let weights: Vec<f64> = exp
            .logp_old
            .iter()
            .map(|l| f64::from(*l).exp().clamp(self.config.weight_min, 1.0))
            .collect();
        let layout = exp.layout();
        let returns: Vec<f64> = layout
            .ranges()
            .flat_map(|tokens| self.returns(&exp.logp_ref[tokens]))
            .collect();
        let p_mle: Vec<f64> = exp.logp_ref.iter().map(|l| f64::from(*l).exp()).collect();
        let metrics = Metrics::from([
            ("gold/weight_mean".into(), mean(&weights)),
            ("gold/return_mean".into(), mean(&returns)),
            ("gold/p_mle_mean".into(), mean(&p_mle)),
        ]);
        exp.advantages = weights
            .iter()
            .zip(&returns)
            .map(|(w, q)| (w * q) as f32)
            .collect();
        Ok((exp, metrics))
    }
}

/// `−Σ_t a_t log π(y_t)` over the step's tokens: the loss of every method whose tokens only differ in weight.
pub(crate) fn weighted_nll(
    now: &Scores,
    token_weights: &[f32],
    totals: Totals,
) -> CResult<(Tensor, Metrics)> {
    if token_weights.is_empty() {
        return Ok((
            Tensor::zeros((), now.logp.dtype(), now.logp.device())?,
            Metrics::new(),
        ));
    }
    let n = totals.tokens as f64;
    let weights = column(token_weights, &now.logp)?;
    let loss = ((&now.logp * weights)?.sum_all()?.neg()? / n)?;
    let nll: f64 = host(&now.logp)?.iter().map(|l| -l).sum();
    let entropy: f64 = host(&now.entropy)?.iter().sum();
    let metrics = Metrics::from([
        ("loss/policy".into(), host(&loss)?[0]),
        ("loss/nll".into(), nll / n),
        ("policy/entropy".into(), entropy / n),
    ]);
    Ok((loss, metrics))
}

impl Algorithm for Gold {
    fn needs(&self) -> Needs {
        Needs {
            feed: Feed::Pool(PoolNeeds {
                score: false,
                squash: false,
                prompt_value: None,
                grow: None,
                replacement: false,
            }),
            ..self.needs_of_models()
        }
    }

    fn prepare(&mut self, exp: Experience) -> Result<(Experience, Metrics)> {
        let (exp, own) = self.weigh_tokens(exp)?;
        let mut metrics = metrics::of_rollouts(&exp);
        metrics.extend(own);
        Ok((exp, metrics))
    }

    fn loss(&self, now: &Scores, exp: &Experience, totals: Totals) -> CResult<Loss> {
        let (loss, metrics) = weighted_nll(now, &exp.advantages, totals)?;
        Ok(Loss { loss, metrics })
    }

    fn state(&self) -> Value {
        json!({})
    }

    fn restore(&mut self, _state: &Value) -> Result<()> {
        Ok(())
    }
}
