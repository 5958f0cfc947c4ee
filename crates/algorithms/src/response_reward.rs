//! The reward of a whole response: its score, clipped and penalised, less its divergence from the reference.

use crate::estimators::mean;
use crate::estimators::score::{EosPenalty, shaped};
use crate::metrics::{self, Metrics};
use crate::settings::not_negative;
use crate::{Experience, Result};

/// The keys of that name, which several methods have.
pub(crate) struct ResponseReward {
    /// Weight of the response's summed k1 KL, taken off its score; 0 = no reference is read
    pub kl_coef: f64,
    /// Scores are held to ± this; 0 = off
    pub score_clip: f64,
    /// For a response that did not end in EOS
    pub eos_penalty: f64,
    pub eos_penalty_mode: EosPenalty,
}

impl ResponseReward {
    pub fn check(&self) -> Result<()> {
        not_negative("kl_coef", self.kl_coef)?;
        not_negative("score_clip", self.score_clip)?;
        not_negative("eos_penalty", self.eos_penalty)
    }

    pub fn needs_reference(&self) -> bool {
        self.kl_coef > 0.0
    }

    /// `shaped(score) − kl_coef · Σ_t (logp_old − logp_ref)` of each row, `[R]`. An error where a column is missing.
    pub fn of(&self, exp: &Experience) -> Result<Vec<f64>> {
        let mut tokens = Vec::new();
        if self.needs_reference() {
            tokens.extend([
                ("logp_old", &exp.logp_old[..]),
                ("logp_ref", &exp.logp_ref[..]),
            ]);
        }
        exp.require(&tokens, &[("score", &exp.score)])?;
        let kl = self.kl(exp);
        let reward = |row: usize| {
            let score = f64::from(exp.score[row]);
            let (clip, penalty) = (self.score_clip, self.eos_penalty);
            let score = shaped(
                score,
                exp.finished[row],
                clip,
                penalty,
                self.eos_penalty_mode,
            );
            score - self.kl_coef * kl[row]
        };
        Ok((0..exp.n_rows()).map(reward).collect())
    }

    /// What is logged of rollouts and their rewards.
    pub fn metrics(&self, exp: &Experience, rewards: &[f64]) -> Metrics {
        let mut metrics = metrics::of_rollouts(exp);
        let penalty = -self.kl_coef * mean(&self.kl(exp));
        metrics.extend([
            ("objective/kl_coef".into(), self.kl_coef),
            ("objective/non_score_reward".into(), penalty),
            ("objective/rlhf_reward".into(), mean(rewards)),
        ]);
        metrics
    }

    /// Summed k1 of each row, `[R]`; 0 where no reference is read.
    fn kl(&self, exp: &Experience) -> Vec<f64> {
        match self.needs_reference() {
            true => exp.row_sums(&exp.log_ratio_to_reference()),
            false => vec![0.0; exp.n_rows()],
        }
    }
}
