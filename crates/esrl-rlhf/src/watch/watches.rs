//! The health watches: what each reads, where it warns, and its advice.

use super::state::{WatchConfig, WatchState};

/// One watch: a number over the window, its threshold, and the advice when it is beyond.
pub(super) struct Watch {
    /// The key in `[watch]`
    pub name: &'static str,
    /// What `value` is logged as, after `watch/`
    pub metric: &'static str,
    pub value: fn(&WatchState) -> Option<f64>,
    pub limit: fn(&WatchConfig) -> f64,
    side: Side,
    advice: &'static str,
}

/// Where a watch warns.
enum Side {
    Above,
    Below,
    /// Above the threshold, and below minus the threshold with this advice
    Both(&'static str),
}

impl Watch {
    /// How far `value` is beyond `limit`, with the advice; None where it is not.
    pub fn beyond(&self, value: f64, limit: f64) -> Option<String> {
        let (name, advice) = (self.name, self.advice);
        match self.side {
            Side::Above | Side::Both(_) if value > limit => {
                Some(format!("above watch.{name} = {limit}: {advice}"))
            }
            Side::Below if value < limit => Some(format!("below watch.{name} = {limit}: {advice}")),
            Side::Both(advice) if value < -limit => {
                Some(format!("below -watch.{name} = -{limit}: {advice}"))
            }
            _ => None,
        }
    }
}

pub(super) const WATCHES: &[Watch] = &[
    Watch {
        name: "length_correlation",
        metric: "length_correlation",
        value: |s| {
            let spread = s.sum(|s| s.length_squares) * s.sum(|s| s.reward_squares);
            Some(if spread > 0.0 {
                s.sum(|s| s.covariance) / spread.sqrt()
            } else {
                0.0
            })
        },
        limit: |c| c.length_correlation,
        side: Side::Both(
            "shorter responses get higher rewards, and the policy may learn nothing else; look at \
             samples/, add a [[rewards]] of kind \"length\" with a min, or train the reward model \
             on pairs of similar length",
        ),
        advice: "longer responses get higher rewards, and the policy may learn nothing else; look \
             at samples/, add a [[rewards]] of kind \"length\" with a max, or train the reward \
             model on pairs of similar length",
    },
    Watch {
        name: "repetition",
        metric: "repetition",
        value: |s| Some(s.sum(|s| s.repeated) / s.sum(|s| s.grams).max(1.0)),
        limit: |c| c.repetition,
        side: Side::Above,
        advice: "responses repeat themselves; look at samples/, raise the KL penalty or lower the \
             learning rate, and go back to best/ or an earlier checkpoint",
    },
    Watch {
        name: "entropy",
        metric: "entropy",
        value: |s| {
            let first = s.first_entropy.filter(|first| *first > 0.0)?;
            Some(s.mean(|s| s.entropy)? / first)
        },
        limit: |c| c.entropy,
        side: Side::Below,
        advice: "the policy has collapsed to almost one answer per prompt, so nothing more is \
             explored; lower the learning rate, raise the KL penalty or the temperature",
    },
    Watch {
        name: "eos_rate",
        metric: "eos_rate",
        value: |s| s.mean(|s| Some(s.eos_rate)),
        limit: |c| c.eos_rate,
        side: Side::Below,
        advice: "responses hardly ever end; if they are only cut off, raise \
             rollout.max_new_tokens; otherwise penalise long responses (a [[rewards]] of kind \
             \"length\" with a max) and check that the policy's sft run learnt EOS",
    },
    Watch {
        name: "kl",
        metric: "kl",
        value: |s| s.mean(|s| s.kl_exact.or(s.kl)),
        limit: |c| c.kl,
        side: Side::Above,
        advice: "the policy diverges from the reference (nats per response); lower the learning \
             rate or raise the KL penalty, and go back to best/ or an earlier checkpoint",
    },
    Watch {
        name: "negative_kl",
        metric: "negative_kl",
        value: |s| s.mean(|s| s.kl).map(|kl| -kl),
        limit: |c| c.negative_kl,
        side: Side::Above,
        advice: "objective/kl (k1) stays negative; a KL cannot be (objective/kl_exact is the true \
             one): responses are not sampled from the distribution that is scored; set \
             rollout.top_k = 0 and rollout.top_p = 1.0, and check policy/sampler_gap",
    },
    Watch {
        name: "min_kl",
        metric: "kl",
        value: |s| {
            let kl = s.mean(|s| s.kl_exact.or(s.kl))?;
            s.past_start.then_some(kl)
        },
        limit: |c| c.min_kl,
        side: Side::Below,
        advice: "a quarter of the run is over and the policy is still the reference: nothing is \
             learnt; raise train.policy.lr (adapters need 1e-4 to 1e-3), or look at the spread of \
             the rewards",
    },
    Watch {
        name: "idle_steps",
        metric: "idle_steps",
        value: |s| s.mean(|s| Some(f64::from(u8::from(s.idle)))),
        limit: |c| c.idle_steps,
        side: Side::Above,
        advice: "steps teach nothing: all rewards of a step are equal, or every gradient is 0; \
             look at samples/, and give rewards that tell responses apart, more samples or \
             another temperature",
    },
];
