//! Health of an RL run: numbers over a window of steps that show reward hacking, repetition,
//! collapse, missing EOS or divergence from the reference, each with a threshold. A watch warns,
//! and stops the run only with `watch.stop`. A first update that does not match what was scored
//! ([`WatchConfig::check_first`]) always stops it. Arithmetic only: no model, no files.

mod state;
mod watches;

pub use state::{Seen, WatchConfig, WatchState};

use state::StepSums;
use std::collections::BTreeMap;
use watches::WATCHES;

/// The metrics `watch/…` of a step, and the warnings of watches that begin to warn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WatchReport {
    pub metrics: BTreeMap<String, f64>,
    pub warnings: Vec<String>,
}

impl WatchState {
    /// Adds a step. A watch that stays beyond its threshold warns once.
    pub fn see(&mut self, seen: &Seen, config: &WatchConfig) -> WatchReport {
        self.past_start |= seen.past_start;
        self.steps.push_back(StepSums::of(seen));
        while self.steps.len() > config.window {
            self.steps.pop_front();
        }
        let full = self.steps.len() == config.window;
        let entropy = self.mean(|s| s.entropy);
        if full && self.first_entropy.is_none() {
            self.first_entropy = entropy;
        }
        let mut report = WatchReport::default();
        for watch in WATCHES {
            let Some(value) = (watch.value)(self) else {
                continue;
            };
            let limit = (watch.limit)(config);
            let beyond = match full && limit > 0.0 {
                true => watch.beyond(value, limit),
                false => None,
            };
            match beyond {
                None => drop(self.over.remove(watch.name)),
                Some(why) => {
                    if self.over.insert(watch.name.to_string()) {
                        *self.warnings.entry(watch.name.to_string()).or_default() += 1;
                        let metric = watch.metric;
                        let text = format!("watch/{metric} is {value:.3}, {why}");
                        report.warnings.push(text);
                    }
                }
            }
            let metric = format!("watch/{}", watch.metric);
            report.metrics.insert(metric, value);
        }
        report
            .metrics
            .insert("watch/warnings".into(), self.over.len() as f64);
        report
    }
}
