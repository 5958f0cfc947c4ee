//! Direct preference optimisation: a classification loss on pairs, the reward implied by the policy against the reference.
//! Rafailov et al. 2023 (arXiv 2305.18290); cDPO: Mitchell 2023; IPO: Azar et al. 2024 (arXiv 2310.12036).
//! Choices are numbered in docs/methods/dpo.md.

use crate::experience::{column, groups, host, row_sums};
use crate::metrics::{self, Definitions, Metrics};
use crate::settings::{ensure, resolve as settle};
use crate::{Algorithm, Experience, Feed, Loss, Needs, Result, Scores, Totals};
use candle_core::{Result as CResult, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub(crate) const METRICS: Definitions = &[
    (
        "rewards/chosen",
        "mean over pairs of the chosen response's implied reward, beta * (log p - log p_ref)",
    ),
    (
        "rewards/rejected",
        "mean over pairs of the rejected response's implied reward",
    ),
    (
        "rewards/margins",
        "mean over pairs of rewards/chosen - rewards/rejected",
    ),
    (
        "rewards/accuracies",
        "share of pairs whose chosen response has the higher implied reward",
    ),
    (
        "logps/chosen",
        "mean over pairs of the chosen response's log-probability, nats",
    ),
    (
        "logps/rejected",
        "mean over pairs of the rejected response's log-probability, nats",
    ),
];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Weight of the implied KL to the reference
    pub beta: f64,
    /// `sigmoid` (DPO) or `ipo`
    pub loss: Kind,
    /// Share of pairs taken to be labelled the wrong way round (cDPO); `sigmoid` only
    pub label_smoothing: f64,
    /// The reference counts as uniform: its log-ratio is 0
    pub reference_free: bool,
    /// Log-probabilities per token instead of per response
    pub length_average: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Sigmoid,
    Ipo,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            beta: 0.1,
            loss: Kind::Sigmoid,
            label_smoothing: 0.0,
            reference_free: false,
            length_average: false,
        }
    }
}

impl Config {
    /// IPO means log-probabilities per token unless told otherwise.
    fn resolve(given: &Value) -> Result<Self> {
        let ipo = given.get("loss").and_then(Value::as_str) == Some("ipo");
        let defaults = Self {
            length_average: ipo,
            ..Self::default()
        };
        settle(&defaults, given)
    }

    fn check(&self) -> Result<()> {
        let beta = self.beta > 0.0 && self.beta.is_finite();
        ensure(beta, "beta", self.beta, "a number above 0")?;
        ensure(
            (0.0..0.5).contains(&self.label_smoothing),
            "label_smoothing",
            self.label_smoothing,
            "a number from 0 to below 0.5",
        )?;
        ensure(
            self.loss == Kind::Sigmoid || self.label_smoothing == 0.0,
            "label_smoothing",
            self.label_smoothing,
            "0 where loss = \"ipo\"",
        )
    }
}

pub(crate) fn build(_name: &str, given: &Value, _seed: u64) -> Result<Box<dyn Algorithm>> {
    let config = Config::resolve(given)?;
    config.check()?;
    Ok(Box::new(Dpo { config }))
}

pub(crate) fn defaults(_name: &str) -> Value {
    json!(Config::default())
}

pub(crate) fn resolve(_name: &str, given: &Value) -> Result<Value> {
    Ok(json!(Config::resolve(given)?))
}

struct Dpo {
    config: Config,
}

impl Dpo {
    /// `[P]`, from the log-ratio of chosen over rejected against the reference.
    fn pair_loss(&self, h: &Tensor) -> CResult<Tensor> {
        let c = &self.config;
        match c.loss {
            Kind::Sigmoid => {
                let z = (h * c.beta)?;
                let right = softplus(&z.neg()?)?;
                let wrong = softplus(&z)?;
                (right * (1.0 - c.label_smoothing))? + (wrong * c.label_smoothing)?
            }
            Kind::Ipo => (h - 0.5 / c.beta)?.sqr(),
        }
    }
}

/// `ln(1 + e^x)`, which is −log σ(−x), stable at both ends.
fn softplus(x: &Tensor) -> CResult<Tensor> {
    x.relu()? + (x.abs()?.neg()?.exp()? + 1.0)?.log()?
}

impl Algorithm for Dpo {
    fn needs(&self) -> Needs {
        Needs {
            feed: Feed::Pairs,
            reference: !self.config.reference_free,
            whole_groups: true,
            ..Needs::default()
        }
    }

    fn prepare(&mut self, exp: Experience) -> Result<(Experience, Metrics)> {
        match self.config.reference_free {
            true => exp.require(&[], &[])?,
            false => exp.require(&[("logp_ref", &exp.logp_ref)], &[])?,
        }
        let metrics = metrics::of_rollouts(&exp);
        Ok((exp, metrics))
    }

    fn loss(&self, now: &Scores, exp: &Experience, totals: Totals) -> CResult<Loss> {
        let mut metrics = Metrics::new();
        // A pair is two rows of one key that both say something.
        let rows: Vec<usize> = (0..exp.n_rows()).filter(|r| exp.lens[*r] > 0).collect();
        let keys: Vec<u64> = rows.iter().map(|r| exp.prompt_key[*r]).collect();
        let pairs = groups(&keys).into_iter().filter(|pair| pair.len() == 2);
        let (chosen, rejected): (Vec<u32>, Vec<u32>) = pairs
            .map(|pair| (rows[pair.start] as u32, rows[pair.start + 1] as u32))
            .unzip();
        if chosen.is_empty() {
            let loss = Tensor::zeros((), now.logp.dtype(), now.logp.device())?;
            return Ok(Loss { loss, metrics });
        }
        let per_token: Vec<f32> = match self.config.length_average {
            true => exp.lens.iter().map(|n| 1.0 / (*n).max(1) as f32).collect(),
            false => vec![1.0; exp.n_rows()],
        };
        let scale = column(&per_token, &now.logp)?;
        let logp = (row_sums(&now.logp, &exp.layout())? * &scale)?;
        let reference = match self.config.reference_free {
            true => vec![0.0; exp.n_rows()],
            false => exp
                .row_sums(&exp.logp_ref)
                .iter()
                .map(|v| *v as f32)
                .collect(),
        };
        let ratio = (&logp - (column(&reference, &now.logp)? * &scale)?)?;
        let at = |rows: &Vec<u32>| Tensor::new(rows.as_slice(), now.logp.device());
        let (chosen, rejected) = (at(&chosen)?, at(&rejected)?);
        let h = (ratio.index_select(&chosen, 0)? - ratio.index_select(&rejected, 0)?)?;
        let n = totals.prompts as f64;
        let loss = (self.pair_loss(&h)?.sum_all()? / n)?;

        let sum = |x: &Tensor, rows: &Tensor| -> CResult<f64> {
            Ok(host(&x.index_select(rows, 0)?)?.iter().sum::<f64>() / n)
        };
        let beta = self.config.beta;
        let (won, lost) = (beta * sum(&ratio, &chosen)?, beta * sum(&ratio, &rejected)?);
        let right = host(&h)?.iter().filter(|h| **h > 0.0).count();
        metrics.extend([
            ("rewards/chosen".into(), won),
            ("rewards/rejected".into(), lost),
            ("rewards/margins".into(), won - lost),
            ("rewards/accuracies".into(), right as f64 / n),
            ("logps/chosen".into(), sum(&logp, &chosen)?),
            ("logps/rejected".into(), sum(&logp, &rejected)?),
            ("loss/policy".into(), host(&loss)?[0]),
        ]);
        Ok(Loss { loss, metrics })
    }

    fn state(&self) -> Value {
        json!({})
    }

    fn restore(&mut self, _state: &Value) -> Result<()> {
        Ok(())
    }
}
