//! A base model before its weights are read: its shape, its tokenizer, and what its weights will
//! take in memory.

use crate::hf_files::read_json;
use crate::hf_shards::{self, look_for_shards};
use crate::hf_tokenizer::read_hf_directory;
use crate::hf_weights::{has_other_head, read_weights};
use crate::safetensors_file::{SafetensorsFile, is_pointer};
use crate::weight_storage::{StoragePlan, WeightStorage};
use crate::{
    BaseWeights, CausalLm, Config, Error, Fetch, HfDefaults, ModelSource, Result, SpecialTokens,
    WeightsMeta, fetch_model, gguf,
};
use candle_core::Device;
use hub::HubSettings;
use std::path::{Path, PathBuf};
use tokenizers::Tokenizer;

/// A model with its tokenizer, special tokens and chat template.
pub struct Loaded {
    pub model: CausalLm,
    pub tokenizer: Tokenizer,
    pub special: SpecialTokens,
    /// Jinja source of the model's own chat template, if it has one.
    pub chat_template: Option<String>,
    /// What a copy of the model keeps of its files.
    pub defaults: HfDefaults,
}

/// Loads a frozen base model: exact on the CPU, rounded to bf16 on a GPU ([`WeightStorage`]).
///
/// ```
/// use models::{CausalLm, Config, ModelSource};
/// # use models::SpecialTokens;
///
/// let json = serde_json::json!({
///     "model_type": "llama", "vocab_size": 8, "hidden_size": 4, "intermediate_size": 8,
///     "num_hidden_layers": 1, "num_attention_heads": 2,
/// });
/// let cpu = candle_core::Device::Cpu;
/// let model = CausalLm::init(&Config::from_json(&json).unwrap(), 1, &cpu)?;
/// # let tokenizer: tokenizers::Tokenizer = r#"{"model": {"type": "WordLevel",
/// #     "vocab": {"<s>": 1, "</s>": 2, "a": 3}, "unk_token": "<s>"}}"#.parse().unwrap();
/// # let special = SpecialTokens { bos: None, eos: vec![(2, "</s>".into())], add_bos: false };
/// let dir = std::env::temp_dir().join(format!("wick-doc-{}", std::process::id()));
/// std::fs::create_dir_all(&dir).unwrap();
/// model.save_hf(&dir, &tokenizer, &special, None)?;
///
/// let loaded = models::load(&ModelSource::Dir(dir.clone()), &cpu)?;
/// assert_eq!(loaded.model.fingerprint()?, model.fingerprint()?);
/// # std::fs::remove_dir_all(dir).unwrap();
/// # Ok::<(), models::Error>(())
/// ```
pub fn load(source: &ModelSource, device: &Device) -> Result<Loaded> {
    model_meta(source, Fetch::Whole)?.load(
        device,
        WeightStorage::of(ops::keeps_exact_weights(device), false),
    )
}

/// Everything about a base model that is known without its weights.
pub struct ModelMeta {
    /// Its shape.
    pub config: Config,
    pub tokenizer: Tokenizer,
    pub special: SpecialTokens,
    /// Jinja source of the model's own chat template, if it has one.
    pub chat_template: Option<String>,
    /// What a copy of the model keeps of its files.
    pub defaults: HfDefaults,
    /// How files that contradict each other were settled, a line each.
    pub notes: Vec<String>,
    /// The format of the projections of a frozen base.
    pub projections: BaseWeights,
    weights: WeightsSource,
}

/// Where the weights come from: the very files that the rest was read beside.
enum WeightsSource {
    /// Of a hub model, its snapshot.
    Dir(PathBuf),
    Gguf(Box<gguf::Tensors>),
    /// Drawn from this seed.
    Random(u64),
}

/// Reads what a model has beside its weights. `fetch`: which files of a hub model are needed.
pub fn model_meta(source: &ModelSource, fetch: Fetch) -> Result<ModelMeta> {
    match source {
        ModelSource::Dir(dir) => ModelMeta::of_dir(dir),
        ModelSource::Hub(id) => ModelMeta::of_hub(&HubSettings::from_env()?, id, fetch),
        ModelSource::Gguf(file) => {
            let header = gguf::Header::read(file)?;
            Ok(ModelMeta {
                config: header.config,
                tokenizer: header.tokenizer,
                special: header.special,
                chat_template: header.chat_template,
                defaults: header.defaults,
                notes: header.notes,
                projections: BaseWeights::Stored,
                weights: WeightsSource::Gguf(Box::new(header.tensors)),
            })
        }
    }
}

impl ModelMeta {
    fn of_dir(dir: &Path) -> Result<Self> {
        let mut read = read_hf_directory(dir)?;
        read.notes.extend(hf_shards::notes(dir));
        if read.config.tie_word_embeddings && has_other_head(dir)? {
            read.config.tie_word_embeddings = false;
            read.notes.push(
                "config.json says tie_word_embeddings, but the weights hold an lm_head that differs from \
                 the embeddings; it is used, as in transformers"
                    .into(),
            );
        }
        Ok(Self {
            config: read.config,
            tokenizer: read.tokenizer,
            special: read.special,
            chat_template: read.chat_template,
            defaults: read.defaults,
            notes: read.notes,
            projections: BaseWeights::Stored,
            weights: WeightsSource::Dir(dir.to_path_buf()),
        })
    }

    /// Of a model `org/name`, in the revision that is in the cache now.
    pub fn of_hub(hub: &HubSettings, id: &str, fetch: Fetch) -> Result<Self> {
        Self::of_dir(&fetch_model(hub, id, fetch)?)
    }

    /// Fetches the weights of a hub model that was opened with [`Fetch::Shape`]; other models are
    /// whole. Returns the notes that only the weights give.
    ///
    /// Errors: the hub has another revision by now.
    pub fn fetch_weights(&mut self, source: &ModelSource) -> Result<Vec<String>> {
        let ModelSource::Hub(id) = source else {
            return Ok(Vec::new());
        };
        let whole = Self::of_hub(&HubSettings::from_env()?, id, Fetch::Whole)?;
        match (&self.weights, &whole.weights) {
            (WeightsSource::Dir(before), WeightsSource::Dir(now)) if before == now => {}
            _ => {
                return Err(Error::Input(format!(
                    "model {id} changed on the hub while the rows were read; run again"
                )));
            }
        }
        self.config = whole.config;
        let is_new = |note: &String| !self.notes.contains(note);
        let new: Vec<String> = whole.notes.into_iter().filter(is_new).collect();
        self.notes.extend(new.iter().cloned());
        Ok(new)
    }

    /// The shape and tokenizer of `dir` with fresh random f32 weights. Weights in `dir` are not
    /// read.
    pub fn random(dir: &Path, seed: u64) -> Result<Self> {
        Ok(Self {
            weights: WeightsSource::Random(seed),
            ..Self::of_dir(dir)?
        })
    }

    /// What the weights will take in this storage. Files are opened only if it depends on their
    /// numbers, and read only as far as it does.
    pub fn weights(&self, storage: WeightStorage) -> Result<WeightsMeta> {
        let (config, plan) = (&self.config, self.plan(storage));
        let dir = match &self.weights {
            WeightsSource::Random(_) => {
                return WeightsMeta::count(config, storage, |matrix| {
                    plan.format((matrix.slot, matrix.width), None, || Ok(false))
                });
            }
            WeightsSource::Gguf(tensors) => {
                return WeightsMeta::count(config, storage, |matrix| {
                    let stored = tensors.blocks(matrix.gguf_name);
                    plan.format((matrix.slot, matrix.width), stored, || {
                        tensors.fits_bf16(matrix.gguf_name)
                    })
                });
            }
            WeightsSource::Dir(dir) => dir,
        };
        // the loader reports what is missing
        let shards = look_for_shards(dir)?.unwrap_or_default();
        let present = !shards.is_empty() && !shards.iter().any(|shard| is_pointer(&shard.path));
        let numbers_matter = storage == WeightStorage::Exact;
        let files = shards.iter().filter(|_| present && numbers_matter);
        let files = files.map(|shard| Ok((shard, SafetensorsFile::open(&shard.path)?)));
        let files = files.collect::<Result<Vec<_>>>()?;
        let declared = numbers_matter && !present && declares_bf16(dir)?;
        let mut weights = WeightsMeta::count(config, storage, |matrix| {
            plan.format((matrix.slot, matrix.width), None, || {
                let name = matrix.hf_name;
                let found = files.iter().find(|(shard, file)| shard.has(file, name));
                found.map_or(Ok(declared), |(_, file)| file.fits_bf16(name))
            })
        })?;
        weights.present = present;
        Ok(weights)
    }

    /// Reads the weights.
    pub fn load(self, device: &Device, storage: WeightStorage) -> Result<Loaded> {
        let (config, plan) = (&self.config, self.plan(storage));
        let model = match self.weights {
            WeightsSource::Dir(dir) => read_weights(&dir, config, device, plan)?,
            WeightsSource::Gguf(tensors) => tensors.read_weights(config, device, plan)?,
            WeightsSource::Random(seed) => {
                CausalLm::random(config, seed, device, |slot, weight| {
                    plan.convert(slot, weight, device)
                })?
            }
        };
        // weights that are trained will be copied once more
        if storage != WeightStorage::Whole {
            ops::in_large_pages(model.matrices());
        }
        Ok(Loaded {
            model,
            tokenizer: self.tokenizer,
            special: self.special,
            chat_template: self.chat_template,
            defaults: self.defaults,
        })
    }

    fn plan(&self, storage: WeightStorage) -> StoragePlan {
        StoragePlan {
            storage,
            projections: self.projections,
        }
    }
}

/// `dtype` of config.json (transformers 5) or `torch_dtype` (4).
fn declares_bf16(dir: &Path) -> Result<bool> {
    let config = read_json(&dir.join("config.json"))?.unwrap_or_default();
    let dtype = ["dtype", "torch_dtype"].map(|key| config[key].as_str());
    Ok(dtype.into_iter().flatten().next() == Some("bfloat16"))
}
