//! ESRL's baseline: the mean of a queue of the latest rewards (section "FIFO baseline reward").

use super::{mean, variance};
use std::collections::VecDeque;

/// Rewards are held as f32: JSON carries those exactly, so a resumed run goes on bit for bit.
#[derive(Clone, Debug)]
pub struct Fifo {
    queue: VecDeque<f32>,
    capacity: usize,
}

impl Fifo {
    /// `capacity` 1 keeps the last reward only.
    pub fn new(capacity: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            capacity,
        }
    }

    /// Appends in order; the oldest leave.
    pub fn push(&mut self, rewards: &[f64]) {
        self.queue.extend(rewards.iter().map(|r| *r as f32));
        let excess = self.queue.len().saturating_sub(self.capacity);
        self.queue.drain(..excess);
    }

    /// 0 when empty.
    pub fn mean(&self) -> f64 {
        mean(&self.values())
    }

    /// Population standard deviation; 0 when empty.
    pub fn std(&self) -> f64 {
        variance(&self.values()).sqrt()
    }

    /// Oldest first.
    pub fn values(&self) -> Vec<f64> {
        self.queue.iter().map(|r| f64::from(*r)).collect()
    }
}
