//! `model.weights`: the format of a frozen base's projections. They stay as they are stored, or are
//! rounded to quantised blocks while they are read, as in QLoRA (Dettmers et al. 2023).
//! Embeddings, head and norms always stay as they are stored.

use crate::{Config, Error, Result};
use ops::QuantisedBlocks;
use serde::{Deserialize, Serialize};

/// The setting; names are ggml's.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BaseWeights {
    /// As in the checkpoint.
    #[default]
    Stored,
    Q8_0,
    Q4_0,
    Q4_K,
}

impl BaseWeights {
    /// The value in a config file.
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// The quantised blocks that a projection with rows of `width` numbers is rounded to, if any. A
    /// row must be whole blocks. If it is not whole blocks of q4_k, llama.cpp takes q5_0, and so do
    /// we.
    pub(crate) fn blocks(self, width: usize) -> Option<QuantisedBlocks> {
        let whole = |blocks: &&QuantisedBlocks| width.is_multiple_of(blocks.numbers());
        self.formats().iter().find(whole).copied()
    }

    /// In the order of preference.
    fn formats(self) -> &'static [QuantisedBlocks] {
        match self {
            Self::Stored => &[],
            Self::Q8_0 => &[QuantisedBlocks::Q8_0],
            Self::Q4_0 => &[QuantisedBlocks::Q4_0],
            Self::Q4_K => &[QuantisedBlocks::Q4_K, QuantisedBlocks::Q5_0],
        }
    }

    /// How many projections of a model of this shape cannot have the requested format, and how
    /// many projections there are. An error where none can have any.
    pub fn count_fallbacks(self, config: &Config) -> Result<(usize, usize)> {
        let layer = config.layer();
        let modules: Vec<_> = layer.modules().collect();
        let n = config.num_hidden_layers * modules.len();
        let Some(requested) = self.formats().first() else {
            return Ok((0, n));
        };
        let formats = modules.iter().map(|m| self.blocks(layer.shape(*m).1));
        let formats: Vec<_> = formats.collect();
        if formats.iter().all(Option::is_none) {
            return Err(Error::Input(format!(
                "model.weights = \"{}\": a quantised block has 32 numbers or more, and no projection of this model has rows of a multiple of 32; leave it out",
                self.name()
            )));
        }
        let others = formats.iter().filter(|blocks| **blocks != Some(*requested));
        Ok((others.count() * config.num_hidden_layers, n))
    }
}
