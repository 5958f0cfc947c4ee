//! Health of an RL run: numbers over a window of steps that show reward hacking, repetition,
//! collapse, missing EOS or divergence from the reference, each with a threshold. A watch warns,
//! and stops the run only with `watch.stop`. A first update that does not match what was scored
//! ([`WatchConfig::check_first`]) always stops it. Arithmetic only: no model, no files.

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
}

/// Sums over one step; a window adds them up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct StepSums {
    /// Σ (length − mean)(reward − mean) and the sums of squares, with the means of the step
    covariance: f64,
    length_squares: f64,
    reward_squares: f64,
    /// 4-grams, and those that occur earlier in the same response
    grams: f64,
    repeated: f64,
    eos_rate: f64,
    entropy: Option<f64>,
    kl: Option<f64>,
    kl_exact: Option<f64>,
}

impl StepSums {
    fn of(seen: &Seen) -> Self {
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
        }
    }
}

/// Saved in checkpoints: the window, the entropy at the start of the run, and the watches beyond
/// their threshold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WatchState {
    steps: VecDeque<StepSums>,
    /// Mean entropy of the first full window, nats
    first_entropy: Option<f64>,
    /// Watches that are beyond their threshold
    over: BTreeSet<String>,
    /// Times each watch began to warn
    pub warnings: BTreeMap<String, u64>,
}

/// The metrics `watch/…` of a step, and the warnings of watches that begin to warn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WatchReport {
    pub metrics: BTreeMap<String, f64>,
    pub warnings: Vec<String>,
}

impl WatchState {
    /// Adds a step. A watch that stays beyond its threshold warns once.
    pub fn see(&mut self, seen: &Seen, config: &WatchConfig) -> WatchReport {
        self.steps.push_back(StepSums::of(seen));
        while self.steps.len() > config.window {
            self.steps.pop_front();
        }
        let full = self.steps.len() == config.window;
        let entropy = self.mean(|s| s.entropy);
        if full && self.first_entropy.is_none() {
            self.first_entropy = entropy;
        }
        let mut report = WatchReport::default();
        for watch in WATCHES {
            let Some(value) = (watch.value)(self) else {
                continue;
            };
            let limit = (watch.limit)(config);
            let over = full
                && limit > 0.0
                && match watch.below {
                    true => value < limit,
                    false => value > limit,
                };
            if !over {
                self.over.remove(watch.name);
            } else if self.over.insert(watch.name.to_string()) {
                *self.warnings.entry(watch.name.to_string()).or_default() += 1;
                let side = if watch.below { "below" } else { "above" };
                report.warnings.push(format!(
                    "watch/{} is {value:.3}, {side} watch.{} = {limit}: {}",
                    watch.name, watch.name, watch.advice
                ));
            }
            report
                .metrics
                .insert(format!("watch/{}", watch.name), value);
        }
        report
            .metrics
            .insert("watch/warnings".into(), self.over.len() as f64);
        report
    }

    fn sum(&self, of: fn(&StepSums) -> f64) -> f64 {
        self.steps.iter().map(of).sum()
    }

    fn mean(&self, of: fn(&StepSums) -> Option<f64>) -> Option<f64> {
        let values: Option<Vec<f64>> = self.steps.iter().map(of).collect();
        values.map(|v| v.iter().sum::<f64>() / v.len().max(1) as f64)
    }
}

/// One watch: a number over the window, its threshold, and the advice when it is beyond.
struct Watch {
    /// The key in `[watch]`; the metric is `watch/<name>`
    name: &'static str,
    value: fn(&WatchState) -> Option<f64>,
    limit: fn(&WatchConfig) -> f64,
    /// Warns below the threshold, not above
    below: bool,
    advice: &'static str,
}

const WATCHES: &[Watch] = &[
    Watch {
        name: "length_correlation",
        value: |s| {
            let spread = s.sum(|s| s.length_squares) * s.sum(|s| s.reward_squares);
            Some(if spread > 0.0 {
                s.sum(|s| s.covariance) / spread.sqrt()
            } else {
                0.0
            })
        },
        limit: |c| c.length_correlation,
        below: false,
        advice: "longer responses get higher rewards, and the policy may learn nothing else; look at samples/, add a [[rewards]] of kind \"length\" with a max, or train the reward model on pairs of similar length",
    },
    Watch {
        name: "repetition",
        value: |s| Some(s.sum(|s| s.repeated) / s.sum(|s| s.grams).max(1.0)),
        limit: |c| c.repetition,
        below: false,
        advice: "responses repeat themselves; look at samples/, raise the KL penalty or lower the learning rate, and go back to best/ or an earlier checkpoint",
    },
    Watch {
        name: "entropy",
        value: |s| {
            let first = s.first_entropy.filter(|first| *first > 0.0)?;
            Some(s.mean(|s| s.entropy)? / first)
        },
        limit: |c| c.entropy,
        below: true,
        advice: "the policy has collapsed to almost one answer per prompt, so nothing more is explored; lower the learning rate, raise the KL penalty or the temperature",
    },
    Watch {
        name: "eos_rate",
        value: |s| s.mean(|s| Some(s.eos_rate)),
        limit: |c| c.eos_rate,
        below: true,
        advice: "responses hardly ever end; if they are only cut off, raise rollout.max_new_tokens; otherwise penalise long responses (a [[rewards]] of kind \"length\" with a max) and check that the policy's sft run learnt EOS",
    },
    Watch {
        name: "kl",
        value: |s| s.mean(|s| s.kl_exact.or(s.kl)),
        limit: |c| c.kl,
        below: false,
        advice: "the policy diverges from the reference (nats per response); lower the learning rate or raise the KL penalty, and go back to best/ or an earlier checkpoint",
    },
    Watch {
        name: "negative_kl",
        value: |s| s.mean(|s| s.kl).map(|kl| -kl),
        limit: |c| c.negative_kl,
        below: false,
        advice: "objective/kl (k1) stays negative, which no KL is (objective/kl_exact is the true one): responses are not sampled from the distribution that is scored; set rollout.top_k = 0 and rollout.top_p = 1.0, and check policy/sampler_gap",
    },
];

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
