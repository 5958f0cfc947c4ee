//! What a run reads: the rows that its method learns from, and the prompts that it is evaluated on.

use crate::config::Config;
use crate::references;
use algorithms::{DataSource, Requirements};
use anyhow::{Context, Result};
use data::{DataFiles, Demonstration, Encoder, Preference, Prompt, Record, Selection};
use policy::PolicyMeta;
use std::collections::BTreeSet;
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
    /// How often the training rows of each source are visited
    pub weights: Vec<f64>,
    pub held_out: Vec<Prompt>,
    /// Held-out prompts that are also training prompts
    pub n_shared: usize,
    /// The files that were read
    pub files: DataFiles,
}

impl Data {
    /// Reads the files and checks their rows. Needs no model.
    pub fn read(config: &Config, needs: &Requirements) -> Result<Self> {
        let SplitRows {
            train,
            held_out,
            mut files,
            weights,
        } = match &needs.source {
            DataSource::Rollouts => split(config)?.of(TrainingRows::Prompts),
            DataSource::Pool(pool) if pool.grow.as_ref().is_some_and(|g| !g.keep_data) => {
                split(config)?.of(TrainingRows::Prompts)
            }
            DataSource::Pool(_) => split(config)?.of(TrainingRows::Demonstrations),
            DataSource::Pairs => split(config)?.of(TrainingRows::Preferences),
        };
        let sampled = match &train {
            TrainingRows::Prompts(prompts) => Some(prompts.as_slice()),
            TrainingRows::Demonstrations(_) | TrainingRows::Preferences(_) => None,
        };
        references::check(sampled, &held_out, config, needs)?;
        let keys: Vec<u64> = match &train {
            TrainingRows::Prompts(rows) => rows.iter().map(Prompt::key).collect(),
            TrainingRows::Demonstrations(rows) => rows.iter().map(|d| d.prompt.key()).collect(),
            TrainingRows::Preferences(rows) => rows.iter().map(|p| p.prompt.key()).collect(),
        };
        files.prompts = BTreeSet::from_iter(keys).into_iter().collect();
        let held_out_keys = held_out.iter().map(Prompt::key);
        let (n_shared, note) = data::shared_note(&files.train.path, &files.prompts, held_out_keys);
        if let Some(note) = note {
            run::say!("{note}");
        }
        Ok(Self {
            train,
            weights,
            held_out,
            n_shared,
            files,
        })
    }
}

/// Rows of the data files.
struct SplitRows<T> {
    train: T,
    weights: Vec<f64>,
    /// Prompts, each once
    held_out: Vec<Prompt>,
    files: DataFiles,
}

impl<T> SplitRows<T> {
    fn of<U>(self, training: fn(T) -> U) -> SplitRows<U> {
        SplitRows {
            train: training(self.train),
            weights: self.weights,
            held_out: self.held_out,
            files: self.files,
        }
    }
}

/// The training rows, and the prompts held out: those of `eval_path`, or a share of the prompts of
/// `path`.
fn split<T: Record>(config: &Config) -> Result<SplitRows<Vec<T>>> {
    let selection = config.data.selection();
    let (rows, read) = selection.load::<T>()?;
    let mut files = DataFiles {
        train: selection.file(&read),
        eval: None,
        prompts: Vec::new(), // once they are split
    };
    let (train, held_out) = match &config.data.eval_path {
        Some(path) => {
            let selection = Selection {
                path,
                sources: &[],
                ..selection
            };
            let (held_out, read) = selection.load::<Prompt>()?;
            files.eval = Some(selection.file(&read));
            (rows, held_out)
        }
        None => {
            let key = |row: &T| row.prompt().key();
            let (held_out, seed) = (config.data.held_out, config.train.seed);
            let (train, held_out) = data::split_by_key(rows, key, held_out, seed);
            let prompts = held_out.iter().map(|row| row.prompt().clone()).collect();
            (train, data::each_prompt_once(prompts).0)
        }
    };
    Ok(SplitRows {
        train,
        weights: read.weights,
        held_out,
        files,
    })
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
    meta.encoder.report_rows(what);
    if tasks.len() < n_prompts {
        run::say!(
            "{what} prompts: {} of {n_prompts} are longer than {limit} tokens and are left out",
            n_prompts - tasks.len()
        );
    }
    Ok(tasks)
}

/// Each row's prompt and its `N` answers with EOS. Rows that are too long, or whose answers are the
/// same tokens or none, are left out and counted.
pub(crate) fn answered<const N: usize>(
    rows: Vec<(Prompt, [String; N])>,
    meta: &PolicyMeta,
    config: &Config,
) -> Result<Vec<Answered<N>>> {
    let limit = prompt_room(meta, config)?;
    let max_len = limit + config.rollout.max_new_tokens;
    let n_rows = rows.len();
    let (mut n_long, mut n_equal, mut n_empty) = (0, 0, 0);
    let mut kept = Vec::with_capacity(n_rows);
    for (prompt, answers) in rows {
        let task = Rc::new(task(&meta.encoder, prompt)?);
        let mut responses: [Vec<u32>; N] = std::array::from_fn(|_| Vec::new());
        for (ids, answer) in responses.iter_mut().zip(&answers) {
            *ids = meta.encoder.answer(&task.prompt, answer)?;
        }
        let longest = responses.iter().map(Vec::len).max().unwrap_or(0);
        // Texts that differ may be the same tokens, or none but EOS, after normalisation.
        if responses.iter().any(|ids| ids.len() < 2) {
            n_empty += 1;
        } else if N > 1 && responses.iter().all(|ids| *ids == responses[0]) {
            n_equal += 1;
        } else if task.ids.len() > limit || task.ids.len() + longest > max_len {
            n_long += 1;
        } else {
            kept.push((task, responses));
        }
    }
    meta.encoder.report_rows("training");
    let long = format!("a prompt longer than {limit} tokens or {max_len} with the answer");
    for (n, why) in [
        (n_long, long.as_str()),
        (n_equal, "two answers of the same tokens"),
        (n_empty, "an answer without tokens"),
    ] {
        if n > 0 {
            run::say!("training rows: {n} of {n_rows} have {why}, and are left out");
        }
    }
    Ok(kept)
}

fn task(encoder: &Encoder, mut prompt: Prompt) -> Result<Task> {
    if let Some(reference) = &prompt.reference {
        prompt.reference = Some(encoder.without_end(&prompt, reference).to_string());
    }
    Ok(Task {
        ids: encoder.prompt(&prompt)?,
        key: prompt.key(),
        prompt,
    })
}

/// The most tokens that a prompt may have. An error where a response leaves no room for one.
pub(crate) fn prompt_room(meta: &PolicyMeta, config: &Config) -> Result<usize> {
    let context = meta.decoding_context();
    let room = context
        .checked_sub(config.rollout.max_new_tokens)
        .with_context(|| {
            format!(
                "rollout.max_new_tokens = {} is more than the model's context of {context}; set less, \
                 and leave room for the prompts",
                config.rollout.max_new_tokens
            )
        })?;
    Ok(room.min(config.data.max_prompt_len))
}
