//! The sides of a comparison: ours with some settings, and the peers in the settings that their
//! users would try.

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

/// Who is measured.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Side {
    Ours(Ours),
    Peer(Program, Setting),
}

impl Side {
    /// In tables and the JSON file.
    pub fn name(&self) -> String {
        match self {
            Self::Ours(ours) => ours.name(),
            Self::Peer(program, setting) => format!("{}, {}", program.name(), setting.name()),
        }
    }
}

/// Our side with the keys that differ from configs/bench.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Ours(pub Vec<String>);

impl Ours {
    /// `KEY=VALUE KEY=VALUE`
    pub fn parse(text: &str) -> Result<Self> {
        let sets: Vec<String> = text.split_whitespace().map(String::from).collect();
        ensure!(!sets.is_empty(), "--ours-with {text:?}: use KEY=VALUE");
        if let Some(bad) = sets.iter().find(|set| !set.contains('=')) {
            bail!("--ours-with {text:?}: {bad:?} has no value; use KEY=VALUE");
        }
        Ok(Self(sets))
    }

    /// In tables and the JSON file.
    pub fn name(&self) -> String {
        match self.0.is_empty() {
            true => "ours".into(),
            false => format!("ours, {}", self.0.join(" ")),
        }
    }

    /// The value that a key is set to.
    pub fn value(&self, key: &str) -> Option<&str> {
        let mut values = self.0.iter().rev().filter_map(|set| set.split_once('='));
        let (_, value) = values.find(|(name, _)| *name == key)?;
        Some(value.trim_matches('"'))
    }

    /// Bits of a weight of the projections.
    fn bits(&self) -> u8 {
        let narrow = ["model.weights", "rollout.weights"].map(|key| self.value(key));
        let bits = narrow.into_iter().flatten().map(|value| match value {
            "q8_0" | "int8" => 8,
            "q4_0" | "q4_k" => 4,
            _ => 16,
        });
        bits.min().unwrap_or(16)
    }

    /// Whether a peer with these weights does the same work: its weights are as wide or wider.
    pub fn compares_with(&self, setting: Setting) -> bool {
        setting.bits() >= self.bits()
    }
}

/// A program that runs a peer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Program {
    Trl,
    Transformers,
    LlamaCpp,
}

impl Program {
    pub fn name(self) -> &'static str {
        match self {
            Self::Trl => "TRL",
            Self::Transformers => "transformers",
            Self::LlamaCpp => "llama.cpp",
        }
    }

    /// The settings that its users would try.
    pub fn settings(self) -> Vec<Setting> {
        let torch = |checkpointing| {
            PRECISIONS.map(|precision| Setting::Torch {
                precision,
                checkpointing,
            })
        };
        match self {
            Self::Trl => [torch(Some(true)), torch(Some(false))].concat(),
            Self::Transformers => torch(None).to_vec(),
            Self::LlamaCpp => GGUF.map(|(name, _)| Setting::Gguf(name)).to_vec(),
        }
    }
}

/// As scripts/bench/peers/common.py names them.
const PRECISIONS: [&str; 3] = ["f32", "bf16 autocast", "bf16 weights"];

/// The formats of llama.cpp's weights, with the bits of each.
const GGUF: [(&str, u8); 5] = [
    ("f32", 32),
    ("bf16", 16),
    ("f16", 16),
    ("q8_0", 8),
    ("q4_0", 4),
];

/// How a peer computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Setting {
    /// PyTorch's precision, and whether activations are checkpointed (`None`: there are none)
    Torch {
        precision: &'static str,
        checkpointing: Option<bool>,
    },
    /// The format of llama.cpp's weights
    Gguf(&'static str),
}

impl Setting {
    /// In tables and the JSON file.
    pub fn name(self) -> String {
        match self {
            Self::Torch {
                precision,
                checkpointing,
            } => match checkpointing {
                Some(true) => format!("{precision}, checkpointing"),
                Some(false) => format!("{precision}, no checkpointing"),
                None => precision.into(),
            },
            Self::Gguf(format) => format.into(),
        }
    }

    /// The fields of a peer's job.
    pub fn job(self) -> Value {
        match self {
            Self::Torch {
                precision,
                checkpointing,
            } => json!({ "precision": precision, "checkpointing": checkpointing }),
            Self::Gguf(format) => json!({ "gguf": gguf_file(format) }),
        }
    }

    fn bits(self) -> u8 {
        match self {
            Self::Torch { precision, .. } => match precision {
                "bf16 weights" => 16,
                _ => 32,
            },
            Self::Gguf(format) => {
                let known = GGUF.iter().find(|(name, _)| *name == format);
                known.map_or(32, |(_, bits)| *bits)
            }
        }
    }
}

/// The files of llama.cpp in the directory of the peers.
pub(crate) fn gguf_files() -> impl Iterator<Item = String> {
    GGUF.iter().map(|(name, _)| gguf_file(name))
}

fn gguf_file(format: &str) -> String {
    format!("model-{format}.gguf")
}
