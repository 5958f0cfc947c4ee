//! The rows of one RL step as they come from the sampler or from storage, before any model has read
//! them.

use crate::row::Row;
use algorithms::Experience;
use algorithms::Metrics;
use serde::{Deserialize, Serialize};

/// Rows with what is known of them so far.
pub(crate) struct StepRows {
    pub rows: Vec<Row>,
    /// One entry per row, in the same order
    pub exp: Experience,
    /// The step begins a pass over the data
    pub new_epoch: bool,
    pub cost: SamplingCost,
    pub metrics: Metrics,
}

/// Responses and tokens that were sampled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SamplingCost {
    pub samples: usize,
    pub tokens: usize,
}

impl SamplingCost {
    pub fn add(&mut self, rows: &[Row]) {
        self.samples += rows.len();
        self.tokens += rows.iter().map(|row| row.response().len()).sum::<usize>();
    }
}
