//! Where a step's `logp_old` comes from: the log-probabilities of its responses under the policy
//! before the step's updates. Decided once per run, from the settings, what the method needs, and
//! whether rollouts are sampled from other weights.

use crate::config::RolloutConfig;
use algorithms::{DataSource, Requirements};

/// The source of `logp_old` and of the entropies beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogpSource {
    /// Stored responses of a method that does not read them.
    Absent,
    /// What the sampler logged when it drew the tokens.
    SamplerLog,
    /// The hidden states that the sampler drew the tokens from, so no further policy forward is
    /// needed. A micro-batch with a row that was not sampled takes a forward instead.
    SamplerStates,
    /// A teacher-forced forward of the policy.
    PolicyForward,
    /// A teacher-forced forward of the copy of the policy that [`Requirements::old_policy`] asks
    /// for.
    CopyForward,
}

impl LogpSource {
    /// The source for a run. `separate_weights`: rollouts are sampled from weights other than those
    /// that train (`rollout.weights`). The loop decides once, in `setup.rs`; planning calls this
    /// with the same arguments.
    pub fn decide(rollout: &RolloutConfig, needs: &Requirements, separate_weights: bool) -> Self {
        let drawn = needs.source == DataSource::Rollouts;
        let rescore = match drawn {
            true => rollout.rescore.unwrap_or(needs.reference) || needs.reference_answer,
            false => false,
        };
        if !(needs.recompute_logp_old || rescore || (drawn && separate_weights)) {
            return if drawn {
                Self::SamplerLog
            } else {
                Self::Absent
            };
        }
        if needs.old_policy.is_some() {
            return Self::CopyForward;
        }
        let may_keep = rollout.rescore.is_none() && needs.reference;
        match drawn && may_keep && !separate_weights {
            true => Self::SamplerStates,
            false => Self::PolicyForward,
        }
    }

    /// Whether the sampler keeps the hidden states `[T, d]` of each response for `read.rs`.
    pub fn keeps_states(self) -> bool {
        self == Self::SamplerStates
    }

    /// Whether `read.rs` writes `logp_old` and the entropies; otherwise they stay as sampled.
    pub fn is_read(self) -> bool {
        !matches!(self, Self::Absent | Self::SamplerLog)
    }

    /// Whether `read.rs` runs a forward over the step's rows for it.
    pub fn takes_forward(self) -> bool {
        matches!(self, Self::PolicyForward | Self::CopyForward)
    }

    /// Whether the first update's forward must reproduce `logp_old` (ratio 1, KL 0, except for
    /// rounding). `scored_as_drawn`: rows are scored at the temperature they were sampled at.
    pub fn equals_first_update(self, needs: &Requirements, scored_as_drawn: bool) -> bool {
        let own = match self {
            Self::SamplerLog => scored_as_drawn,
            Self::SamplerStates | Self::PolicyForward => true,
            Self::Absent | Self::CopyForward => false,
        };
        own && needs.old_policy.is_none() && needs.source == DataSource::Rollouts
    }
}
