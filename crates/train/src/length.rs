//! A resumed run with another length than it had: too short, or with another learning rate from
//! here on.

use anyhow::{Result, ensure};

/// The lengths of a resumed run, in steps.
pub struct NewLength {
    /// The keys that give it, for messages
    pub key: &'static str,
    /// Steps that the run has
    pub done: usize,
    pub before: usize,
    pub now: usize,
}

impl NewLength {
    /// Refuses a length that the run has reached already: its result would be of more steps than
    /// its settings say, or of none that was evaluated.
    pub fn check(&self) -> Result<()> {
        let Self { key, done, now, .. } = self;
        ensure!(
            self.before == *now || now > done,
            "the run has {done} steps already, and {key} ends it at {now}; give more than {done}, \
             or leave {key} as it was"
        );
        Ok(())
    }

    /// Where the schedule of the new length has another learning rate for the next step than that
    /// of the old one: `policy's learning rate from 1.90e-4 at step 6 to 1.35e-3 at step 7`.
    /// `lr`: the rate of a step (0-based) in a run of so many steps, before and now.
    pub fn jump(&self, name: &str, lr: [&dyn Fn(usize) -> f64; 2]) -> Option<String> {
        let [before, now] = lr;
        let last = self.done.checked_sub(1)?;
        let (old, new) = (before(self.done), now(self.done));
        (self.before != self.now && old != new).then(|| {
            format!(
                "{name} from {:.2e} at step {} to {new:.2e} at step {}",
                before(last),
                self.done,
                self.done + 1
            )
        })
    }

    /// Says the jumps of the learning rate on stderr, if there are any.
    pub fn report(&self, jumps: &[String]) {
        if !jumps.is_empty() {
            run::say!(
                "{}: from here on the schedule is that of a run of {} steps: {}",
                self.key,
                self.now,
                jumps.join(", ")
            );
        }
    }
}
