//! Draws one answer to each of several prompts from a policy, with a progress bar over all of them.

use anyhow::Result;
use generation::{Engine, Request, Sample};
use policy::Policy;
use run::Progress;

/// A progress bar over prompts that are drawn in several batches.
pub(crate) struct SampleProgress {
    progress: Progress,
    done: usize,
    tokens: usize,
}

impl SampleProgress {
    pub fn new(what: &str, total: usize) -> Self {
        Self {
            progress: Progress::new(what, total as u64),
            done: 0,
            tokens: 0,
        }
    }

    /// Tokens drawn so far.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    pub fn finish(mut self, message: &str) {
        self.progress.finish(message);
    }
}

/// Draws the samples of `requests`, in their order; each request asks for one.
pub(crate) fn draw(
    policy: &Policy,
    requests: &[Request],
    max_rows: usize,
    bar: &mut SampleProgress,
) -> Result<Vec<Sample>> {
    let engine = Engine {
        model: policy.model(),
        lora: policy.adapter.as_ref(),
        stop: &policy.encoder.ends().stop,
        max_rows,
        keep_states: false,
    };
    let mut tokens_before = 0;
    let samples = engine.run(requests, &mut |tokens, finished| {
        let position = (bar.done + finished) as u64;
        let new_tokens = (tokens - tokens_before) as u64;
        bar.progress.update(position, new_tokens, "");
        tokens_before = tokens;
    })?;
    bar.done += requests.len();
    bar.tokens += tokens_before;
    Ok(samples)
}
