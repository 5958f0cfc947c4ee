//! Which rules of training a run follows. A change that gives the same settings other numbers gets
//! a number here, so that a run which began under earlier rules resumes and replays under them.

use crate::directory::Run;
use serde_json::Value;

/// Key of run.json. Runs of versions before it have none.
pub(crate) const KEY: &str = "rules";

/// The rules that a run began under, in order of appearance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rules {
    /// Version 0.1.0
    First,
    /// The masks of dropout depend on `train.seed`
    SeededDropout,
    /// The first step of a warm-up moves the weights, and steps in which only the critic learns do
    /// not use up the policy's schedule
    WarmupMoves,
}

impl Rules {
    /// Those of a new run.
    pub const CURRENT: Self = Self::WarmupMoves;

    const ALL: [Self; 3] = [Self::First, Self::SeededDropout, Self::WarmupMoves];

    /// The number in run.json.
    pub(crate) fn number(self) -> usize {
        self as usize
    }
}

impl Run {
    /// The rules that the run began under. Where run.json has a number that this version does not
    /// know, the newest.
    pub fn rules(&self) -> Rules {
        let number = self.recorded(KEY).and_then(Value::as_u64).unwrap_or(0);
        let known = Rules::ALL.get(number as usize);
        *known.unwrap_or(&Rules::CURRENT)
    }
}
