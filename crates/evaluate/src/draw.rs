//! Draws one answer to each of several prompts from a policy.

use anyhow::Result;
use generation::{Engine, Request, Sample, Sampling};
use policy::Policy;
use run::Progress;

/// A tokenised prompt with how its answer is drawn.
pub(crate) struct Ask {
    pub prompt: Vec<u32>,
    pub sampling: Sampling,
    /// Keys the named random stream: the same key, prompt and weights give the same answer in any batch.
    pub stream: [u64; 3],
}

/// Keeps a progress bar over prompts while parts of them are drawn.
pub(crate) struct Bar {
    progress: Progress,
    done: usize,
    tokens: usize,
}

impl Bar {
    pub fn new(what: &str, total: usize) -> Self {
        Self {
            progress: Progress::new(what, total as u64),
            done: 0,
            tokens: 0,
        }
    }

    pub fn finish(mut self, message: &str) {
        self.progress.finish(message);
    }
}

/// One sample per ask, in their order.
pub(crate) fn draw(
    policy: &Policy,
    asks: Vec<Ask>,
    max_rows: usize,
    bar: &mut Bar,
) -> Result<Vec<Sample>> {
    let n = asks.len();
    let requests: Vec<Request> = asks
        .into_iter()
        .map(|ask| Request {
            prompt: ask.prompt,
            n: 1,
            sampling: ask.sampling,
            stream: ask.stream,
        })
        .collect();
    let engine = Engine {
        model: policy.model(),
        lora: policy.adapter.as_ref(),
        stop: &policy.encoder.ends().stop,
        max_rows,
        keep_states: false,
    };
    let mut seen = 0;
    let samples = engine.run(&requests, &mut |tokens, finished| {
        let position = (bar.done + finished) as u64;
        bar.progress.update(position, (tokens - seen) as u64, "");
        seen = tokens;
    })?;
    bar.done += n;
    bar.tokens += seen;
    Ok(samples)
}

impl Bar {
    /// Tokens drawn so far.
    pub fn tokens(&self) -> usize {
        self.tokens
    }
}
