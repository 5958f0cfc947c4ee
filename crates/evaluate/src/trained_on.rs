//! Which prompts of an evaluation a run was trained on, itself or by the runs that it started from:
//! scores on these may show memory, not skill.

use crate::policies;
use anyhow::Result;
use run::SavedRun;
use serde_json::Value;
use std::collections::HashSet;

/// A chain of runs, each started from the next, is followed this far.
const MAX_RUNS: usize = 16;

/// The prompts that a run and those before it were trained on.
#[derive(Default)]
pub(crate) struct TrainedOn {
    keys: HashSet<u64>,
    /// A run of an older version, which did not record its prompts
    unknown: Option<String>,
}

impl TrainedOn {
    /// `text`: a run, or a plain model, of whose training nothing is known.
    pub fn of(text: &str) -> Result<Self> {
        let mut found = Self::default();
        let mut next = policies::saved_run(text)?;
        for _ in 0..MAX_RUNS {
            let Some(run) = next else { break };
            match policy::trained_prompts(&run.dir)? {
                Some(keys) => found.keys.extend(keys),
                None if found.unknown.is_none() => {
                    found.unknown = Some(run.dir.display().to_string());
                }
                None => {}
            }
            next = start_of(&run);
        }
        Ok(found)
    }

    /// How many of the prompts are among them. Says so on stderr where there are any, and where it
    /// is not known.
    pub fn count(&self, name: &str, keys: &[u64]) -> usize {
        let n = keys.iter().filter(|key| self.keys.contains(key)).count();
        if n > 0 {
            run::say!(
                "{name} has {n} of the {} prompts in its training data; scores on these may show \
                 memory, not skill",
                keys.len()
            );
        }
        if let Some(run) = &self.unknown {
            run::say!(
                "{name}: {run} is of an older version, which did not record its training prompts; \
                 whether it was trained on these is not known"
            );
        }
        n
    }
}

/// The run that a run started from, if it is one and still there.
fn start_of(run: &SavedRun) -> Option<SavedRun> {
    let key = match run.stage.as_str() {
        "esrl-rlhf" => "reference",
        _ => "source",
    };
    let text = run.info.get(key).and_then(Value::as_str)?;
    let text = policy::find_recorded(&run.dir, text);
    policies::saved_run(&text).ok().flatten()
}
