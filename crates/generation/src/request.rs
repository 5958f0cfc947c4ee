//! Requests to the engine, and the samples that it returns.

use candle_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// How one row is drawn. It travels with the sample, because scoring must use the same temperature.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sampling {
    /// 0 is greedy.
    pub temperature: f32,
    /// 0 is off.
    pub top_k: usize,
    /// 1.0 is off.
    pub top_p: f32,
    /// A response ends here unless a stop token ends it first.
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

impl Sampling {
    /// Whether the most probable token is taken.
    pub fn is_greedy(&self) -> bool {
        self.temperature == 0.0
    }
}

/// `n` samples of one prompt, which is prefilled once. `n = 0` costs nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Token ids, at least one.
    pub prompt: Vec<u32>,
    /// The number of samples.
    pub n: usize,
    pub sampling: Sampling,
    /// Keys the random stream: (seed, step, row). Sample i of a request draws from the stream
    /// (seed, "sample/i", step, row), one number per token, so what it draws does not depend on
    /// what else is in flight.
    pub stream: [u64; 3],
}

impl Request {
    /// An error if a model with this context and vocabulary cannot decode the request. `at`: its
    /// index, for the message.
    pub(crate) fn check(&self, at: usize, model: &models::Config) -> Result<()> {
        let (context, vocab) = (model.max_position_embeddings, model.vocab_size);
        let Sampling {
            temperature,
            top_p,
            max_new_tokens,
            ..
        } = self.sampling;
        if self.prompt.is_empty() {
            return refuse(format!(
                "generation: prompt {at} is empty; a model needs at least one token to continue from"
            ));
        }
        if max_new_tokens == 0 {
            return refuse(format!(
                "generation: max_new_tokens = 0 for prompt {at}; it must be at least 1"
            ));
        }
        if self.prompt.len() + max_new_tokens > context {
            return refuse(format!(
                "generation: prompt {at} has {} tokens, which with max_new_tokens = {max_new_tokens} exceeds the model's context of {context}; shorten one of them",
                self.prompt.len()
            ));
        }
        let limit = model.limit_behind(self.prompt.len());
        if self.prompt.len() + max_new_tokens > limit {
            return refuse(format!(
                "generation: prompt {at} has {} tokens, which with max_new_tokens = {max_new_tokens} passes the {limit} tokens at which this model's RoPE changes its frequencies; shorten one of them",
                self.prompt.len()
            ));
        }
        if !(temperature.is_finite() && temperature >= 0.0) {
            return refuse(format!(
                "generation: temperature = {temperature} must be a number of at least 0 (greedy)"
            ));
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return refuse(format!("generation: top_p = {top_p} is not in (0, 1]"));
        }
        if let Some(id) = self.prompt.iter().find(|id| **id as usize >= vocab) {
            return refuse(format!(
                "generation: prompt {at} holds token {id}, the model's vocabulary ends at {vocab}; the tokenizer is another model's"
            ));
        }
        Ok(())
    }
}

/// Why a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// A stop token was drawn; it is the last of `ids`.
    Stop,
    /// `max_new_tokens` were drawn without one.
    Length,
}

/// One drawn response. Per-token vectors are as long as `ids`, which includes the stop token if one
/// was drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The number of its request.
    pub request: usize,
    /// Its number among the samples of the request.
    pub index: usize,
    pub ids: Vec<u32>,
    pub finish: Finish,
    pub sampling: Sampling,
    /// Log-probability of each token under softmax(logits / temperature), before top-k and top-p
    /// (greedy: temperature 1), in nats.
    pub logps: Vec<f32>,
    /// Entropy of the same distribution over the whole vocabulary, in nats.
    pub entropies: Vec<f32>,
    /// Largest probability of the distribution that was drawn from, after top-k and top-p (greedy:
    /// at temperature 1, not truncated).
    pub max_probs: Vec<f32>,
    /// The hidden states `[d]` that the tokens were drawn from, one after another; empty unless the
    /// engine's `keep_states` is set.
    pub states: Vec<f32>,
}

/// An error of the caller: the message alone, without a backtrace.
pub(crate) fn refuse<T>(message: String) -> Result<T> {
    Err(Error::msg(message))
}
