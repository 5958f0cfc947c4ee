//! The reward of a whole response: its shaped score minus its divergence from the reference.

use crate::checks::not_negative;
use crate::error::Result;
use crate::estimators::mean;
use crate::experience::Experience;
use crate::metrics::{Metrics, rollout_metrics};
use crate::shared_config::ScoreShaping;

/// The reward of methods that treat a response as one action.
pub(crate) struct ResponseReward {
    /// Weight of the response's summed k1 KL; 0 = the reference is not read.
    pub kl_coef: f64,
    pub score: ScoreShaping,
}

impl ResponseReward {
    pub fn check(&self) -> Result<()> {
        not_negative("kl_coef", self.kl_coef)?;
        self.score.check("")
    }

    pub fn needs_reference(&self) -> bool {
        self.kl_coef > 0.0
    }

    /// `score.apply(score) − kl_coef · Σ_t (logp_old − logp_ref)` of each row, `[R]`. An error when
    /// a column is missing.
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
            self.score.apply(score, exp.finished[row]) - self.kl_coef * kl[row]
        };
        Ok((0..exp.n_rows()).map(reward).collect())
    }

    /// The metrics of rollouts and of their rewards.
    pub fn metrics(&self, exp: &Experience, rewards: &[f64]) -> Metrics {
        let mut metrics = rollout_metrics(exp);
        let penalty = -self.kl_coef * mean(&self.kl(exp));
        metrics.extend([
            ("objective/kl_coef".into(), self.kl_coef),
            ("objective/non_score_reward".into(), penalty),
            ("objective/rlhf_reward".into(), mean(rewards)),
        ]);
        metrics
    }

    /// Summed k1 of each row, `[R]`; 0 when the reference is not read.
    fn kl(&self, exp: &Experience) -> Vec<f64> {
        match self.needs_reference() {
            true => exp.row_sums(&exp.log_ratio_to_reference()),
            false => vec![0.0; exp.n_rows()],
        }
    }
}
