//! The figures of one side: medians, ranges, means by phase.

use crate::timing::Timing;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Figures over the processes of one side, in the order of the rounds. The first step of each
/// process is a warm-up and does not count.
pub(crate) struct Figures {
    /// Median seconds of a step in each round
    rounds: Vec<f64>,
    /// Of all timed steps
    pub secs: f64,
    pub least: f64,
    pub most: f64,
    pub tokens_per_sec: Option<f64>,
    /// In each round
    peaks_gb: Vec<f64>,
    pub checkpointing: Option<bool>,
    /// Means over the timed steps, as is `tokens`, of one step
    pub phases: BTreeMap<String, f64>,
    pub metrics: BTreeMap<String, f64>,
    pub tokens: f64,
}

impl Figures {
    /// Of the processes `timings`.
    pub fn of(timings: &[Timing]) -> Self {
        let timed = |t: &Timing| t.secs[1..].to_vec();
        let mut all: Vec<f64> = timings.iter().flat_map(timed).collect();
        let secs = median(&mut all);
        let tokens = timings.iter().flat_map(|t| t.tokens.iter().skip(1));
        let tokens: f64 = tokens.sum();
        let mean = |of: fn(&Timing) -> &Vec<BTreeMap<String, f64>>| {
            let mut means = BTreeMap::new();
            for (name, value) in timings.iter().flat_map(|t| of(t).iter().skip(1)).flatten() {
                *means.entry(name.clone()).or_insert(0.0) += value / all.len() as f64;
            }
            means
        };
        Self {
            rounds: timings.iter().map(|t| median(&mut timed(t))).collect(),
            secs,
            least: all[0],
            most: all[all.len() - 1],
            tokens_per_sec: (tokens > 0.0).then(|| tokens / all.iter().sum::<f64>()),
            peaks_gb: timings.iter().map(|t| t.peak_gb).collect(),
            checkpointing: timings.first().and_then(|t| t.checkpointing),
            phases: mean(|t| &t.phases),
            metrics: mean(|t| &t.metrics),
            tokens: tokens / all.len() as f64,
        }
    }

    /// The largest peak memory of the rounds.
    pub fn peak_gb(&self) -> f64 {
        self.peaks_gb.iter().copied().fold(0.0, f64::max)
    }

    /// The ratio of its time to the other's: median, smallest and largest over the rounds.
    pub fn time_over(&self, other: &Self) -> [f64; 3] {
        ratios(&self.rounds, &other.rounds)
    }

    /// The same for peak memory.
    pub fn memory_over(&self, other: &Self) -> [f64; 3] {
        ratios(&self.peaks_gb, &other.peaks_gb)
    }

    /// Writes them into the JSON file, each key prefixed with `name` and an underscore, if there is
    /// a name.
    pub fn write(&self, name: &str, into: &mut Map<String, Value>) {
        let prefix = match name {
            "" => String::new(),
            _ => format!("{name}_"),
        };
        let mut put = |key: &str, value: Value| into.insert(format!("{prefix}{key}"), value);
        put("secs", json!(self.secs));
        put("secs_range", json!([self.least, self.most]));
        put("peak_gb", json!(self.peak_gb()));
        put("tokens_per_sec", json!(self.tokens_per_sec));
        if let Some(checkpointing) = self.checkpointing {
            put("checkpointing", json!(checkpointing));
        }
        if !self.phases.is_empty() {
            put("phases", json!(self.phases));
        }
    }
}

fn ratios(ours: &[f64], theirs: &[f64]) -> [f64; 3] {
    let mut ratios: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| a / b).collect();
    let middle = median(&mut ratios);
    [middle, ratios[0], ratios[ratios.len() - 1]]
}

/// The median; sorts the values.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    (values[(n - 1) / 2] + values[n / 2]) / 2.0
}
