//! The thresholds of `[watch]`, and what is kept of the steps in the window.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

/// `[watch]`: thresholds. 0 switches a watch off.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WatchConfig {
    /// A warning also ends the run, after a checkpoint
    pub stop: bool,
    /// Steps in the window; no watch warns before the first window is full
    pub window: usize,
    pub length_correlation: f64,
    pub repetition: f64,
    pub entropy: f64,
    pub eos_rate: f64,
    pub kl: f64,
    pub negative_kl: f64,
    pub min_kl: f64,
    pub idle_steps: f64,
    pub first_kl: f64,
    pub sampler_gap: f64,
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self {
            stop: false,
            window: 8,
            length_correlation: 0.7,
            repetition: 0.3,
            entropy: 0.1,
            eos_rate: 0.1,
            kl: 50.0,
            negative_kl: 0.5,
            min_kl: 1e-3,
            idle_steps: 0.9,
            first_kl: 1e-3,
            sampler_gap: 0.05,
        }
    }
}

/// The sampled responses of one step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen<'a> {
    /// Token ids of each response
    pub responses: Vec<&'a [u32]>,
    /// One per response
    pub rewards: Vec<f64>,
    /// Share of responses that ended
    pub eos_rate: f64,
    /// Mean over tokens, nats
    pub entropy: Option<f64>,
    /// `objective/kl` (k1), nats per response
    pub kl: Option<f64>,
    /// `objective/kl_exact`, nats per response
    pub kl_exact: Option<f64>,
    /// `policy/grad_norm`, where the policy may learn in this step
    pub grad_norm: Option<f64>,
    /// Whether a quarter of the run is over
    pub past_start: bool,
}

/// Sums over one step; a window adds them up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct StepSums {
    /// Σ (length − mean)(reward − mean) and the sums of squares, with the means of the step
    pub(super) covariance: f64,
    pub(super) length_squares: f64,
    pub(super) reward_squares: f64,
    /// 4-grams, and those that occur earlier in the same response
    pub(super) grams: f64,
    pub(super) repeated: f64,
    pub(super) eos_rate: f64,
    pub(super) entropy: Option<f64>,
    pub(super) kl: Option<f64>,
    pub(super) kl_exact: Option<f64>,
    /// All rewards are equal, or every gradient is 0
    #[serde(default)]
    pub(super) idle: bool,
}

impl StepSums {
    pub(super) fn of(seen: &Seen) -> Self {
        let n = seen.rewards.len().max(1) as f64;
        let lens: Vec<f64> = seen.responses.iter().map(|r| r.len() as f64).collect();
        let (len_mean, reward_mean) = (
            lens.iter().sum::<f64>() / n,
            seen.rewards.iter().sum::<f64>() / n,
        );
        let centred = lens.iter().zip(&seen.rewards);
        let (mut covariance, mut length_squares, mut reward_squares) = (0.0, 0.0, 0.0);
        for (len, reward) in centred {
            let (x, y) = (len - len_mean, reward - reward_mean);
            covariance += x * y;
            length_squares += x * x;
            reward_squares += y * y;
        }
        let (mut grams, mut repeated) = (0, 0);
        for response in &seen.responses {
            let mut met = HashSet::new();
            for gram in response.windows(4) {
                grams += 1;
                repeated += usize::from(!met.insert(gram));
            }
        }
        Self {
            covariance,
            length_squares,
            reward_squares,
            grams: grams as f64,
            repeated: repeated as f64,
            eos_rate: seen.eos_rate,
            entropy: seen.entropy,
            kl: seen.kl,
            kl_exact: seen.kl_exact,
            idle: (n > 1.0 && reward_squares == 0.0) || seen.grad_norm == Some(0.0),
        }
    }
}

/// Saved in checkpoints: the window, the entropy at the start of the run, and the watches beyond
/// their threshold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WatchState {
    pub(super) steps: VecDeque<StepSums>,
    /// Mean entropy of the first full window, nats
    pub(super) first_entropy: Option<f64>,
    /// Watches that are beyond their threshold
    pub(super) over: BTreeSet<String>,
    /// Whether a quarter of the run is over
    #[serde(default)]
    pub(super) past_start: bool,
    /// Times each watch began to warn
    pub warnings: BTreeMap<String, u64>,
}

impl WatchState {
    pub(super) fn sum(&self, of: fn(&StepSums) -> f64) -> f64 {
        self.steps.iter().map(of).sum()
    }

    pub(super) fn mean(&self, of: fn(&StepSums) -> Option<f64>) -> Option<f64> {
        let values: Option<Vec<f64>> = self.steps.iter().map(of).collect();
        values.map(|v| v.iter().sum::<f64>() / v.len().max(1) as f64)
    }
}

impl WatchConfig {
    pub(crate) fn check(&self) -> Result<()> {
        ensure!(
            self.window > 0,
            "watch.window = 0; give the number of steps in the window"
        );
        for (name, value) in [
            ("length_correlation", self.length_correlation),
            ("repetition", self.repetition),
            ("entropy", self.entropy),
            ("eos_rate", self.eos_rate),
            ("kl", self.kl),
            ("negative_kl", self.negative_kl),
            ("min_kl", self.min_kl),
            ("idle_steps", self.idle_steps),
            ("first_kl", self.first_kl),
            ("sampler_gap", self.sampler_gap),
        ] {
            ensure!(
                value >= 0.0 && value.is_finite(),
                "watch.{name} = {value} must be a number of 0 (off) or more"
            );
        }
        Ok(())
    }

    /// The thresholds where rounding is coarser than f32's. `separate`: responses are sampled from
    /// narrower weights than those that train; importance weights correct the difference, so the
    /// gap may be four times as large. `narrow`: activations are bf16, and decoding one token a row
    /// rounds them differently than a forward over many; the gap may be four times as large, and
    /// the first KL, which grows with its square, ten times.
    pub fn of_sampler(&self, separate: bool, narrow: bool) -> Self {
        let more = |wider: bool, factor: f64| if wider { factor } else { 1.0 };
        Self {
            sampler_gap: more(separate || narrow, 4.0) * self.sampler_gap,
            first_kl: more(narrow, 10.0) * self.first_kl,
            ..self.clone()
        }
    }

    /// Checks the forward of a step's first update. The policy has not changed since it sampled and
    /// was scored, so an error if the metrics differ by more than rounding. `same_forward`: this
    /// forward must reproduce `logp_old`.
    pub fn check_first(&self, metrics: &BTreeMap<String, f64>, same_forward: bool) -> Result<()> {
        let beyond = |name: &str, limit: f64| {
            let value = metrics
                .get(name)
                .copied()
                .filter(|v| v.is_nan() || *v > limit);
            value.filter(|_| limit > 0.0)
        };
        if let Some(gap) = beyond("policy/sampler_gap", self.sampler_gap) {
            anyhow::bail!(
                "the log-probs of the sampler and of the training forward differ by {gap:.2e} nats per token \
                 (watch.sampler_gap = {}): they are not of the same policy; possible causes are an adapter that one of them lacks, \
                 a temperature that is not scored, a wrong key-value cache, or rollout.weights too narrow for this model; no \
                 update was made. If it is only rounding, raise watch.sampler_gap",
                self.sampler_gap
            );
        }
        if same_forward && let Some(kl) = beyond("policy/approxkl", self.first_kl) {
            anyhow::bail!(
                "at the first minibatch policy/approxkl is {kl:.2e} (watch.first_kl = {}), where ratio 1 and KL 0 are expected: \
                 the training forward does not reproduce logp_old; possible causes are dropout, another temperature or adapter, or \
                 log-probs of the sampler (set rollout.rescore = true); no update was made. If it is only rounding, raise \
                 watch.first_kl",
                self.first_kl
            );
        }
        Ok(())
    }
}
