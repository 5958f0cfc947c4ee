//! What is compared: the runs, prompts, reward model and sampling, from flags or from the first RL
//! run.

use super::config::CompareConfig;
use super::metrics;
use crate::given_once::ensure_each_once;
use crate::policies;
use anyhow::{Context, Result, bail, ensure};
use data::{Origin, Prompt, ReadOptions};
use generation::Sampling;
use run::SavedRun;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// A run to compare, not yet opened as a model.
pub(crate) struct Entry {
    /// The name on the command line.
    pub text: String,
    /// Name in the table, unique.
    pub name: String,
    pub run: Option<SavedRun>,
}

pub(crate) struct Plan {
    pub entries: Vec<Entry>,
    pub prompts: Vec<Prompt>,
    /// File that the prompts come from.
    pub prompts_from: String,
    pub reward: Option<PathBuf>,
    pub sampling: Sampling,
}

impl Plan {
    pub fn new(config: &CompareConfig) -> Result<Self> {
        let entries = entries(&config.runs)?;
        let rl = entries
            .iter()
            .filter_map(|e| e.run.as_ref())
            .find(|run| run.stage == "esrl-rlhf");
        let rollout = rl.and_then(|run| run.config.get("rollout")?.as_table());
        let number = |key: &str| {
            let value = rollout?.get(key)?;
            value
                .as_float()
                .or_else(|| Some(value.as_integer()? as f64))
        };
        let sampling = Sampling {
            temperature: config
                .temperature
                .unwrap_or_else(|| number("temperature").unwrap_or(1.0) as f32),
            max_new_tokens: config
                .max_new_tokens
                .unwrap_or_else(|| number("max_new_tokens").unwrap_or(256.0) as usize),
            ..Sampling::default()
        };
        let recorded = rl.and_then(|run| {
            let reward = run.info.get("reward").and_then(Value::as_str)?;
            Some(PathBuf::from(policy::find_recorded(&run.dir, reward)))
        });
        let reward = config.reward.clone().or(recorded);
        let (mut prompts, prompts_from) = prompts(config, rl)?;
        prompts.truncate(config.n);
        ensure!(!prompts.is_empty(), "{prompts_from} has no prompts");
        metrics::check(&config.metrics, &prompts, &prompts_from)?;
        Ok(Self {
            entries,
            prompts,
            prompts_from,
            reward,
            sampling,
        })
    }
}

fn entries(runs: &[String]) -> Result<Vec<Entry>> {
    ensure_each_once("--runs", runs)?;
    let mut entries = Vec::with_capacity(runs.len());
    let mut names = BTreeSet::new();
    for text in runs {
        let run = policies::saved_run(text)?;
        if let Some(run) = &run
            && run.stage == "reward-model"
        {
            bail!(
                "{text} is a reward model; pass it as --reward, and sft or esrl-rlhf runs or models as --runs"
            );
        }
        let short = policies::file_name(text.trim_end_matches('/').as_ref());
        let mut name = match names.contains(&short) {
            true => text.clone(),
            false => short,
        };
        while !names.insert(name.clone()) {
            name.insert_str(0, "./");
        }
        entries.push(Entry {
            text: text.clone(),
            name,
            run,
        });
    }
    Ok(entries)
}

/// `--prompts`, or the prompts that the first RL run held out.
fn prompts(config: &CompareConfig, rl: Option<&SavedRun>) -> Result<(Vec<Prompt>, String)> {
    if let Some(path) = &config.prompts {
        let options = ReadOptions {
            format: config.format,
            ignore: config.ignore.clone(),
            columns: data::columns(&config.columns)?,
            ..ReadOptions::default()
        };
        let loaded = data::prompts(path, options)?;
        loaded.report(path);
        return Ok((loaded.items, path.display().to_string()));
    }
    let run = rl.context(
        "no prompts: none of --runs is an RL run with held-out prompts; give --prompts FILE",
    )?;
    let path = run.dir.join("heldout.json");
    let text = std::fs::read(&path)
        .with_context(|| format!("cannot read {}; give --prompts FILE", path.display()))?;
    let mut prompts: Vec<Prompt> = serde_json::from_slice(&text)
        .with_context(|| format!("{} is damaged; give --prompts FILE", path.display()))?;
    for (i, prompt) in prompts.iter_mut().enumerate() {
        prompt.origin = Origin::new(path.as_path().into(), i + 1);
    }
    // Runs of older versions held a prompt out once for each of its rows.
    let (prompts, n_repeated) = data::each_prompt_once(prompts);
    if n_repeated > 0 {
        run::say!(
            "{}: {n_repeated} repeated {} left out",
            path.display(),
            if n_repeated == 1 {
                "prompt is"
            } else {
                "prompts are"
            }
        );
    }
    ensure!(
        !prompts.is_empty(),
        "{} has no held-out prompts; give --prompts FILE",
        run.dir.display()
    );
    say_if_drawn(run);
    Ok((prompts, path.display().to_string()))
}

/// Says so where the held-out prompts are drawn from the training data: each seed has others, so
/// comparisons of several seeds cannot be averaged.
fn say_if_drawn(run: &SavedRun) {
    let data = run.config.get("data");
    if data.is_some_and(|data| data.get("eval_path").is_some()) {
        return;
    }
    run::say!(
        "the prompts are those that {} held out, drawn by its train.seed: a `{}` of several seeds \
         needs the same for all; give each comparison the same --prompts FILE",
        run.dir.display(),
        run::command("table")
    );
}
