//! `model.weights`: what the projections of a frozen base are kept in. Either as they are stored, GGUF's blocks as blocks, or rounded to blocks
//! while they are read, as QLoRA (Dettmers et al. 2023) has them. Embeddings, head and norms are always as they are stored.

use crate::proj::Proj;
use crate::{Config, Error, Result};
use ops::Blocks;
use serde::{Deserialize, Serialize};

#[allow(non_camel_case_types)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BaseWeights {
    /// What the checkpoint has
    #[default]
    Stored,
    Q8_0,
    Q4_0,
    Q4_K,
}

impl BaseWeights {
    /// As settings write it.
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// What a weight of this Hugging Face name is rounded to, if to anything: rows must be whole blocks. Where those of q4_k are not, llama.cpp
    /// takes q5_0, and so do we.
    pub(crate) fn blocks(self, name: &str, width: usize) -> Option<Blocks> {
        let module = name.strip_suffix(".weight")?;
        let projection = Proj::ALL.iter().any(|proj| module.ends_with(&proj.path()));
        let whole = |blocks: &&Blocks| width.is_multiple_of(blocks.numbers());
        self.formats()
            .iter()
            .find(whole)
            .copied()
            .filter(|_| projection)
    }

    /// The first that a row is whole blocks of is taken.
    fn formats(self) -> &'static [Blocks] {
        match self {
            Self::Stored => &[],
            Self::Q8_0 => &[Blocks::Q8_0],
            Self::Q4_0 => &[Blocks::Q4_0],
            Self::Q4_K => &[Blocks::Q4_K, Blocks::Q5_0],
        }
    }

    /// Of the projections of a model of this shape, how many cannot be in the format that was asked for, and how many there are. An error where
    /// none can be in any.
    pub fn unwieldy(self, config: &Config) -> Result<(usize, usize)> {
        let n = config.num_hidden_layers * Proj::ALL.len();
        let Some(asked) = self.formats().first() else {
            return Ok((0, n));
        };
        let of = |proj: &Proj| {
            let name = format!("{}.weight", proj.path());
            self.blocks(&name, proj.shape(config).1)
        };
        let formats = Proj::ALL.each_ref().map(of);
        if formats.iter().all(Option::is_none) {
            return Err(Error::Input(format!(
                "model.weights = \"{}\": blocks are of 32 numbers or more, and no projection of this model has rows of a multiple of 32; leave it out",
                self.name()
            )));
        }
        let other = formats.iter().filter(|blocks| **blocks != Some(*asked));
        Ok((other.count() * config.num_hidden_layers, n))
    }
}
