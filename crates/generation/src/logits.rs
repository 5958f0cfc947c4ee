//! Logits of rows, where they are drawn from: in main memory, or on a card, where they stay.

use crate::request::refuse;
use crate::sampler::NOT_FINITE;
use crate::{Sampling, draw};
use candle_core::{Result, Tensor};
use ops::{Drawn, Rule};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// [n, V]
pub(crate) enum Logits {
    Host { numbers: Vec<f32>, vocab: usize },
    Card(Tensor),
}

/// One row's rule and random stream.
pub(crate) struct Hand<'a> {
    pub sampling: Sampling,
    pub rng: &'a mut ChaCha8Rng,
}

impl Logits {
    /// Of hidden states [n, d]; `buffer` serves again where it is the same one.
    pub fn of(hidden: &Tensor, head: &Tensor, buffer: Self) -> Result<Self> {
        if ops::cuda::takes(&[hidden]) {
            return ops::cuda::logits(hidden, head).map(Self::Card);
        }
        let mut numbers = match buffer {
            Self::Host { numbers, .. } => numbers,
            Self::Card(_) => Vec::new(),
        };
        let vocab = head.dim(0)?;
        ops::logits(hidden, head, &mut numbers)?;
        Ok(Self::Host { numbers, vocab })
    }

    pub fn none() -> Self {
        let numbers = Vec::new();
        Self::Host { numbers, vocab: 0 }
    }

    /// A copy of one row.
    pub fn row(&self, at: usize) -> Result<Self> {
        match self {
            Self::Host { numbers, vocab } => Ok(Self::Host {
                numbers: numbers[at * vocab..(at + 1) * vocab].to_vec(),
                vocab: *vocab,
            }),
            Self::Card(logits) => logits.narrow(0, at, 1)?.copy().map(Self::Card),
        }
    }

    /// A token for each hand; of one row, for all of them.
    pub fn draw(&self, hands: Vec<Hand>) -> Result<Vec<Drawn>> {
        match self {
            Self::Host { numbers, vocab } => hands
                .into_par_iter()
                .enumerate()
                .map(|(i, hand)| {
                    let at = if numbers.len() == *vocab {
                        0
                    } else {
                        i * vocab
                    };
                    draw(&numbers[at..at + vocab], &hand.sampling, hand.rng)
                })
                .collect(),
            Self::Card(logits) => {
                let rules: Vec<Rule> = hands.into_iter().map(Hand::rule).collect();
                let vocab = logits.dim(1)?;
                let logits = logits.broadcast_as((rules.len(), vocab))?;
                match ops::sample(&logits, &rules)?.into_iter().collect() {
                    Some(drawn) => Ok(drawn),
                    None => refuse(NOT_FINITE.into()),
                }
            }
        }
    }
}

impl Hand<'_> {
    /// Takes a number from the stream, as [`draw`] does.
    fn rule(self) -> Rule {
        let Sampling {
            temperature,
            top_k,
            top_p,
            ..
        } = self.sampling;
        let u = match self.sampling.is_greedy() {
            true => 0.0,
            false => self.rng.random(),
        };
        Rule {
            temperature,
            top_k,
            top_p,
            u,
        }
    }
}
