//! Direct preference optimisation: a classification loss on pairs, with the reward implied by the
//! policy against the reference.
//!
//! Rafailov et al. 2023 (arXiv 2305.18290); cDPO: Mitchell 2023; IPO: Azar et al. 2024 (arXiv
//! 2310.12036). Choices are numbered in docs/methods/dpo.md.

mod config;

pub use config::{Config, Kind};

use crate::algorithm::Algorithm;
use crate::columns::{column, host, row_sums};
use crate::error::Result;
use crate::experience::{Experience, groups};
use crate::loss::{Loss, Scores, Totals};
use crate::method::{Method, Name};
use crate::metrics::{Definitions, Metrics, rollout_metrics};
use crate::requirements::{DataSource, Requirements};
use candle_core::{Result as CResult, Tensor};
use serde_json::Value;

impl Method for Dpo {
    type Config = Config;
    const NAMES: &'static [Name] = &[Name {
        name: "dpo",
        about: "preference pairs as a classification loss; cDPO and IPO as options",
        paper: "Rafailov et al. 2023, arXiv 2305.18290",
    }];
    const PAGE: &'static str = "dpo";
    const METRICS: Definitions = &[
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

    fn defaults(_name: &str, given: &Value) -> Result<Config> {
        Ok(Config::defaults(given))
    }

    fn build(_name: &str, config: Config, _seed: u64) -> Box<dyn Algorithm> {
        Box::new(Self { config })
    }
}

/// Direct preference optimisation.
pub(crate) struct Dpo {
    config: Config,
}

impl Dpo {
    /// `[P]`, from the log-ratio of chosen over rejected against the reference.
    fn pair_loss(&self, h: &Tensor) -> CResult<Tensor> {
        let c = &self.config;
        match c.loss {
            Kind::Sigmoid => {
                let z = (h * c.beta)?;
                let right = ops::softplus(&z.neg()?)?;
                let wrong = ops::softplus(&z)?;
                (right * (1.0 - c.label_smoothing))? + (wrong * c.label_smoothing)?
            }
            Kind::Ipo => (h - 0.5 / c.beta)?.sqr(),
        }
    }
}

impl Algorithm for Dpo {
    fn requirements(&self) -> Requirements {
        Requirements {
            source: DataSource::Pairs,
            reference: !self.config.reference_free,
            whole_groups: true,
            ..Requirements::default()
        }
    }

    fn prepare(&mut self, exp: Experience) -> Result<(Experience, Metrics)> {
        match self.config.reference_free {
            true => exp.require(&[], &[])?,
            false => exp.require(&[("logp_ref", &exp.logp_ref)], &[])?,
        }
        let metrics = rollout_metrics(&exp);
        Ok((exp, metrics))
    }

    fn policy_loss(&self, now: &Scores, exp: &Experience, totals: Totals) -> CResult<Loss> {
        // A pair is two adjacent rows of one key that both have tokens.
        let rows: Vec<usize> = (0..exp.n_rows()).filter(|r| exp.lens[*r] > 0).collect();
        let keys: Vec<u64> = rows.iter().map(|r| exp.prompt_key[*r]).collect();
        let pairs = groups(&keys).into_iter().filter(|pair| pair.len() == 2);
        let (chosen, rejected): (Vec<u32>, Vec<u32>) = pairs
            .map(|pair| (rows[pair.start] as u32, rows[pair.start + 1] as u32))
            .unzip();
        if chosen.is_empty() {
            return Loss::zero(&now.logp);
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
        // a tie counts half, as in the reward model's accuracy
        let right = |h: &f64| match *h {
            h if h > 0.0 => 1.0,
            0.0 => 0.5,
            _ => 0.0,
        };
        let right: f64 = host(&h)?.iter().map(right).sum();
        let metrics = Metrics::from([
            ("rewards/chosen".into(), won),
            ("rewards/rejected".into(), lost),
            ("rewards/margins".into(), won - lost),
            ("rewards/accuracies".into(), right / n),
            ("logps/chosen".into(), sum(&logp, &chosen)?),
            ("logps/rejected".into(), sum(&logp, &rejected)?),
            ("loss/policy".into(), host(&loss)?[0]),
        ]);
        Ok(Loss { loss, metrics })
    }
}
