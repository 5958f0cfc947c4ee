//! Baselines: what is subtracted from rewards to lower the variance of a policy gradient.
//!
//! Kiegeland & Kreutzer 2021; ESRL's queue; leave-one-out: Kool et al. 2019.

use super::{mean, variance};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::ops::Range;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Mean of all rewards so far
    Cumulative,
    /// b ← decay · b + (1 − decay) · the step's mean, starting with the first step's mean
    Ema,
    /// Mean of a queue of the latest rewards
    Fifo,
    /// Mean of the step's rewards
    Batch,
    /// Mean of the rewards of the prompt's other samples
    LeaveOneOut,
    None,
}

/// A baseline with its memory. The mean is an f32, which JSON carries exactly, so a resumed run
/// continues bit for bit.
#[derive(Clone, Debug)]
pub struct Baseline {
    kind: Kind,
    ema_decay: f64,
    /// Used by `cumulative` and `ema`.
    mean: f32,
    /// Rewards seen so far.
    count: u64,
    fifo: Fifo,
}

impl Baseline {
    pub fn new(kind: Kind, ema_decay: f64, fifo: usize) -> Self {
        Self {
            kind,
            ema_decay,
            mean: 0.0,
            count: 0,
            fifo: Fifo::new(fifo),
        }
    }

    /// b of each reward of a step, `[R]`. The step's own rewards enter the memory first. `prompts`:
    /// the rows of each prompt.
    pub fn of(&mut self, rewards: &[f64], prompts: &[Range<usize>]) -> Vec<f64> {
        let n = rewards.len() as u64;
        let b = match self.kind {
            Kind::Cumulative => {
                let before = f64::from(self.mean);
                let moved: f64 = rewards.iter().map(|r| r - before).sum();
                self.mean = (before + moved / (self.count + n).max(1) as f64) as f32;
                self.mean.into()
            }
            Kind::Ema => {
                let decay = if self.count == 0 { 0.0 } else { self.ema_decay };
                let old = f64::from(self.mean);
                self.mean = (decay * old + (1.0 - decay) * mean(rewards)) as f32;
                self.mean.into()
            }
            Kind::Fifo => {
                self.fifo.push(rewards);
                self.fifo.mean()
            }
            Kind::Batch => mean(rewards),
            Kind::LeaveOneOut => {
                let of_prompt = |rows: &Range<usize>| leave_one_out(&rewards[rows.clone()]);
                return prompts.iter().flat_map(of_prompt).collect();
            }
            Kind::None => 0.0,
        };
        self.count += n;
        vec![b; rewards.len()]
    }

    pub fn state(&self) -> Value {
        json!({ "mean": self.mean, "count": self.count, "fifo": self.fifo.values() })
    }

    pub fn restore(&mut self, state: &Value) -> serde_json::Result<()> {
        #[derive(Deserialize)]
        struct State {
            mean: f32,
            count: u64,
            fifo: Vec<f64>,
        }
        let State { mean, count, fifo } = State::deserialize(state)?;
        self.fifo = Fifo::new(self.fifo.capacity);
        self.fifo.push(&fifo);
        (self.mean, self.count) = (mean, count);
        Ok(())
    }
}

/// `(Σ_j r_j − r_i) / (k − 1)`: for each of a prompt's k samples, the mean reward of the others.
///
/// A single sample has no others and gets its own reward, hence advantage 0.
///
/// ```
/// use algorithms::estimators::baseline::leave_one_out;
///
/// assert_eq!(leave_one_out(&[1.0, 2.0, 6.0]), [4.0, 3.5, 1.5]);
/// assert_eq!(leave_one_out(&[5.0]), [5.0]);
/// ```
pub fn leave_one_out(rewards: &[f64]) -> Vec<f64> {
    let sum: f64 = rewards.iter().sum();
    let others = (rewards.len().max(2) - 1) as f64;
    let of = |r: &f64| match rewards.len() {
        1 => *r,
        _ => (sum - r) / others,
    };
    rewards.iter().map(of).collect()
}

/// A queue of the latest rewards (ESRL, section "FIFO baseline reward"), in f32 for the same reason
/// as the mean of [`Baseline`].
#[derive(Clone, Debug)]
pub struct Fifo {
    queue: VecDeque<f32>,
    capacity: usize,
}

impl Fifo {
    /// Keeps the last `capacity` rewards.
    pub fn new(capacity: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            capacity,
        }
    }

    /// Appends in order and drops the oldest.
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
