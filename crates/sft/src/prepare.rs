//! What an sft run starts from before any weight is loaded: the model's metadata, with every check
//! that needs no row, and then the encoded rows. Training and `plan` both start here.

use crate::config::{Config, Method};
use anyhow::{Result, bail};
use candle_core::Device;
use data::{DataFiles, Demonstration, Encoder, Example, Examples, Preparing, Prompt, TrainOn};
use models::{Fetch, Lora, LoraConfig, WeightStorage, WeightsMeta};
use policy::{Base, DeviceChoice, Policy, PolicyMeta, PolicyText};
use std::collections::HashSet;
use std::path::Path;
use std::rc::Rc;

/// Samples decoded together.
pub(crate) const SAMPLE_ROWS: usize = 16;

/// The model that training starts from, before any row is read.
pub(crate) struct Opened {
    pub meta: PolicyMeta,
    /// How the base's matrices are stored
    keep: WeightStorage,
    /// The trained adapter; `None` if every weight is trained
    lora: Option<LoraConfig>,
    train_on: TrainOn,
    /// A run is continued
    is_resumed: bool,
    /// As [`data::ReadOptions::drops_tools`]
    drops_tools: bool,
}

pub(crate) struct Prepared {
    pub meta: PolicyMeta,
    /// How the base's matrices are stored, and their size
    pub keep: WeightStorage,
    pub weights: WeightsMeta,
    /// The trained adapter; `None` if every weight is trained
    pub lora: Option<LoraConfig>,
    pub train: Examples<1>,
    pub eval: Examples<1>,
    /// Held-out prompts whose answers are shown during training
    pub prompts: Vec<Prompt>,
    /// Tokens of each of `prompts`
    pub prompt_lens: Vec<usize>,
    /// Held-out prompts that are training prompts, too
    pub n_shared: usize,
    pub files: DataFiles,
}

/// The model and adapter that training starts from.
pub(crate) struct Start {
    pub base: Base,
    pub adapter: Option<Lora>,
    pub template: data::Template,
    pub encoder: data::Encoder,
}

impl Opened {
    /// Opens the model without its weights. `resumed`: the run that is continued.
    pub fn new(config: &Config, resumed: Option<&Path>) -> Result<Self> {
        let device = DeviceChoice::parse(&config.device)?;
        let (meta, lora) = model_meta(config, resumed)?;
        config.data.check_context(meta.context())?;
        check_room(config, meta.context())?;
        Ok(Self {
            keep: WeightStorage::of(device.is_cpu(), lora.is_none()),
            meta,
            lora,
            train_on: train_on(config, resumed)?,
            is_resumed: resumed.is_some(),
            drops_tools: run::began_before(resumed, run::Rules::Tools)?,
        })
    }

    /// Reads and encodes the data. `fetch`: which files of a hub model must be local.
    pub fn prepare(self, config: &Config, fetch: Fetch) -> Result<Prepared> {
        let Self {
            mut meta,
            keep,
            lora,
            ..
        } = self;
        let preparing = Preparing {
            config: &config.data,
            seed: config.train.seed,
            encode: examples,
            train_on: self.train_on,
            must_end: !self.is_resumed,
            drops_tools: self.drops_tools,
            cache_dir: data::cache_dir(),
            n_shown: config.samples.n,
            limits: config.data.limits(),
            keeps_prompts: false,
        };
        let encoder = meta.encoder.clone().within(config.data.max_len);
        let rows = preparing.rows(&encoder, &mut ())?;
        if fetch == Fetch::Whole {
            meta.fetch_weights()?;
        }
        if rows.train.is_empty() {
            bail!(
                "{}: no row is left to train on; raise data.max_len or lower data.held_out",
                config.data.selection().shown()
            );
        }
        data::report_mixture(&config.data.selection(), &rows.train.mixture());
        if let Some(note) = data::few_held_out(rows.held_out.len()) {
            run::say!("{note}");
        }
        let (prompts, prompt_lens) = sample_prompts(&rows.shown, &meta, config)?;
        Ok(Prepared {
            weights: meta.base.weights(keep)?,
            keep,
            meta,
            lora,
            train: rows.train,
            eval: rows.held_out,
            prompts,
            prompt_lens,
            n_shared: rows.n_shared,
            files: rows.files,
        })
    }

    /// Says that prompts are written in Alpaca's format for a model that has one of its own, where
    /// the settings do not ask for it (`is_given`).
    pub fn report_template(&self, is_given: bool) {
        let has_own = self.meta.base.chat_template.is_some() && !self.meta.is_of_run();
        if !is_given && has_own && self.meta.template == data::Template::Alpaca {
            run::say!(
                "{}: the model has a chat template, but prompts are written in Alpaca's format, the \
                 default of sft; set model.template = \"chat\" to use the model's own, or \
                 \"alpaca\" to keep this",
                self.meta.source
            );
        }
    }
}

impl Prepared {
    /// Loads the weights.
    pub fn load(self, config: &Config, device: &Device) -> Result<Loaded> {
        let policy = self.meta.load(device, self.keep)?;
        let Policy {
            base,
            adapter,
            encoder,
            template,
            ..
        } = policy;
        let base =
            Rc::try_unwrap(base).unwrap_or_else(|_| unreachable!("the base has one owner here"));
        let mut start = Start {
            base,
            adapter: None,
            template,
            encoder,
        };
        match &self.lora {
            None => {
                start.base.model.make_trainable()?;
            }
            Some(lora) => {
                let adapter = match adapter {
                    Some(adapter) => adapter,
                    None => Lora::init(lora, &start.base.model, config.train.seed)?,
                };
                start.adapter = Some(adapter.trainable()?);
            }
        }
        Ok(Loaded {
            start,
            train: self.train,
            eval: self.eval,
            prompts: self.prompts,
            n_shared: self.n_shared,
            files: self.files,
        })
    }
}

/// [`Prepared`] with its weights loaded.
pub(crate) struct Loaded {
    pub start: Start,
    pub train: Examples<1>,
    pub eval: Examples<1>,
    pub prompts: Vec<Prompt>,
    pub n_shared: usize,
    pub files: DataFiles,
}

/// The model's metadata, and the adapter to train.
fn model_meta(config: &Config, resumed: Option<&Path>) -> Result<(PolicyMeta, Option<LoraConfig>)> {
    let template = config.template()?;
    let full = config.method == Method::Full;
    let meta = match &config.model.random {
        Some(_) if !full => {
            bail!(
                "model.random needs method = \"full\": an adapter on random weights learns nothing"
            )
        }
        Some(dir) => PolicyMeta::random(dir, config.train.seed, template)?,
        None => {
            let source = PolicyText {
                text: &config.model.source,
                base: config.model.base.as_deref(),
                resumed,
            };
            PolicyMeta::open(source, template, config.model.weights, Fetch::Shape)?
        }
    };
    let meta = meta.at(config.model.template_date.as_deref(), resumed)?;
    if full {
        if meta.adapter.is_some() {
            bail!(
                "method = \"full\" cannot start from the adapter of {}; merge it first",
                config.model.source
            );
        }
        return Ok((meta, None));
    }
    let lora = meta.lora_or(&config.lora)?;
    Ok((meta, Some(lora)))
}

/// Fails if the samples leave no room for a prompt.
fn check_room(config: &Config, context: usize) -> Result<()> {
    let (n, room) = (config.samples.n, config.samples.max_new_tokens);
    if n > 0 && room >= context {
        bail!("samples.max_new_tokens = {room} fills the model's context of {context}; lower it");
    }
    Ok(())
}

/// The first held-out prompts, each once, that leave room for a sample, and their tokens. They may
/// be longer than the rows of `data.max_len`.
fn sample_prompts(
    held_out: &[Demonstration],
    meta: &PolicyMeta,
    config: &Config,
) -> Result<(Vec<Prompt>, Vec<usize>)> {
    let (n, room) = (config.samples.n, config.samples.max_new_tokens);
    let context = meta.decoding_context();
    let (mut prompts, mut lens, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    for demonstration in held_out {
        if prompts.len() == n {
            break;
        }
        // Texts for pre-training have the same prompt, none.
        let is_text = matches!(demonstration.prompt.ask, data::Ask::Raw(_));
        if !is_text && !seen.insert(demonstration.prompt.key()) {
            continue;
        }
        let len = meta.encoder.prompt(&demonstration.prompt)?.len();
        if len + room <= context {
            prompts.push(demonstration.prompt.clone());
            lens.push(len);
        }
    }
    Ok((prompts, lens))
}

/// The examples of a row.
fn examples(
    encoder: &Encoder,
    row: &Demonstration,
    train_on: TrainOn,
) -> data::Result<Vec<[Example; 1]>> {
    let examples = match train_on {
        TrainOn::All => encoder.conversation(row)?,
        TrainOn::Last => vec![encoder.demonstration(row)?],
    };
    Ok(examples.into_iter().map(|example| [example]).collect())
}

/// `data.train_on`, or what it is where it is not given.
fn train_on(config: &Config, resumed: Option<&Path>) -> Result<TrainOn> {
    let is_old = run::began_before(resumed, run::Rules::AllAnswers)?;
    Ok(config.data.train_on.unwrap_or(match is_old {
        true => TrainOn::Last,
        false => TrainOn::All,
    }))
}
