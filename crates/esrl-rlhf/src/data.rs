//! What a run reads: the rows that its method learns from, and the prompts that it is evaluated on.

use crate::config::Config;
use algorithms::{DataSource, Requirements};
use anyhow::{Context, Result, bail};
use data::{Demonstration, Encoder, Preference, Prompt};
use policy::PolicyMeta;
use std::path::Path;
use std::rc::Rc;

/// A prompt with its token ids, encoded once.
pub(crate) struct Task {
    pub prompt: Prompt,
    pub key: u64,
    pub ids: Vec<u32>,
}

/// Rows of the training file, in the form that the method learns from.
pub(crate) enum TrainingRows {
    Prompts(Vec<Prompt>),
    Demonstrations(Vec<Demonstration>),
    Preferences(Vec<Preference>),
}

/// A prompt and `N` responses to it, each with EOS.
pub(crate) type Answered<const N: usize> = (Rc<Task>, [Vec<u32>; N]);

/// The rows of the data files.
pub(crate) struct Data {
    pub train: TrainingRows,
    pub held_out: Vec<Prompt>,
    /// Held-out prompts that are also training prompts
    pub n_shared: usize,
}

impl Data {
    /// Reads and checks the files. Needs no model.
    pub fn read(config: &Config, needs: &Requirements) -> Result<Self> {
        let d = &config.data;
        let (train, held_out) = match &needs.source {
            DataSource::Rollouts => {
                let (train, held_out) = split(config, data::prompts, |p| p)?;
                (TrainingRows::Prompts(train), held_out)
            }
            DataSource::Pool(pool) if pool.grow.as_ref().is_some_and(|g| !g.keep_data) => {
                let (train, held_out) = split(config, data::prompts, |p| p)?;
                (TrainingRows::Prompts(train), held_out)
            }
            DataSource::Pool(_) => {
                let (train, held_out) = split(config, data::demonstrations, |d| &d.prompt)?;
                (TrainingRows::Demonstrations(train), held_out)
            }
            DataSource::Pairs => {
                let (train, held_out) = split(config, data::preferences, |p| &p.prompt)?;
                (TrainingRows::Preferences(train), held_out)
            }
        };
        let compares = rewards::needs_reference(&config.rewards);
        if let DataSource::Pool(pool) = &needs.source
            && pool.score
            && pool.grow.as_ref().is_none_or(|grow| grow.keep_data)
            && compares
        {
            bail!(
                "the rewards compare with the data's own answers, and those are what this algorithm learns from: each would be \
                 its own reference and get the top score; use a method that samples, or rest with keep_data = false"
            );
        }
        let wants_answers = needs.text_metric.is_some() || needs.reference_answer || compares;
        let no_answer = |prompt: &Prompt| prompt.reference.is_none();
        if let TrainingRows::Prompts(prompts) = &train
            && wants_answers
            && prompts.iter().any(no_answer)
        {
            bail!(
                "{}: this algorithm or its rewards compare with reference answers, and some rows have none",
                d.path.display()
            );
        }
        if compares && held_out.iter().any(no_answer) {
            bail!(
                "{}: the rewards compare with reference answers, and some prompts held out for evaluation have none",
                d.eval_path.as_ref().unwrap_or(&d.path).display()
            );
        }
        let keys: Vec<u64> = match &train {
            TrainingRows::Prompts(rows) => rows.iter().map(Prompt::key).collect(),
            TrainingRows::Demonstrations(rows) => rows.iter().map(|d| d.prompt.key()).collect(),
            TrainingRows::Preferences(rows) => rows.iter().map(|p| p.prompt.key()).collect(),
        };
        let n_shared = data::report_shared(&d.path, keys, held_out.iter().map(Prompt::key));
        Ok(Self {
            train,
            held_out,
            n_shared,
        })
    }
}

/// The training rows, and the prompts held out: those of `eval_path`, or a share of the prompts of
/// `path`.
fn split<T>(
    config: &Config,
    source: fn(&Path, data::Format) -> data::Result<data::Loaded<T>>,
    prompt: fn(&T) -> &Prompt,
) -> Result<(Vec<T>, Vec<Prompt>)> {
    let d = &config.data;
    let only = d.only.as_ref();
    let mut loaded = source(&d.path, d.format)?.only(&d.path, only, prompt)?;
    loaded.report(&d.path);
    loaded.items.truncate(d.max_rows.unwrap_or(usize::MAX));
    if let Some(path) = &d.eval_path {
        let held_out = data::prompts(path, d.format)?.only(path, only, |p| p)?;
        held_out.report(path);
        let mut held_out = held_out.items;
        held_out.truncate(d.max_rows.unwrap_or(usize::MAX));
        return Ok((loaded.items, held_out));
    }
    let key = |row: &T| prompt(row).key();
    let (train, rows) = data::split_by_key(loaded.items, key, d.held_out, config.train.seed);
    let mut held_out: Vec<Prompt> = Vec::new();
    for row in &rows {
        let prompt = prompt(row);
        if held_out
            .last()
            .is_none_or(|last| last.key() != prompt.key())
        {
            held_out.push(prompt.clone());
        }
    }
    Ok((train, held_out))
}

/// Encoded prompts. Those that leave no room for a response are left out and counted; `what` names
/// them.
pub(crate) fn tasks(
    what: &str,
    prompts: Vec<Prompt>,
    meta: &PolicyMeta,
    config: &Config,
) -> Result<Vec<Rc<Task>>> {
    let limit = prompt_room(meta, config)?;
    let n_prompts = prompts.len();
    let mut tasks = Vec::with_capacity(n_prompts);
    for prompt in prompts {
        let task = task(&meta.encoder, prompt)?;
        if task.ids.len() <= limit {
            tasks.push(Rc::new(task));
        }
    }
    if tasks.len() < n_prompts {
        eprintln!(
            "{what} prompts: {} of {n_prompts} are longer than {limit} tokens and are left out",
            n_prompts - tasks.len()
        );
    }
    Ok(tasks)
}

/// Each row's prompt and its `N` answers with EOS. Rows that are too long are left out and counted.
pub(crate) fn answered<const N: usize>(
    rows: Vec<(Prompt, [String; N])>,
    meta: &PolicyMeta,
    config: &Config,
) -> Result<Vec<Answered<N>>> {
    let limit = prompt_room(meta, config)?;
    let max_len = limit + config.rollout.max_new_tokens;
    let n_rows = rows.len();
    let mut kept = Vec::with_capacity(n_rows);
    for (prompt, answers) in rows {
        let task = Rc::new(task(&meta.encoder, prompt)?);
        let mut responses: [Vec<u32>; N] = std::array::from_fn(|_| Vec::new());
        for (ids, answer) in responses.iter_mut().zip(&answers) {
            *ids = meta.encoder.response(answer)?;
        }
        let longest = responses.iter().map(Vec::len).max().unwrap_or(0);
        if task.ids.len() <= limit && task.ids.len() + longest <= max_len {
            kept.push((task, responses));
        }
    }
    let dropped = n_rows - kept.len();
    if dropped > 0 {
        eprintln!(
            "training rows: {dropped} of {n_rows} have a prompt longer than {limit} tokens or {max_len} with the answer, and are left out"
        );
    }
    Ok(kept)
}

fn task(encoder: &Encoder, prompt: Prompt) -> Result<Task> {
    Ok(Task {
        ids: encoder.prompt(&prompt)?,
        key: prompt.key(),
        prompt,
    })
}

/// The most tokens that a prompt may have.
fn prompt_room(meta: &PolicyMeta, config: &Config) -> Result<usize> {
    let context = meta.context();
    let room = context
        .checked_sub(config.rollout.max_new_tokens)
        .with_context(|| {
            format!(
                "rollout.max_new_tokens = {} is more than the model's context of {context}",
                config.rollout.max_new_tokens
            )
        })?;
    Ok(room.min(config.data.max_prompt_len))
}
