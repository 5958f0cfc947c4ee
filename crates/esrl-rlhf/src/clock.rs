//! Seconds of a step, by phase.

use crate::learner::Metrics;
use std::time::Instant;

pub(crate) struct Clock {
    begun: Instant,
    last: Instant,
    laps: Vec<(&'static str, f64)>,
}

impl Clock {
    pub fn new() -> Self {
        let now = Instant::now();
        Self {
            begun: now,
            last: now,
            laps: Vec::new(),
        }
    }

    pub fn lap(&mut self, name: &'static str) {
        self.laps.push((name, self.last.elapsed().as_secs_f64()));
        self.last = Instant::now();
    }

    pub fn finish(self, metrics: &mut Metrics) -> f64 {
        metrics.extend(
            self.laps
                .into_iter()
                .map(|(name, secs)| (name.to_string(), secs)),
        );
        let secs = self.begun.elapsed().as_secs_f64();
        metrics.insert("time/step".into(), secs);
        secs
    }
}
