//! Which rules of training a run follows. A change that gives the same settings other numbers gets
//! a number here, so that a run which began under earlier rules resumes and replays under them.

use crate::directory::Run;
use crate::saved_run::{SavedRun, open_saved_run};
use anyhow::Result;
use serde_json::Value;
use std::path::Path;

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
    /// Special tokens at the end of an answer are cut off, an answer that a template cuts is
    /// learnt whole, its ids are those of the whole text, a header before it belongs to the prompt,
    /// and special tokens of raw prompts are tokens
    WholeAnswers,
    /// sft learns every answer of a conversation unless `data.train_on` says otherwise
    AllAnswers,
    /// Conversations with turns of tools are read; before, they were dropped. Scores of
    /// UltraFeedback on two scales are not compared
    Tools,
}

impl Rules {
    /// Those of a new run.
    pub const CURRENT: Self = Self::Tools;

    const ALL: [Self; 6] = [
        Self::First,
        Self::SeededDropout,
        Self::WarmupMoves,
        Self::WholeAnswers,
        Self::AllAnswers,
        Self::Tools,
    ];

    /// The number in run.json.
    pub(crate) fn number(self) -> usize {
        self as usize
    }
}

impl Run {
    /// The rules that the run began under. Where run.json has a number that this version does not
    /// know, the newest.
    pub fn rules(&self) -> Rules {
        numbered(self.recorded(KEY))
    }
}

impl SavedRun {
    /// As [`Run::rules`].
    pub fn rules(&self) -> Rules {
        numbered(self.info.get(KEY))
    }
}

/// Whether the run that is resumed, if any, began before these rules.
///
/// # Errors
/// As [`open_saved_run`].
pub fn began_before(resumed: Option<&Path>, rules: Rules) -> Result<bool> {
    let run = resumed.map(open_saved_run).transpose()?.flatten();
    Ok(run.is_some_and(|run| run.rules() < rules))
}

fn numbered(number: Option<&Value>) -> Rules {
    let number = number.and_then(Value::as_u64).unwrap_or(0);
    let known = Rules::ALL.get(number as usize);
    *known.unwrap_or(&Rules::CURRENT)
}
