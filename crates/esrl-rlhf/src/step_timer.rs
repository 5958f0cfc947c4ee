//! Wall-clock seconds of a step, by phase.

use algorithms::Metrics;
use std::time::Instant;

/// Each [`record`](Self::record) ends a phase.
pub(crate) struct StepTimer {
    begun: Instant,
    last: Instant,
    records: Vec<(&'static str, f64)>,
}

impl StepTimer {
    pub fn new() -> Self {
        let now = Instant::now();
        Self {
            begun: now,
            last: now,
            records: Vec::new(),
        }
    }

    /// Records the seconds since the last record as `name`.
    pub fn record(&mut self, name: &'static str) {
        self.records.push((name, self.last.elapsed().as_secs_f64()));
        self.last = Instant::now();
    }

    /// Writes the phases and `time/step` into `metrics`; the seconds of the whole step.
    pub fn finish(self, metrics: &mut Metrics) -> f64 {
        metrics.extend(
            self.records
                .into_iter()
                .map(|(name, secs)| (name.to_string(), secs)),
        );
        let secs = self.begun.elapsed().as_secs_f64();
        metrics.insert("time/step".into(), secs);
        secs
    }
}
