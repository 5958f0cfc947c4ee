//! What a run reads, trains, samples and writes: the record that each stage fills.

use crate::forwards::Forwards;
use crate::sampling::Sampling;
use anyhow::{Result, anyhow};
use models::{Config, LoraConfig, WeightsMeta};
use policy::{DeviceChoice, PolicyMeta};
use run::RetentionPolicy;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A run by its sizes.
#[derive(Clone)]
pub struct Workload {
    /// `sft`, `reward-model` or the name of a method
    pub stage: String,
    /// The base, and its weights as they are stored in memory
    pub source: String,
    pub shape: Config,
    pub weights: Rc<WeightsMeta>,
    /// Bytes of the base in the format that is sampled from, if it is another
    pub sampling_weights: usize,
    pub device: DeviceChoice,
    /// `train.memory_gb` and `train.checkpoint_blocks`
    pub memory_gb: Option<f64>,
    pub checkpoint_layers: Option<usize>,

    /// What is trained, one after the other. The first is the result
    pub graphs: Vec<Graph>,
    /// Numbers of adapters and heads that are not trained
    pub frozen_numbers: usize,
    /// As `train.max_steps` or `train.steps` counts them
    pub steps: usize,
    /// Rows to learn from, and what they are called
    pub rows: usize,
    pub rows_are: &'static str,
    pub rows_per_step: usize,
    pub forwards: Forwards,
    pub trained_is: Certainty,
    /// The learning rate at a step, from 0, by the section of the settings that decides it
    pub rates: Vec<(&'static str, LearningRate)>,

    pub scoring: Scoring,
    /// What is sampled, one after the other
    pub sampling: Vec<Sampling>,
    /// The setting that limits how many answers are decoded together
    pub rows_key: &'static str,
    /// Tokens sampled to learn from, and for evaluations and samples/: at most so many
    pub sampled_tokens: usize,
    pub evaluated_tokens: usize,

    /// The run directory, which need not exist yet
    pub dir: PathBuf,
    /// Checkpoints that will be written, those that are kept, and copies of the policy in each
    pub n_checkpoints: usize,
    pub retention: RetentionPolicy,
    pub policy_copies: u64,
    /// The directories that the next stage takes, and whether the tokenizer is in them
    pub results: Vec<(&'static str, bool)>,
    pub tokenizer_bytes: usize,
    /// Bytes of logs, samples and stored responses
    pub log_bytes: usize,
    /// What the stage assumed, or takes otherwise than its settings say
    pub assumed: Option<String>,
}

pub type LearningRate = Rc<dyn Fn(usize) -> f64>;

/// A model with a backward pass of its own.
#[derive(Clone, Debug)]
pub struct Graph {
    /// `policy`, `critic`
    pub name: &'static str,
    /// The adapter that is trained. None: the base's own weights are
    pub lora: Option<LoraConfig>,
    /// Numbers of the scalar head that is trained with it (0: none)
    pub head: usize,
}

/// How far a number of tokens can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Certainty {
    Exact,
    /// Responses yet to be sampled count with their longest length
    AtMost,
    /// Rows yet to be drawn by weight count as random ones
    About,
}

/// Sizes of the forwards without a graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scoring {
    /// Tokens of the largest that `train.micro_batch_tokens` limits: evaluation, reference
    pub micro_batched: usize,
    /// Tokens of the largest that it does not limit: rewards
    pub whole: usize,
    /// Tokens of the longest sequence in any
    pub longest: usize,
}

impl Graph {
    /// Trained numbers, and the tensors that they are in.
    pub(crate) fn numbers(&self, work: &Workload) -> (usize, usize) {
        let head_tensors = if self.head > 0 { 2 } else { 0 };
        match &self.lora {
            None => (work.weights.n_params, work.weights.n_tensors),
            Some(lora) => (
                lora.n_params(&work.shape) + self.head,
                lora.n_tensors(&work.shape) + head_tensors,
            ),
        }
    }
}

impl Workload {
    /// A run of this base that does nothing yet.
    pub fn new(meta: &PolicyMeta, weights: &WeightsMeta, device: &str, dir: &Path) -> Result<Self> {
        let tokenizer = meta.base.tokenizer.to_string(false);
        Ok(Self {
            stage: String::new(),
            source: meta.source.clone(),
            shape: meta.base.config.clone(),
            weights: Rc::new(weights.clone()),
            sampling_weights: 0,
            device: DeviceChoice::parse(device)?,
            memory_gb: None,
            checkpoint_layers: None,
            graphs: Vec::new(),
            frozen_numbers: 0,
            steps: 0,
            rows: 0,
            rows_are: "rows",
            rows_per_step: 0,
            forwards: Forwards::default(),
            trained_is: Certainty::Exact,
            rates: Vec::new(),
            scoring: Scoring::default(),
            sampling: Vec::new(),
            rows_key: "",
            sampled_tokens: 0,
            evaluated_tokens: 0,
            dir: dir.to_path_buf(),
            n_checkpoints: 0,
            retention: RetentionPolicy { n: 1, mb: None },
            policy_copies: 0,
            results: Vec::new(),
            tokenizer_bytes: tokenizer.map_err(|e| anyhow!("tokenizer: {e}"))?.len(),
            log_bytes: 0,
            assumed: None,
        })
    }

    /// Trained numbers.
    pub fn parameters(&self) -> usize {
        self.graphs.iter().map(|graph| graph.numbers(self).0).sum()
    }

    /// Whether the base itself is not trained.
    pub(crate) fn frozen_base(&self) -> bool {
        self.graphs.iter().all(|graph| graph.lora.is_some())
    }

    /// The same run in forwards of at most `tokens` tokens, and at most `rows` rows decoded
    /// together. None: as they are.
    pub(crate) fn within(&self, tokens: Option<usize>, rows: Option<usize>) -> Self {
        let mut less = self.clone();
        if let Some(tokens) = tokens {
            let Forwards {
                largest,
                longest_unit,
                ..
            } = &mut less.forwards;
            largest.tokens = largest.tokens.min(tokens);
            largest.pairs = largest.pairs.min(tokens * *longest_unit);
            let scored = &mut less.scoring.micro_batched;
            *scored = (*scored).min(tokens.max(self.scoring.longest));
        }
        for sizes in &mut less.sampling {
            sizes.rows = sizes.rows.min(rows.unwrap_or(usize::MAX));
        }
        less
    }
}
