//! The longest sequence of each stage: as given, else 512 or what the model has room for.

use crate::Stage;
use anyhow::{Result, ensure};
use policy::PolicyMeta;

/// The setting of every stage where it is not set.
const DEFAULT: usize = 512;

/// `rollout.max_new_tokens` where it is not set.
const NEW_TOKENS: usize = 128;

/// Tokens of the longest sequence.
pub(crate) struct MaxLen {
    given: Option<usize>,
    /// What the config says
    config: Option<usize>,
    /// The context of the model, in training and in decoding
    contexts: Option<[usize; 2]>,
}

impl MaxLen {
    /// Fails if it leaves no room for an answer, or is more than the model has.
    pub fn new(
        given: Option<usize>,
        config: Option<usize>,
        meta: Option<&PolicyMeta>,
    ) -> Result<Self> {
        let contexts = meta.map(|meta| [meta.context(), meta.decoding_context()]);
        let name = match given {
            Some(_) => "--max-len",
            None => "max_len of the config",
        };
        if let Some(max_len) = given.or(config) {
            ensure!(max_len > 1, "{name} {max_len} leaves no room for an answer");
            let context = contexts.map_or(usize::MAX, |[training, _]| training);
            ensure!(
                max_len <= context,
                "{name} {max_len} is more than the model's context of {context}; give {context} or \
                 less"
            );
        }
        Ok(Self {
            given,
            config,
            contexts,
        })
    }

    /// Of a prompt with its answer, or of a prompt alone for rlhf.
    pub fn of(&self, stage: Stage) -> usize {
        self.given.or(self.config).unwrap_or(match self.contexts {
            None => DEFAULT,
            Some([_, decoding]) if stage == Stage::Rlhf => {
                DEFAULT.min(decoding - NEW_TOKENS.min(decoding / 2))
            }
            Some([training, _]) => DEFAULT.min(training),
        })
    }

    /// What must be set; None: the stage and its config have it.
    pub fn setting(&self, stage: Stage) -> Option<usize> {
        let max_len = self.of(stage);
        (max_len != self.config.unwrap_or(DEFAULT)).then_some(max_len)
    }

    /// `rollout.max_new_tokens`, where the default leaves no room for the prompts.
    pub fn new_tokens(&self) -> Option<usize> {
        let [_, decoding] = self.contexts?;
        let room = decoding.saturating_sub(self.of(Stage::Rlhf)).max(1);
        (room < NEW_TOKENS).then_some(room)
    }
}
