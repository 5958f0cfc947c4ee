//! Batched decoding: sampler, prefix sharing, continuous batching, stop rules. Knows ids only; no graph, no text.
//! (skeleton; split: sampler.rs, engine.rs, request.rs)

use serde::{Deserialize, Serialize};

/// How one row is drawn. Travels with the sample, because what is scored must be what was sampled from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sampling {
    /// 0 = greedy
    pub temperature: f32,
    /// 0 = off
    pub top_k: usize,
    /// 1.0 = off
    pub top_p: f32,
    pub max_new_tokens: usize,
}
impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            max_new_tokens: 256,
        }
    }
}

/// `n` samples of one prompt; its prefill happens once.
pub struct Request {
    pub prompt: Vec<u32>,
    pub n: usize,
    pub sampling: Sampling,
    /// keys the named stream (seed, "sample", step, row)
    pub stream: [u64; 3],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    Stop,
    Length,
}

/// One drawn response. Per-token vectors are as long as `ids`, which includes the stop token when one was drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub request: usize,
    pub index: usize,
    pub ids: Vec<u32>,
    pub finish: Finish,
    pub sampling: Sampling,
    /// log-prob of each token under softmax(logits/temperature) before top-k/top-p (greedy: temperature 1)
    pub logps: Vec<f32>,
    /// full-vocabulary entropy of the same distribution, nats
    pub entropies: Vec<f32>,
    /// largest probability of the distribution actually drawn from (after top-k/top-p)
    pub max_probs: Vec<f32>,
}

pub struct Engine<'a> {
    pub model: &'a llama::Llama,
    pub lora: Option<&'a llama::Lora>,
    pub stop: &'a [u32],
    /// rows decoded together
    pub max_rows: usize,
}
impl Engine<'_> {
    /// Samples in request order, then index order, whatever order they finished in. `progress(tokens_so_far, finished)`.
    pub fn run(
        &self,
        _requests: &[Request],
        _progress: &mut dyn FnMut(usize, usize),
    ) -> candle_core::Result<Vec<Sample>> {
        todo!()
    }
}
