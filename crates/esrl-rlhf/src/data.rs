//! What a run reads: the rows that its method learns from, and the prompts that it is evaluated on.
//!
//! Rows are prepared as in the other stages ([`Preparing`]), with their prompts as text, which
//! rewards read. Those of large data are on disk, and a step reads its own.

use crate::config::Config;
use crate::references::References;
use algorithms::{DataSource, Requirements};
use anyhow::{Context, Result, bail};
use data::{
    DataFile, DataFiles, DataPath, Demonstration, Encode, Encoder, Example, Examples, Limits,
    Preference, Preparing, Prompt, Record, Row, Selection, TooLong, TrainOn,
};
use policy::PolicyMeta;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::rc::Rc;

/// A prompt with its token ids, encoded once.
pub(crate) struct Task {
    pub prompt: Prompt,
    pub key: u64,
    pub ids: Vec<u32>,
}

/// Rows of the training file, in the form that the method learns from.
pub(crate) enum TrainingRows {
    Prompts(Examples<1>),
    /// Prompts and answers of the data
    Answers(Examples<1>),
    Pairs(Examples<2>),
}

/// A prompt and `N` responses to it, each with EOS.
pub(crate) type Answered<const N: usize> = (Rc<Task>, [Vec<u32>; N]);

/// The rows of the data files.
pub(crate) struct Data {
    pub train: TrainingRows,
    pub held_out: Vec<Prompt>,
    /// Held-out prompts that are also training prompts
    pub n_shared: usize,
    /// The files that were read
    pub files: DataFiles,
}

impl Data {
    /// Reads, checks and encodes the rows. Those that do not fit are left out and counted.
    pub fn read(
        config: &Config,
        needs: &Requirements,
        meta: &PolicyMeta,
        drops_tools: bool,
    ) -> Result<Self> {
        let read = Reading {
            config,
            needs,
            meta,
            drops_tools,
        };
        match &needs.source {
            DataSource::Rollouts => read.rows((prompt_alone, false), TrainingRows::Prompts),
            DataSource::Pool(pool) if pool.grow.as_ref().is_some_and(|g| !g.keep_data) => {
                read.rows((prompt_alone, false), TrainingRows::Prompts)
            }
            DataSource::Pool(_) => read.rows((demonstration, true), TrainingRows::Answers),
            DataSource::Pairs => read.rows((pair, true), TrainingRows::Pairs),
        }
    }
}

struct Reading<'a> {
    config: &'a Config,
    needs: &'a Requirements,
    meta: &'a PolicyMeta,
    drops_tools: bool,
}

impl Reading<'_> {
    /// The training rows, and the prompts held out: those of `eval_path`, or a share of the prompts
    /// of `path`.
    fn rows<T, const N: usize>(
        &self,
        (encode, has_answers): (Encode<T, N>, bool),
        training: fn(Examples<N>) -> TrainingRows,
    ) -> Result<Data>
    where
        T: Record + Serialize + DeserializeOwned,
    {
        let (config, meta) = (self.config, self.meta);
        let limits = self.limits(has_answers)?;
        let memory_mb = match self.needs.source {
            DataSource::Pool(_) => usize::MAX,
            DataSource::Rollouts | DataSource::Pairs => config.data.memory_mb,
        };
        let settings = config.data.rows(limits.max_len, memory_mb);
        let preparing = Preparing {
            config: &settings,
            seed: config.train.seed,
            encode,
            train_on: TrainOn::Last,
            drops_tools: self.drops_tools,
            must_end: false,
            cache_dir: data::cache_dir(),
            n_shown: 0,
            limits,
            keeps_prompts: true,
        };
        // first, since the others may take long to prepare
        let eval = match &config.data.eval_path {
            Some(path) => Some(self.eval_prompts(path)?),
            None => None,
        };
        let mut references = References::new(config, self.needs);
        let rows = preparing.rows(&meta.encoder, &mut references)?;
        let mut files = rows.files;
        let held_out = match eval {
            Some((held_out, file)) => {
                files.eval = Some(file);
                held_out
            }
            None => {
                let rows = rows.held_out.into_rows()?.into_iter();
                let prompts = rows.filter_map(|row| row.prompt).map(|prompt| *prompt);
                data::each_prompt_once(prompts.collect()).0
            }
        };
        let held_out_keys = held_out.iter().map(Prompt::key);
        let (n_shared, note) = data::shared_note(&files.train.path, &files.prompts, held_out_keys);
        if let Some(note) = note {
            run::say!("{note}");
        }
        Ok(Data {
            train: training(rows.train),
            held_out,
            n_shared,
            files,
        })
    }

    /// The prompts of `eval_path`.
    fn eval_prompts(&self, path: &DataPath) -> Result<(Vec<Prompt>, DataFile)> {
        let selection = Selection {
            path,
            sources: &[],
            drops_tools: self.drops_tools,
            ..self.config.data.selection()
        };
        let (held_out, read) = selection.load::<Prompt>()?;
        for note in References::of_held_out(self.config, self.needs, &held_out)? {
            run::say!("{note}");
        }
        Ok((held_out, selection.file(&read)))
    }

    fn limits(&self, has_answers: bool) -> Result<Limits> {
        let room = prompt_room(self.meta, self.config)?;
        let for_answer = usize::from(has_answers) * self.config.rollout.max_new_tokens;
        Ok(Limits {
            max_len: room + for_answer,
            max_prompt_len: Some(room),
            too_long: TooLong::Drop,
            has_answers,
        })
    }
}

fn prompt_alone(encoder: &Encoder, row: &Prompt, _: TrainOn) -> data::Result<Vec<[Example; 1]>> {
    let ids = encoder.prompt(row)?;
    let prompt_len = ids.len();
    Ok(vec![[example(row, ids, prompt_len)]])
}

fn demonstration(
    encoder: &Encoder,
    row: &Demonstration,
    _: TrainOn,
) -> data::Result<Vec<[Example; 1]>> {
    if !row.fields.is_empty() {
        return Err(data::Error(format!(
            "{}: the answer calls tools, and this method learns from texts; remove such rows",
            row.prompt.origin
        )));
    }
    Ok(vec![answered(encoder, &row.prompt, [&row.response])?])
}

fn pair(encoder: &Encoder, row: &Preference, _: TrainOn) -> data::Result<Vec<[Example; 2]>> {
    let answers = [&row.chosen, &row.rejected];
    Ok(vec![answered(encoder, &row.prompt, answers)?])
}

fn answered<const N: usize>(
    encoder: &Encoder,
    prompt: &Prompt,
    answers: [&String; N],
) -> data::Result<[Example; N]> {
    let ids = encoder.prompt(prompt)?;
    let mut examples = std::array::from_fn(|_| example(prompt, ids.clone(), ids.len()));
    for (example, answer) in examples.iter_mut().zip(answers) {
        example.ids.extend(encoder.answer(prompt, answer)?);
    }
    Ok(examples)
}

fn example(prompt: &Prompt, ids: Vec<u32>, prompt_len: usize) -> Example {
    Example {
        key: prompt.key(),
        source: prompt.origin.source(),
        ..Example::new(ids, prompt_len)
    }
}

/// The prompt of a prepared row, and its answers: of prompts alone, nothing.
pub(crate) fn of_row<const N: usize>(row: Row<N>, encoder: &Encoder) -> Result<Answered<N>> {
    let Row { examples, prompt } = row;
    let prompt = *prompt.context("the row has no prompt")?;
    let [
        Example {
            ids, prompt_len, ..
        },
        ..,
    ] = &examples[..]
    else {
        bail!("the row has no example")
    };
    let task = task(encoder, prompt, ids[..*prompt_len].to_vec());
    let answer = |example: Example| example.ids[example.prompt_len..].to_vec();
    Ok((Rc::new(task), examples.map(answer)))
}

/// Encoded prompts held out for evaluation. Those that leave no room for a response are left out
/// and counted.
pub(crate) fn evaluation_tasks(
    prompts: &[Prompt],
    meta: &PolicyMeta,
    config: &Config,
) -> Result<Vec<Rc<Task>>> {
    let limit = prompt_room(meta, config)?;
    let n_prompts = prompts.len();
    let mut tasks = Vec::with_capacity(n_prompts);
    for prompt in prompts {
        let ids = meta.encoder.prompt(prompt)?;
        if ids.len() <= limit {
            tasks.push(Rc::new(task(&meta.encoder, prompt.clone(), ids)));
        }
    }
    meta.encoder.report_rows("held-out");
    if tasks.len() < n_prompts {
        run::say!(
            "held-out prompts: {} of {n_prompts} are longer than {limit} tokens and are left out",
            n_prompts - tasks.len()
        );
    }
    Ok(tasks)
}

fn task(encoder: &Encoder, mut prompt: Prompt, ids: Vec<u32>) -> Task {
    if let Some(reference) = &prompt.reference {
        prompt.reference = Some(encoder.without_end(&prompt, reference).to_string());
    }
    Task {
        ids,
        key: prompt.key(),
        prompt,
    }
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
