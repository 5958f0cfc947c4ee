//! A base model before its weights are read: its shape, its tokenizer, and what its weights will take.

use crate::gguf;
use crate::load::{Loaded, read_weights, weight_files};
use crate::model::weight_shapes;
use crate::safe::{SafeFile, is_pointer};
use crate::tokens::read_json;
use crate::weight_storage::{Kept, WeightStorage};
use crate::{BaseWeights, CausalLm, Config, Fetch, Hub, Result, Source, Special, load_shape};
use candle_core::Device;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use tokenizers::Tokenizer;

/// Everything about a base model that is known without its weights.
pub struct ModelMeta {
    pub config: Config,
    pub tokenizer: Tokenizer,
    pub special: Special,
    /// Jinja source of the model's own chat template, if it has one
    pub chat_template: Option<String>,
    /// What the projections are kept in where the base is frozen
    pub projections: BaseWeights,
    place: Place,
}

/// Where the weights come from: the very files that the rest was read beside.
enum Place {
    /// Of a hub model its snapshot
    Dir(PathBuf),
    Gguf(Box<gguf::Tensors>),
    /// Drawn from this seed
    Random(u64),
}

/// How many numbers the weights are, and what they will be kept in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weights {
    /// All of them
    pub numbers: usize,
    /// What they take
    bytes: usize,
    /// What a card takes beside them
    room: usize,
    /// The matrices, by name
    pub(crate) kept: HashMap<String, Kept>,
    pub tensors: usize,
    /// The files are here. Where they are not, config.json's `dtype` was believed
    pub here: bool,
}

impl Weights {
    /// `kept`: what becomes of a matrix of this name and width.
    fn of(
        config: &Config,
        (here, keep): (bool, WeightStorage),
        kept: impl Fn(&str, usize) -> Result<Kept>,
    ) -> Result<Self> {
        let mut weights = Self {
            here,
            ..Self::default()
        };
        for (name, shape) in weight_shapes(config) {
            let n: usize = shape.iter().product();
            weights.tensors += 1;
            weights.numbers += n;
            if let [rows, width] = shape[..] {
                let kept = kept(&name, width)?;
                weights.bytes += kept.bytes((rows, width));
                if keep == WeightStorage::Rounded && matches!(kept, Kept::Blocks(_)) {
                    weights.room = weights.room.max(2 * n);
                }
                weights.kept.insert(name, kept);
            } else {
                weights.bytes += 4 * n;
            }
        }
        Ok(weights)
    }

    /// What they take once they are loaded.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// With the room that a card takes to multiply by the largest matrix in blocks, which is bf16 for the time of a product.
    pub fn bytes_in_use(&self) -> usize {
        self.bytes + self.room
    }
}

/// Reads what lies beside the weights. `fetch`: what of a hub model must be here for it.
pub fn model_meta(source: &Source, fetch: Fetch) -> Result<ModelMeta> {
    match source {
        Source::Dir(dir) => ModelMeta::of_dir(dir),
        Source::Hub(id) => ModelMeta::of_hub(&Hub::from_env()?, id, fetch),
        Source::Gguf(file) => {
            let header = gguf::Header::read(file)?;
            Ok(ModelMeta {
                config: header.config,
                tokenizer: header.tokenizer,
                special: header.special,
                chat_template: header.chat_template,
                projections: BaseWeights::Stored,
                place: Place::Gguf(Box::new(header.tensors)),
            })
        }
    }
}

impl ModelMeta {
    fn of_dir(dir: &Path) -> Result<Self> {
        let (config, tokenizer, special, chat_template) = load_shape(dir)?;
        Ok(Self {
            config,
            tokenizer,
            special,
            chat_template,
            projections: BaseWeights::Stored,
            place: Place::Dir(dir.to_path_buf()),
        })
    }

    /// Of a model `org/name`, in the revision that is in the cache now.
    pub fn of_hub(hub: &Hub, id: &str, fetch: Fetch) -> Result<Self> {
        Self::of_dir(&hub.fetch(id, fetch)?)
    }

    /// The shape and tokenizer of `dir` with fresh random weights, f32, whatever weights lie there.
    pub fn random(dir: &Path, seed: u64) -> Result<Self> {
        Ok(Self {
            place: Place::Random(seed),
            ..Self::of_dir(dir)?
        })
    }

    /// What the weights will take if they are kept so. Files are opened where it depends on their numbers, and read as far as it does.
    pub fn weights(&self, keep: WeightStorage) -> Result<Weights> {
        let (config, projections) = (&self.config, self.projections);
        let dir = match &self.place {
            Place::Random(_) => {
                return Weights::of(config, (true, keep), |name, width| {
                    keep.kept(projections, (name, width), None, || Ok(false))
                });
            }
            Place::Gguf(tensors) => {
                return Weights::of(config, (true, keep), |name, width| {
                    let in_bf16 = || tensors.in_bf16(name);
                    keep.kept(projections, (name, width), tensors.blocks(name), in_bf16)
                });
            }
            Place::Dir(dir) => dir,
        };
        // what is missing the loader will say
        let files = weight_files(dir).unwrap_or_default();
        let here = !files.is_empty() && !files.iter().any(|file| is_pointer(file));
        let open = here && keep == WeightStorage::Exact;
        let files = files.iter().filter(|_| open);
        let files = files.map(|file| SafeFile::open(file));
        let files = files.collect::<Result<Vec<_>>>()?;
        let said = keep == WeightStorage::Exact && !here && says_bf16(dir)?;
        Weights::of(config, (here, keep), |name, width| {
            keep.kept(projections, (name, width), None, || {
                let holds = files.iter().find(|file| file.shape(name).is_ok());
                holds.map_or(Ok(said), |file| file.in_bf16(name))
            })
        })
    }

    /// Reads the weights.
    pub fn load(self, device: &Device, keep: WeightStorage) -> Result<Loaded> {
        let config = &self.config;
        let model = match self.place {
            Place::Dir(dir) => read_weights(&dir, config, device, keep, self.projections)?,
            Place::Gguf(tensors) => tensors.read_weights(config, device, keep, self.projections)?,
            Place::Random(seed) => CausalLm::random(config, seed, device, |name, weight| {
                keep.keep(self.projections, name, weight, device)
            })?,
        };
        // those that are trained will move once more
        if keep != WeightStorage::Whole {
            ops::in_large_pages(model.matrices());
        }
        Ok(Loaded {
            model,
            tokenizer: self.tokenizer,
            special: self.special,
            chat_template: self.chat_template,
        })
    }
}

/// `dtype` of config.json (transformers 5) or `torch_dtype` (4).
fn says_bf16(dir: &Path) -> Result<bool> {
    let config = read_json(&dir.join("config.json"))?.unwrap_or_default();
    let dtype = ["dtype", "torch_dtype"].map(|key| config[key].as_str());
    Ok(dtype.into_iter().flatten().next() == Some("bfloat16"))
}
