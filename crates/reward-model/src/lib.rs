//! Reward modelling: pairs of answers in, one artefact out that scores any answer (adapter, head, template, EOS rule,
//! normalisation, golden scores).

mod config;
mod objective;

pub use config::Config;

use anyhow::{Result, bail};
use data::{Encoder, Example, Preference};
use generation::{Engine, Request, Sampling};
use objective::{Objective, Pair};
use run::{Run, RunArgs};
use stage::memory::{self, Workload};
use stage::{Policy, TemplateChoice};
use std::path::Path;

/// Samples drawn together.
const ROWS: usize = 16;

/// Trains into `args.run`.
pub fn run(args: &RunArgs, config: &Config) -> Result<()> {
    let dir = args.run.clone().unwrap_or_else(|| "runs/rm".into());
    if !args.resume && dir.exists() {
        bail!(
            "{} exists; continue it with --resume or choose another --run",
            dir.display()
        );
    }
    let device = stage::device(&config.device)?;
    let preferences = read(&config.data.path, config)?;
    let (train, mut held_out) = match &config.data.eval_path {
        Some(path) => (preferences, read(path, config)?),
        None => data::split_by_key(
            preferences,
            |p| p.prompt.key(),
            config.data.held_out,
            config.train.seed,
        ),
    };
    held_out.truncate(config.data.max_eval_rows.unwrap_or(usize::MAX));
    let mut policy = Policy::open(
        &config.model.source,
        TemplateChoice::parse(&config.model.template)?,
        &device,
    )?;
    let context = policy.model().config.max_position_embeddings;
    if config.data.max_len > context {
        bail!(
            "data.max_len = {} is more than the model's context of {context}",
            config.data.max_len
        );
    }
    let key = |pair: &Preference| pair.prompt.key();
    let n_shared = data::report_shared(
        &config.data.path,
        train.iter().map(key),
        held_out.iter().map(key),
    );
    let train = pairs("training", &train, &policy.encoder, config)?;
    let eval = pairs("held-out", &held_out, &policy.encoder, config)?;
    if train.is_empty() {
        bail!(
            "{}: no pair is left to train on; raise data.max_len or lower data.held_out",
            config.data.path.display()
        );
    }
    if eval.is_empty() {
        bail!("no pair is held out; raise data.held_out or give data.eval_path");
    }
    let requests = requests(&policy, &held_out, config)?;

    let work = workload(&policy, &train, &requests, config);
    let memory = config.memory().apply(policy.model_mut(), &work)?;
    let mut run = if args.resume {
        Run::resume(&dir, "reward-model", config)?
    } else {
        Run::create(&dir, "reward-model", config)?
    };
    stage::write_identity(&mut run, &policy.base, &policy.template)?;
    run.record("source", config.model.source.clone().into())?;
    stage::record_data(
        &mut run,
        &config.data.path,
        serde_json::json!({ "train_pairs": train.len(), "held_out_pairs": eval.len(), "held_out_in_training": n_shared }),
    )?;
    // The adapter samples what the scores are normalised on.
    let (_, adapter) = stage::run_and_adapter(Path::new(&config.model.source));
    let mut inputs: Vec<&Path> = config.data.eval_path.as_deref().into_iter().collect();
    if adapter.is_dir() {
        inputs.push(&adapter);
    }
    stage::record_inputs(&mut run, &inputs)?;
    run.record("memory", memory)?;
    let samples = samples(&policy, &requests)?;
    let mut objective = Objective::open(config, policy, eval, samples)?;
    train::fit(&mut objective, &train, &config.train, &mut run, args.resume)?;
    Ok(())
}

fn read(path: &Path, config: &Config) -> Result<Vec<Preference>> {
    let mut loaded = data::preferences(path, config.data.format)?;
    loaded.report(path);
    loaded
        .items
        .truncate(config.data.max_rows.unwrap_or(usize::MAX));
    Ok(loaded.items)
}

/// Both answers of a pair must fit; a pair with one that does not goes the way `data.too_long` says.
fn pairs(
    what: &str,
    preferences: &[Preference],
    encoder: &Encoder,
    config: &Config,
) -> Result<Vec<Pair>> {
    let mut all = Vec::with_capacity(preferences.len());
    for p in preferences {
        all.push([
            encoder.example(&p.prompt, &p.chosen)?,
            encoder.example(&p.prompt, &p.rejected)?,
        ]);
    }
    if !all.is_empty() {
        data::check_labels(all.as_flattened(), encoder.ends().eos)?;
    }
    let fitted = data::fit_groups_to_context(all, config.data.max_len, config.data.too_long)?;
    fitted.report(what, config.data.max_len);
    let pair = |[chosen, rejected]: [Example; 2]| Pair { chosen, rejected };
    Ok(fitted.items.into_iter().map(pair).collect())
}

/// What a step holds in memory. The two answers of a pair share their prompt.
fn workload(policy: &Policy, train: &[Pair], requests: &[Request], config: &Config) -> Workload {
    let tokens = |p: &Pair| p.chosen.ids.len() + p.rejected.ids.len() - p.chosen.prompt_len;
    let (lens, t) = (train.iter().map(tokens), &config.train);
    let lora = policy.adapter.as_ref().map_or(&config.lora, |a| &a.config);
    let base = policy.model();
    let model = &base.config;
    let longest = requests.iter().map(|r| r.prompt.len()).max().unwrap_or(0);
    let r = &config.reward;
    Workload {
        weight_bytes: base.bytes(),
        parameters: lora.n_params(model) + model.hidden_size,
        frozen: 0,
        graphs: vec![Some(lora.clone())],
        longest: lens.clone().max().unwrap_or(0),
        tokens: memory::micro_batch(lens, t.batch_size, t.micro_batch_tokens),
        cache_rows: ROWS * (longest + r.normalisation_max_new_tokens),
        decoded: ROWS,
        kept_states: 0,
    }
}

/// Held-out prompts for the samples that the reward's mean and variance are measured on.
fn requests(policy: &Policy, held_out: &[Preference], config: &Config) -> Result<Vec<Request>> {
    let r = &config.reward;
    let sampling = Sampling {
        max_new_tokens: r.normalisation_max_new_tokens,
        ..Sampling::default()
    };
    let limit = policy
        .model()
        .config
        .max_position_embeddings
        .saturating_sub(r.normalisation_max_new_tokens);
    let mut requests: Vec<Request> = Vec::new();
    for preference in held_out {
        let prompt = policy.encoder.prompt(&preference.prompt)?;
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

/// The source policy's answers, each behind its prompt.
fn samples(policy: &Policy, requests: &[Request]) -> Result<Vec<Vec<u32>>> {
    let stop = &policy.encoder.ends().stop;
    let engine = Engine {
        model: policy.model(),
        lora: policy.adapter.as_ref(),
        stop,
        max_rows: ROWS,
        keep_states: false,
    };
    let mut progress = run::Progress::new(
        "samples for normalisation",
        requests.iter().map(|r| r.n as u64).sum(),
    );
    let mut tokens_before = 0;
    let drawn = engine.run(requests, &mut |tokens, finished| {
        progress.update(finished as u64, (tokens - tokens_before) as u64, "");
        tokens_before = tokens;
    })?;
    progress.finish("");
    Ok(drawn
        .into_iter()
        .map(|s| [requests[s.request].prompt.as_slice(), &s.ids].concat())
        .collect())
}
