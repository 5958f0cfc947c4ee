//! The source policy's answers, whose scores normalise the reward.

use anyhow::{Result, bail};
use data::Encoder;
use generation::{Engine, Request, Sample};
use models::{CausalLm, Lora};

/// Prompt + response of each sample: still to be drawn, or there.
pub(crate) enum Samples {
    Due {
        /// Of the source policy
        adapter: Option<Lora>,
        requests: Vec<Request>,
        max_rows: usize,
    },
    Drawn(Vec<Vec<u32>>),
}

impl Samples {
    pub fn new(adapter: Option<Lora>, requests: Vec<Request>, max_rows: usize) -> Self {
        Self::Due {
            adapter,
            requests,
            max_rows,
        }
    }

    /// Draws the samples unless they are there. They do not depend on when.
    pub fn draw(&mut self, model: &CausalLm, encoder: &Encoder) -> Result<()> {
        let Self::Due {
            adapter,
            requests,
            max_rows,
        } = self
        else {
            return Ok(());
        };
        let engine = Engine {
            model,
            lora: adapter.as_ref(),
            stop: &encoder.ends().stop,
            max_rows: *max_rows,
            keep_states: false,
        };
        let mut progress = run::Progress::new(
            "samples for normalisation",
            requests.iter().map(|r| r.n as u64).sum(),
        );
        let mut tokens_before = 0;
        let drawn = engine.run(requests, &mut |tokens, finished| {
            progress.update(finished as u64, (tokens - tokens_before) as u64, "");
            tokens_before = tokens;
        })?;
        progress.finish("");
        let context = model.config.max_position_embeddings;
        let row = |sample: Sample| {
            let prompt = &requests[sample.request].prompt;
            let ids = [prompt.as_slice(), &sample.ids].concat();
            encoder.ended_as_trained(&ids, prompt.len(), context)
        };
        *self = Self::Drawn(drawn.into_iter().map(row).collect());
        Ok(())
    }

    pub fn drawn(&self) -> Result<&[Vec<u32>]> {
        match self {
            Self::Drawn(samples) => Ok(samples),
            Self::Due { .. } => bail!("the samples that normalise the reward are not drawn yet"),
        }
    }
}
