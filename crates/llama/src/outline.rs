//! A base model before its weights are read: its shape, its tokenizer, and how the weights lie in their files.

use crate::load::{Loaded, read_weights, weight_files};
use crate::model::weight_shapes;
use crate::safe::SafeFile;
use crate::tokens::read_json;
use crate::{Config, Hub, Llama, Result, Source, Special, gguf, load_shape};
use candle_core::Device;
use std::collections::HashMap;
use std::path::Path;
use tokenizers::Tokenizer;

/// Everything about a base model that is known without its weights.
pub struct Outline {
    pub config: Config,
    pub tokenizer: Tokenizer,
    pub special: Special,
    /// Jinja source of the model's own chat template, if it has one
    pub chat_template: Option<String>,
    pub weights: Weights,
    source: Source,
}

/// How many numbers the weights are, and which of them will be kept in two bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weights {
    /// Numbers of the embeddings, the head and the projections
    pub matrices: usize,
    /// Those of them that the file has in bf16, or in f32 that bf16 holds exactly (judged by each tensor's first numbers)
    pub halved: usize,
    /// Numbers of the norms
    pub vectors: usize,
    pub tensors: usize,
    /// The files are here. Where they are not, config.json's `dtype` was believed
    pub here: bool,
}

impl Weights {
    fn of(config: &Config, here: bool, halved: impl Fn(&str) -> bool) -> Self {
        let mut weights = Self {
            here,
            ..Self::default()
        };
        for (name, shape) in weight_shapes(config) {
            let n = shape.iter().product();
            weights.tensors += 1;
            if shape.len() < 2 {
                weights.vectors += n;
                continue;
            }
            weights.matrices += n;
            weights.halved += if halved(&name) { n } else { 0 };
        }
        weights
    }

    /// All of them.
    pub fn numbers(&self) -> usize {
        self.matrices + self.vectors
    }

    /// What they take once they are loaded, by the rule of `exact.rs`.
    pub fn bytes(&self, on_cpu: bool) -> usize {
        let halved = if on_cpu { self.halved } else { self.matrices };
        4 * self.numbers() - 2 * halved
    }
}

/// Reads what lies beside the weights, and their headers where they are here; of a hub model, config and tokenizer alone are fetched.
pub fn outline(source: &Source) -> Result<Outline> {
    match source {
        Source::Dir(dir) => of_dir(dir, source),
        Source::Hub(id) => of_dir(&Hub::from_env()?.fetch_shape(id)?, source),
        Source::Gguf(file) => {
            let header = gguf::Header::read(file)?;
            let weights = Weights::of(&header.config, true, |name| header.is_bf16(name));
            Ok(Outline {
                weights,
                source: source.clone(),
                config: header.config,
                tokenizer: header.tokenizer,
                special: header.special,
                chat_template: header.chat_template,
            })
        }
    }
}

fn of_dir(dir: &Path, source: &Source) -> Result<Outline> {
    let (config, tokenizer, special, chat_template) = load_shape(dir)?;
    let weights = match weight_files(dir) {
        Ok(files) => {
            let mut halved = HashMap::new();
            for path in files {
                let mut file = SafeFile::open(&path)?;
                for name in file.names() {
                    let exact = file.begins_in_bf16(&name)?;
                    halved.insert(name, exact);
                }
            }
            Weights::of(&config, true, |name| halved.get(name) == Some(&true))
        }
        // the loader will say what is missing
        Err(_) => {
            let bf16 = says_bf16(dir)?;
            Weights::of(&config, false, |_| bf16)
        }
    };
    Ok(Outline {
        config,
        tokenizer,
        special,
        chat_template,
        weights,
        source: source.clone(),
    })
}

/// `dtype` of config.json (transformers 5) or `torch_dtype` (4).
fn says_bf16(dir: &Path) -> Result<bool> {
    let config = read_json(&dir.join("config.json"))?.unwrap_or_default();
    let dtype = ["dtype", "torch_dtype"].map(|key| config[key].as_str());
    Ok(dtype.into_iter().flatten().next() == Some("bfloat16"))
}

impl Outline {
    /// The same model with fresh random weights, f32: what `Llama::init` makes.
    pub fn random(dir: &Path) -> Result<Self> {
        let mut outline = of_dir(dir, &Source::Dir(dir.to_path_buf()))?;
        outline.weights.halved = 0;
        Ok(outline)
    }

    /// Reads the weights.
    pub fn load(self, device: &Device) -> Result<Loaded> {
        let model = match &self.source {
            Source::Dir(dir) => read_weights(dir, &self.config, device)?,
            Source::Hub(id) => {
                let dir = Hub::from_env()?.fetch(id)?;
                read_weights(&dir, &self.config, device)?
            }
            Source::Gguf(file) => gguf::Header::read(file)?.read_weights(device)?,
        };
        ops::in_large_pages(model.matrices());
        Ok(self.with(model))
    }

    /// With weights that come from elsewhere.
    pub fn with(self, model: Llama) -> Loaded {
        Loaded {
            model,
            tokenizer: self.tokenizer,
            special: self.special,
            chat_template: self.chat_template,
        }
    }
}
