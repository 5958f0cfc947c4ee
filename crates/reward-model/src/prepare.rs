//! What a reward-model run starts from before any weight is loaded: the policy's metadata, with
//! every check that needs no pair, and then the encoded pairs. Training and `plan` both start here.

use crate::config::Config;
use crate::pair::Pairs;
use anyhow::{Result, bail};
use data::{DataFiles, Encoder, Example, Preference, Preparing, TrainOn};
use generation::{Request, Sampling};
use models::{Fetch, LoraConfig, WeightStorage, WeightsMeta};
use policy::{DeviceChoice, PolicyMeta, PolicyText, TemplateChoice};
use std::path::Path;

/// Held-out pairs whose scores are shown during training and stored with the artefact.
pub(crate) const SHOWN: usize = 4;

/// The policy that training starts from, before any pair is read.
pub(crate) struct Opened {
    pub meta: PolicyMeta,
    keep: WeightStorage,
    lora: LoraConfig,
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
    /// The trained adapter
    pub lora: LoraConfig,
    pub train: Pairs,
    pub eval: Pairs,
    /// Requests to the source policy; the scores of its answers normalise the reward
    pub requests: Vec<Request>,
    /// Held-out prompts that are training prompts, too
    pub n_shared: usize,
    pub files: DataFiles,
}

impl Opened {
    /// Opens the policy without its weights. `resumed`: the run that is continued.
    pub fn new(config: &Config, resumed: Option<&Path>) -> Result<Self> {
        let template = TemplateChoice::parse(&config.model.template)?;
        let source = PolicyText {
            text: &config.model.source,
            base: config.model.base.as_deref(),
            resumed,
        };
        let meta = PolicyMeta::open(source, template, config.model.weights, Fetch::Shape)?;
        let meta = meta.at(config.model.template_date.as_deref(), resumed)?;
        let keep = WeightStorage::of(DeviceChoice::parse(&config.device)?.is_cpu(), false);
        let lora = meta.lora_or(&config.lora)?;
        config.data.check_context(meta.context())?;
        check_room(config, meta.context())?;
        Ok(Self {
            meta,
            keep,
            lora,
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
            is_resumed,
            drops_tools,
        } = self;
        let preparing = Preparing {
            config: &config.data,
            seed: config.train.seed,
            encode: pair,
            train_on: TrainOn::Last,
            must_end: !is_resumed,
            drops_tools,
            cache_dir: data::cache_dir(),
            n_shown: config.reward.normalisation_samples,
            limits: config.data.limits(),
            keeps_prompts: false,
        };
        let encoder = meta.encoder.clone().within(config.data.max_len);
        let rows = preparing.rows(&encoder, &mut ())?;
        if fetch == Fetch::Whole {
            meta.fetch_weights()?;
        }
        if rows.shown.is_empty() {
            bail!("no pair is held out; raise data.held_out or give data.eval_path");
        }
        if rows.train.is_empty() {
            bail!(
                "{}: no pair is left to train on; raise data.max_len or lower data.held_out",
                config.data.selection().shown()
            );
        }
        if rows.held_out.is_empty() {
            bail!("no held-out pair is left; raise data.max_len or give data.eval_path");
        }
        data::report_mixture(&config.data.selection(), &rows.train.mixture());
        if let Some(note) = data::few_held_out(rows.held_out.len()) {
            run::say!("{note}");
        }
        let requests = requests(&meta, &rows.shown, config)?;
        Ok(Prepared {
            weights: meta.base.weights(keep)?,
            keep,
            meta,
            lora,
            train: Pairs(rows.train),
            eval: Pairs(rows.held_out),
            requests,
            n_shared: rows.n_shared,
            files: rows.files,
        })
    }
}

/// Fails if the samples that normalise the reward leave no room for a prompt.
fn check_room(config: &Config, context: usize) -> Result<()> {
    let room = config.reward.normalisation_max_new_tokens;
    if room >= context {
        bail!(
            "reward.normalisation_max_new_tokens = {room} fills the model's context of {context}; \
             lower it"
        );
    }
    Ok(())
}

/// The answers of a pair. If one is too long, `data.too_long` applies to both.
fn pair(encoder: &Encoder, row: &Preference, _: TrainOn) -> data::Result<Vec<[Example; 2]>> {
    Ok(vec![[
        encoder.example(&row.prompt, &row.chosen)?,
        encoder.example(&row.prompt, &row.rejected)?,
    ]])
}

/// Held-out prompts for the samples on which the mean and variance of the reward are measured.
fn requests(meta: &PolicyMeta, held_out: &[Preference], config: &Config) -> Result<Vec<Request>> {
    let r = &config.reward;
    let sampling = Sampling {
        max_new_tokens: r.normalisation_max_new_tokens,
        ..Sampling::default()
    };
    let limit = meta
        .decoding_context()
        .saturating_sub(r.normalisation_max_new_tokens);
    let mut requests: Vec<Request> = Vec::new();
    for preference in held_out {
        let prompt = meta.encoder.prompt(&preference.prompt)?;
        if prompt.len() <= limit.min(config.data.max_len)
            && !requests.iter().any(|r| r.prompt == prompt)
        {
            requests.push(Request {
                prompt,
                n: 1,
                sampling,
                stream: [config.train.seed, 0, requests.len() as u64],
            });
        }
        if requests.len() == r.normalisation_samples {
            break;
        }
    }
    if requests.is_empty() {
        bail!(
            "no held-out prompt leaves room for an answer; lower reward.normalisation_max_new_tokens"
        );
    }
    let each = r.normalisation_samples.div_ceil(requests.len());
    requests.iter_mut().for_each(|request| request.n = each);
    Ok(requests)
}
