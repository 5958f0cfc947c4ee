//! What an sft run begins with before a weight is read: the model's outline and the encoded rows.
//! The run and its plan begin here.

use crate::config::{Config, Method};
use anyhow::{Context, Result, bail};
use candle_core::Device;
use data::{Demonstration, Example, Prompt};
use models::{Fetch, Lora, LoraConfig, WeightStorage, Weights};
use planning::memory::{self, Batches, Drawing, Forward, Graph, Reading, Workload};
use policy::{Base, DeviceChoice, Policy, PolicyMeta};
use std::path::Path;
use std::rc::Rc;

/// Samples decoded together.
pub(crate) const SAMPLE_ROWS: usize = 16;

pub(crate) struct Prepared {
    pub meta: PolicyMeta,
    /// How the base's matrices are kept, and what they take then
    pub keep: WeightStorage,
    pub weights: Weights,
    /// Of the adapter that is trained; None: every weight is
    pub lora: Option<LoraConfig>,
    pub train: Vec<Example>,
    pub eval: Vec<Example>,
    /// Held-out prompts answered on the way
    pub prompts: Vec<Prompt>,
    /// Tokens of each
    pub prompt_lens: Vec<usize>,
    /// Held-out rows that are training rows too
    pub n_shared: usize,
    pub batches: Batches,
    pub steps: usize,
}

/// What training starts from.
pub(crate) struct Start {
    pub base: Base,
    pub adapter: Option<Lora>,
    pub template: data::Template,
    pub encoder: data::Encoder,
}

impl Prepared {
    /// `fetch`: what of a hub model must be here.
    pub fn new(config: &Config, fetch: Fetch) -> Result<Self> {
        let demonstrations = read(&config.data.path, config)?;
        let device = DeviceChoice::parse(&config.device)?;
        let (meta, lora) = model_meta(config, fetch)?;
        let keep = WeightStorage::of(device.is_cpu(), lora.is_none());
        let (train, held_out) = match &config.data.eval_path {
            Some(path) => (demonstrations, read(path, config)?),
            None => {
                let seed = config.train.seed;
                data::split_by_key(
                    demonstrations,
                    |d| d.prompt.key(),
                    config.data.held_out,
                    seed,
                )
            }
        };
        let keys =
            |rows: &[Demonstration]| -> Vec<u64> { rows.iter().map(|d| d.prompt.key()).collect() };
        let n_shared = data::report_shared(&config.data.path, keys(&train), keys(&held_out));
        let fit = |name: &str, items: &[Demonstration]| examples(name, items, &meta, config);
        let train = fit("training", &train)?;
        let eval = fit("held-out", &held_out)?;
        if train.is_empty() {
            bail!(
                "{}: no row is left to train on; raise data.max_len or lower data.held_out",
                config.data.path.display()
            );
        }
        let (prompts, prompt_lens) = sample_prompts(&held_out, &meta, config)?;
        let t = &config.train;
        let steps = t.total_steps(train.len().div_ceil(t.batch_size));
        let lens: Vec<usize> = train.iter().map(|e| e.ids.len()).collect();
        let held: Vec<Forward> = lens.iter().map(|len| Forward::alone(*len)).collect();
        let cut = (t.batch_size, t.micro_batch_tokens);
        Ok(Self {
            batches: memory::of_fit(&lens, &held, cut, steps, t.seed),
            weights: meta.base.weights(keep)?,
            keep,
            meta,
            lora,
            train,
            eval,
            prompts,
            prompt_lens,
            n_shared,
            steps,
        })
    }

    /// What a step holds in memory.
    pub fn workload(&self, config: &Config) -> Result<Workload> {
        let device = DeviceChoice::parse(&config.device)?;
        let room = config.samples.max_new_tokens;
        let lens = |rows: &[Example]| rows.iter().map(|e| e.ids.len()).collect::<Vec<_>>();
        let (train, eval) = (lens(&self.train), lens(&self.eval));
        let longest = |lens: &[usize]| lens.iter().copied().max().unwrap_or(0);
        let held: Vec<Forward> = eval.iter().map(|len| Forward::alone(*len)).collect();
        let read = memory::largest_cut(&eval, &held, config.train.micro_batch_tokens);
        let mut work = Workload {
            device,
            weight_bytes: self.weights.bytes_in_use(),
            parameters: self.weights.numbers,
            adapter_numbers: 0,
            graphs: vec![Graph {
                name: "policy",
                lora: self.lora.clone(),
            }],
            largest: self.batches.largest,
            longest: longest(&train),
            reading: Reading {
                cut: read.tokens,
                whole: 0,
                longest: longest(&eval),
            },
            drawing: Drawing {
                rows_key: "samples.n",
                ..Drawing::of(&self.prompt_lens, self.prompts.len(), room, SAMPLE_ROWS)
            },
        };
        match &self.lora {
            Some(lora) => {
                work.parameters = lora.n_params(&self.meta.base.config);
                work.adapter_numbers = work.parameters;
            }
            // trained weights have a graph wherever they are read
            None => {
                work.largest = work.largest.or(read);
                work.longest = work.longest.max(work.reading.longest);
            }
        }
        Ok(work)
    }

    /// Reads the weights.
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
        })
    }
}

/// The same with weights.
pub(crate) struct Loaded {
    pub start: Start,
    pub train: Vec<Example>,
    pub eval: Vec<Example>,
    pub prompts: Vec<Prompt>,
    pub n_shared: usize,
}

/// The model's outline, and the adapter that will be trained.
fn model_meta(config: &Config, fetch: Fetch) -> Result<(PolicyMeta, Option<LoraConfig>)> {
    let template = config.template()?;
    let full = config.method == Method::Full;
    let meta = match &config.model.random {
        Some(_) if !full => {
            bail!(
                "model.random needs method = \"full\": an adapter on random weights learns nothing"
            )
        }
        Some(dir) => PolicyMeta::random(dir, config.train.seed, template)?,
        None => PolicyMeta::open(&config.model.source, template, config.model.weights, fetch)?,
    };
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

fn read(path: &Path, config: &Config) -> Result<Vec<Demonstration>> {
    let loaded = data::demonstrations(path, config.data.format)?;
    let mut loaded = loaded.only(path, config.data.only.as_ref(), |d| &d.prompt)?;
    loaded.report(path);
    if let Some(n) = config.data.max_rows {
        loaded.items.truncate(n);
    }
    Ok(loaded.items)
}

/// The first held-out prompts that leave room for a sample, and their tokens. They may be longer
/// than the rows of `data.max_len`.
fn sample_prompts(
    held_out: &[Demonstration],
    meta: &PolicyMeta,
    config: &Config,
) -> Result<(Vec<Prompt>, Vec<usize>)> {
    let (n, room) = (config.samples.n, config.samples.max_new_tokens);
    let context = meta.context();
    if n > 0 && room >= context {
        bail!("samples.max_new_tokens = {room} fills the model's context of {context}; lower it");
    }
    let (mut prompts, mut lens) = (Vec::new(), Vec::new());
    for demonstration in held_out {
        if prompts.len() == n {
            break;
        }
        let len = meta.encoder.prompt(&demonstration.prompt)?.len();
        if len + room <= context {
            prompts.push(demonstration.prompt.clone());
            lens.push(len);
        }
    }
    Ok((prompts, lens))
}

fn examples(
    name: &str,
    items: &[Demonstration],
    meta: &PolicyMeta,
    config: &Config,
) -> Result<Vec<Example>> {
    let encode = |d: &Demonstration| meta.encoder.example(&d.prompt, &d.response);
    let all = items
        .iter()
        .map(encode)
        .collect::<data::Result<Vec<_>>>()
        .context("tokenising")?;
    if !all.is_empty() {
        data::check_labels(&all, meta.encoder.ends().eos)?;
    }
    let context = meta.context();
    if config.data.max_len > context {
        bail!(
            "data.max_len = {} is more than the model's context of {context}",
            config.data.max_len
        );
    }
    let fitted = data::fit_to_context(all, config.data.max_len, config.data.too_long)?;
    fitted.report(name, config.data.max_len);
    Ok(fitted.items)
}
