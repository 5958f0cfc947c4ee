//! The token ids of each step. Our stage makes them once, and both sides train on them in the same
//! order.
//!
//! sft and reward-model tokenise into a cache, which the bench writes out for the peers; the timed
//! runs of our stages find the cache and train from it. An RL step samples, so only its prompts are
//! the same on both sides: the bench encodes them as the stage does.

use crate::rows::BATCH;
use crate::setup::Setup;
use crate::stage_run::StageRun;
use crate::timing::Timing;
use crate::token_file::read_tokens;
use crate::trained::{Sequence, Trained};
use anyhow::{Context, Result, ensure};
use data::{Cursor, Format, Loader, Mixture};
use models::Fetch;
use policy::{PolicyMeta, TemplateChoice};
use std::path::{Path, PathBuf};

/// `train.seed` of our stages; it decides the order of the rows.
pub(crate) const SEED: u64 = 1;

/// What a stage trains on.
#[derive(Clone, Copy)]
pub(crate) enum Trains {
    /// Rows of a prompt and an answer, whose tokens are learnt
    Demonstrations,
    /// Rows of two answers, of which each has a score at its last token
    Pairs,
    /// Prompts to sample for
    Prompts,
}

impl Trains {
    /// Whether the stage tokenises rows into its cache.
    pub fn uses_cache(self) -> bool {
        !matches!(self, Self::Prompts)
    }

    /// The rows in the stage's cache.
    fn read(self, cache: &Path) -> Result<Vec<Vec<Sequence>>> {
        match self {
            Self::Demonstrations | Self::Prompts => read_tokens(cache, 1),
            Self::Pairs => {
                let mut rows = read_tokens(cache, 2)?;
                for sequence in rows.iter_mut().flatten() {
                    *sequence = Sequence::new(std::mem::take(&mut sequence.ids), &[]);
                }
                Ok(rows)
            }
        }
    }
}

/// The rows that the steps of a round visit.
pub(crate) struct StepIds {
    /// For the peers: a line for each visit, its sequences as JSON
    pub file: PathBuf,
    /// Where our stage has the rows
    pub cache: Option<PathBuf>,
    trains: Trains,
    visits: Vec<Vec<Sequence>>,
}

impl StepIds {
    /// Of `steps` steps of our stage on `rows`, which it finds in `stage`'s settings. `name`: of
    /// the file.
    pub fn prepare(
        setup: &Setup,
        trains: Trains,
        stage: &StageRun,
        rows: &Path,
        name: &str,
        steps: usize,
    ) -> Result<Self> {
        let dir = setup.ids();
        std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        let cache = trains.uses_cache().then(|| dir.join(name));
        if let Some(cache) = &cache {
            if cache.exists() {
                std::fs::remove_dir_all(cache)?;
            }
            stage.plan(setup, cache)?;
        }
        let all = match &cache {
            Some(cache) => trains.read(cache)?,
            None => prompts(setup, rows)?,
        };
        ensure!(
            all.len() == BATCH,
            "{}: our stage trains on {} of its {BATCH} rows; a step needs all, so other rows must be \
             chosen",
            rows.display(),
            all.len()
        );
        let file = dir.join(format!("{name}.jsonl"));
        let visits: Vec<_> = order(steps).map(|row| all[row].clone()).collect();
        let line = |visit| Ok(format!("{}\n", serde_json::to_string(visit)?));
        let text: String = visits.iter().map(line).collect::<Result<_>>()?;
        std::fs::write(&file, text).with_context(|| file.display().to_string())?;
        Ok(Self {
            file,
            cache,
            trains,
            visits,
        })
    }

    /// What the first `steps` steps train on.
    pub fn trained(&self, steps: usize) -> Trained {
        Trained::of(self.visits[..steps * BATCH].iter().flatten())
    }

    /// Learnt tokens of a step.
    pub fn labels_per_step(&self) -> f64 {
        let steps = self.visits.len() / BATCH;
        self.trained(steps).labels as f64 / steps as f64
    }

    /// What our stage trained on in the steps that it logged.
    ///
    /// Errors: it trained on rows from elsewhere, or its steps had other numbers of tokens.
    pub fn trained_by_ours(&self, timing: &Timing) -> Result<Trained> {
        let steps = timing.secs.len();
        if let Some(cache) = &self.cache {
            let rows = self.trains.read(cache)?;
            let same = order(steps)
                .map(|row| rows.get(row))
                .eq(self.visits[..steps * BATCH].iter().map(Some));
            ensure!(same, "{}: the rows have changed", cache.display());
            for (step, logged) in timing.tokens.iter().enumerate() {
                let visits = &self.visits[step * BATCH..(step + 1) * BATCH];
                let tokens: usize = visits.iter().flatten().map(|one| one.ids.len()).sum();
                ensure!(
                    (logged - tokens as f64).abs() < 0.5,
                    "step {} trained on {logged:.1} tokens, and the peers get {tokens}",
                    step + 1
                );
            }
        }
        Ok(self.trained(steps))
    }
}

/// The rows of each step as our stages visit them.
fn order(steps: usize) -> impl Iterator<Item = usize> {
    let mut loader = Loader::new(&Mixture::of_rows(BATCH), BATCH, SEED, Cursor::default());
    (0..steps).flat_map(move |_| loader.next_batch())
}

fn prompts(setup: &Setup, rows: &Path) -> Result<Vec<Vec<Sequence>>> {
    let model = setup.model();
    let text = model.to_string_lossy();
    let template = TemplateChoice::Alpaca;
    let meta = PolicyMeta::open((&*text).into(), template, None, Fetch::Whole)?;
    let prompts = data::prompts(rows, Format::default())?.items;
    let encode = |prompt| Ok(vec![Sequence::new(meta.encoder.prompt(prompt)?, &[])]);
    prompts.iter().map(encode).collect()
}
