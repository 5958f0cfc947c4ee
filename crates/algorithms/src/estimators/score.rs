//! What is done to a response's score before it becomes a reward: clipping, and the penalty for not ending.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EosPenalty {
    /// Less `eos_penalty` (TRL)
    Subtract,
    /// `−eos_penalty` instead of the score (Ziegler et al. 2019)
    Replace,
}

/// `clip` 0 is off: else the score is held to ±clip, then an unfinished response is penalised.
pub fn shaped(score: f64, finished: bool, clip: f64, penalty: f64, mode: EosPenalty) -> f64 {
    let score = if clip > 0.0 {
        score.clamp(-clip, clip)
    } else {
        score
    };
    match (finished, mode) {
        (true, _) => score,
        (false, EosPenalty::Subtract) => score - penalty,
        (false, EosPenalty::Replace) => -penalty,
    }
}
