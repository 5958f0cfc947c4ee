//! Lengths as counts: exact, in memory that grows with the number of different lengths only.

use serde::Serialize;
use std::collections::BTreeMap;

/// The most bars of a histogram.
const MAX_BARS: usize = 12;

/// How often each length was met.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lengths(BTreeMap<usize, u64>);

/// Lengths in a report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LengthFacts {
    pub n: u64,
    pub min: usize,
    pub median: usize,
    pub mean: f64,
    pub p95: usize,
    pub max: usize,
}

/// A bar of a histogram: lengths from `from` to `to`, both included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bar {
    pub from: usize,
    pub to: usize,
    pub rows: u64,
}

impl Lengths {
    pub fn add(&mut self, length: usize) {
        *self.0.entry(length).or_default() += 1;
    }

    fn n(&self) -> u64 {
        self.0.values().sum()
    }

    /// The smallest length that at least `percent` of them do not exceed.
    fn percentile(&self, percent: u64) -> usize {
        let wanted = (self.n() * percent).div_ceil(100);
        let mut below = 0;
        let found = self.0.iter().find(|(_, count)| {
            below += **count;
            below >= wanted
        });
        found.map_or(0, |(length, _)| *length)
    }

    /// None: there are none.
    pub fn facts(&self) -> Option<LengthFacts> {
        let (min, _) = self.0.first_key_value()?;
        let (max, _) = self.0.last_key_value()?;
        let n = self.n();
        let sum: f64 = self
            .0
            .iter()
            .map(|(len, count)| *len as f64 * *count as f64)
            .sum();
        Some(LengthFacts {
            n,
            min: *min,
            median: self.percentile(50),
            mean: sum / n as f64,
            p95: self.percentile(95),
            max: *max,
        })
    }

    pub fn n_above(&self, limit: usize) -> u64 {
        self.0.range(limit + 1..).map(|(_, count)| count).sum()
    }

    /// Bars of one width, a round number. What is far longer than 99 % of the lengths is in the
    /// last one, which may be wider.
    pub fn histogram(&self) -> Vec<Bar> {
        let Some((max, _)) = self.0.last_key_value() else {
            return Vec::new();
        };
        let width = round_up((self.percentile(99) + 1).div_ceil(MAX_BARS - 1));
        let n_bars = (max / width + 1).min(MAX_BARS);
        let first = self
            .0
            .keys()
            .next()
            .map_or(0, |min| min / width)
            .min(n_bars - 1);
        let bars = (first..n_bars).map(|bar| {
            let from = bar * width;
            let to = match bar + 1 == n_bars {
                true => (*max).max(from + width - 1),
                false => from + width - 1,
            };
            let rows = self.0.range(from..=to).map(|(_, count)| count).sum();
            Bar { from, to, rows }
        });
        bars.collect()
    }
}

/// The next of 1, 2, 5, 10, 20, 50, …
fn round_up(n: usize) -> usize {
    let mut power = 1;
    loop {
        for digit in [1, 2, 5] {
            if digit * power >= n {
                return digit * power;
            }
        }
        power *= 10;
    }
}
