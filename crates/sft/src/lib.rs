//! Supervised fine-tuning: a base model and demonstrations in, a LoRA adapter (or a whole model) out.
//! The loss is the mean negative log-likelihood of response tokens and EOS.

mod config;
mod objective;

pub use config::Config;

use anyhow::{Context, Result, bail};
use config::Method;
use data::{Demonstration, Example};
use llama::{Llama, Lora};
use objective::Objective;
use run::{Run, RunArgs};
use stage::memory::{self, Workload};
use stage::{Base, Policy};
use std::path::Path;
use std::rc::Rc;

/// Trains and returns the run directory.
pub fn run(args: &RunArgs, config: &Config) -> Result<()> {
    let device = stage::device(&config.device)?;
    let dir = args.run.clone().unwrap_or_else(|| "runs/sft".into());
    if !args.resume && dir.exists() {
        bail!(
            "{} exists; continue it with --resume or choose another --run",
            dir.display()
        );
    }
    let demonstrations = read(&config.data.path, config)?;
    let mut start = start(config, &device)?;

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
    let fit = |name: &str, items: &[Demonstration]| examples(name, items, &start, config);
    let train = fit("training", &train)?;
    let eval = fit("held-out", &held_out)?;
    if train.is_empty() {
        bail!(
            "{}: no row is left to train on; raise data.max_len or lower data.held_out",
            config.data.path.display()
        );
    }
    let prompts = sample_prompts(&held_out, &start, config)?;

    let work = workload(&start, &train, &prompts, config);
    let memory = config.memory().apply(&mut start.base.model, &work)?;
    let mut run = if args.resume {
        Run::resume(&dir, "sft", config)?
    } else {
        Run::create(&dir, "sft", config)?
    };
    stage::write_identity(&mut run, &start.base, &start.template)?;
    let source = match &config.model.random {
        Some(shape) => format!("random weights of the shape of {}", shape.display()),
        None => config.model.source.clone(),
    };
    run.record("source", source.into())?;
    stage::record_data(
        &mut run,
        &config.data.path,
        serde_json::json!({ "train_rows": train.len(), "held_out_rows": eval.len(), "held_out_in_training": n_shared }),
    )?;
    let inputs: Vec<&Path> = config.data.eval_path.as_deref().into_iter().collect();
    stage::record_inputs(&mut run, &inputs)?;
    run.record("memory", memory)?;
    let mut objective = Objective::new(start, config, eval, prompts)?;
    run.record("parameters", objective.parameter_counts())?;
    train::fit(&mut objective, &train, &config.train, &mut run, args.resume)?;
    Ok(())
}

/// What training starts from.
pub(crate) struct Start {
    pub base: Base,
    pub adapter: Option<Lora>,
    pub template: data::Template,
    pub encoder: data::Encoder,
}

fn start(config: &Config, device: &candle_core::Device) -> Result<Start> {
    let mut start = if let Some(spec) = &config.model.random {
        let base = random_base(spec, config, device)?;
        let template = config.template()?.resolve(&base)?;
        let encoder = stage::encoder(&base, &template)?;
        Start {
            base,
            adapter: None,
            template,
            encoder,
        }
    } else {
        let policy = Policy::open(&config.model.source, config.template()?, device)?;
        let Policy {
            base,
            adapter,
            encoder,
            template,
            ..
        } = policy;
        let base =
            Rc::try_unwrap(base).unwrap_or_else(|_| unreachable!("the base has one owner here"));
        Start {
            base,
            adapter,
            template,
            encoder,
        }
    };
    if config.method == Method::Full {
        if start.adapter.is_some() {
            bail!(
                "method = \"full\" cannot start from the adapter of {}; merge it first",
                config.model.source
            );
        }
        start.base.model.make_trainable()?;
    } else {
        let adapter = match start.adapter.take() {
            Some(adapter) => adapter,
            None => Lora::init(&config.lora, &start.base.model, config.train.seed)?,
        };
        start.adapter = Some(adapter.trainable()?);
    }
    Ok(start)
}

/// What a step holds in memory.
fn workload(
    start: &Start,
    train: &[Example],
    prompts: &[data::Prompt],
    config: &Config,
) -> Workload {
    let (lens, t) = (train.iter().map(|e| e.ids.len()), &config.train);
    let vars = match &start.adapter {
        Some(adapter) => adapter.vars(),
        None => start.base.model.vars(),
    };
    let room = config.samples.max_new_tokens;
    Workload {
        weight_bytes: start.base.model.bytes(),
        parameters: vars.iter().map(|(_, var)| var.elem_count()).sum(),
        frozen: 0,
        graphs: vec![start.adapter.as_ref().map(|a| a.config.clone())],
        longest: lens.clone().max().unwrap_or(0),
        tokens: memory::micro_batch(lens, t.batch_size, t.micro_batch_tokens),
        cache_rows: prompts.len() * (config.data.max_len + room),
        decoded: prompts.len(),
        kept_states: 0,
    }
}

/// A model of the shape of `config.json` in `dir`, with its tokenizer and fresh weights.
fn random_base(dir: &Path, config: &Config, device: &candle_core::Device) -> Result<Base> {
    if config.method != Method::Full {
        bail!("model.random needs method = \"full\": an adapter on random weights learns nothing");
    }
    let (model_config, tokenizer, special, chat_template) = llama::load_shape(dir)?;
    Ok(Base {
        source: dir.to_string_lossy().into_owned(),
        model: Llama::init(&model_config, config.train.seed, device)?,
        tokenizer,
        special,
        chat_template,
    })
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

/// The first held-out prompts that leave room for a sample.
fn sample_prompts(
    held_out: &[Demonstration],
    start: &Start,
    config: &Config,
) -> Result<Vec<data::Prompt>> {
    let (n, room) = (config.samples.n, config.samples.max_new_tokens);
    let context = start.base.model.config.max_position_embeddings;
    if n > 0 && room >= context {
        bail!("samples.max_new_tokens = {room} fills the model's context of {context}; lower it");
    }
    let mut prompts = Vec::new();
    for demonstration in held_out {
        if prompts.len() == n {
            break;
        }
        if start.encoder.prompt(&demonstration.prompt)?.len() + room <= context {
            prompts.push(demonstration.prompt.clone());
        }
    }
    Ok(prompts)
}

fn examples(
    name: &str,
    items: &[Demonstration],
    start: &Start,
    config: &Config,
) -> Result<Vec<Example>> {
    let encode = |d: &Demonstration| start.encoder.example(&d.prompt, &d.response);
    let all = items
        .iter()
        .map(encode)
        .collect::<data::Result<Vec<_>>>()
        .context("tokenising")?;
    if !all.is_empty() {
        data::check_labels(&all, start.encoder.ends().eos)?;
    }
    let context = start.base.model.config.max_position_embeddings;
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
