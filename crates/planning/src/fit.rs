//! The plan of a stage that trains by the fit loop (`train::fit`): sft and reward-model.

use crate::batches::{Batches, Forward, RowSize, largest_micro_batch, visit_batches};
use crate::budget::MemoryConfig;
use crate::disk::{Disk, adapter_bytes, stored_bytes};
use crate::plan::{Certainty, Plan, Steps, Tokens, n_times, tokenizer_bytes};
use crate::workload::{SamplingMemory, ScoringMemory, Workload};
use anyhow::Result;
use data::Loader;
use models::{LoraConfig, WeightsMeta};
use policy::{DeviceChoice, PolicyMeta};
use std::collections::BTreeMap;
use std::path::Path;
use train::FitConfig;

/// Bytes of a row of metrics.jsonl and of TensorBoard's events.
const LOGGED: usize = 1_000;

/// A stage, its model and its items, each of one row or of rows that share a prompt.
pub struct FitStage<'a> {
    pub name: &'static str,
    /// The words for the items and for the trained model in the plan's text
    pub rows_are: &'static str,
    pub graph_name: &'static str,
    /// The directory that the trained model is saved to
    pub result: &'static str,
    pub dir: &'a Path,
    pub train: &'a FitConfig,
    pub device: &'a str,
    pub meta: &'a PolicyMeta,
    pub weights: &'a WeightsMeta,
    /// The adapter that is trained. None: all weights of the base are
    pub lora: Option<&'a LoraConfig>,
    /// Numbers of the trained head (0: none)
    pub head: usize,
    pub train_items: Vec<Vec<RowSize>>,
    pub eval_items: Vec<Vec<RowSize>>,
    /// What is scored beside `eval_items`
    pub scoring: ScoringMemory,
    pub sampling: SamplingMemory,
    pub rows_key: &'static str,
    /// Tokens sampled before training, at most
    pub sampled_once: usize,
    /// Each time that samples/ is written: tokens sampled, at most, and bytes
    pub sampled_tokens: usize,
    pub sample_bytes: usize,
}

/// Tokens that an item counts towards `train.micro_batch_tokens`.
fn counted_tokens(item: &[RowSize]) -> usize {
    item.iter().map(RowSize::tokens).sum()
}

impl FitStage<'_> {
    pub fn plan(self) -> Result<Plan> {
        let (t, shape, n_rows) = (self.train, &self.meta.base.config, self.train_items.len());
        let steps = t.total_steps(n_rows.div_ceil(t.batch_size));
        let batches = self.batches(steps);
        let n_trained = (self.weights.n_params, self.weights.n_tensors);
        let (parameters, trained) = match self.lora {
            Some(lora) => (
                lora.n_params(shape) + self.head,
                adapter_bytes(lora, shape, self.head),
            ),
            None => (n_trained.0, stored_bytes(n_trained.0, n_trained.1)),
        };
        let work = self.workload(batches, parameters)?;
        let optimizer = t.optimizer.clone();
        let rate = move |step| optimizer.lr_at(step, steps, run::Rules::CURRENT);
        let tokenizer = tokenizer_bytes(&self.meta.base)?;
        // an adapter is saved without the tokenizer
        let saved = tokenizer as u64 * u64::from(self.result != "adapter");
        let looks = n_times(steps, t.sample_every);
        let logged = n_times(steps, t.log_every) + n_times(steps, t.eval_every);
        Ok(Plan {
            stage: self.name.into(),
            source: self.meta.source.clone(),
            weights: self.weights.clone(),
            memory: MemoryConfig::from(t).plan(work)?,
            disk: Disk {
                dir: self.dir.to_path_buf(),
                trained,
                copies: 0,
                retention: t.keep(),
                n_checkpoints: n_times(steps, t.save_every),
                results: BTreeMap::from([(self.result, trained + saved)]),
                other: tokenizer + logged * LOGGED + looks * self.sample_bytes,
            },
            steps: Steps {
                steps,
                optimiser_steps: steps,
                rows: n_rows,
                rows_are: self.rows_are,
                rows_per_step: t.batch_size.min(n_rows),
            },
            tokens: Tokens {
                trained: batches.tokens,
                trained_is: Certainty::Exact,
                sampled_at_most: 0,
                evaluated_at_most: (self.sampled_once + looks * self.sampled_tokens) as u64,
            },
            rates: vec![("train.optimizer", Box::new(rate))],
            assumed: t.capped_by_epochs(n_rows.div_ceil(t.batch_size)),
        })
    }

    /// The forwards of the run, cut as `train::fit` cuts them.
    fn batches(&self, steps: usize) -> Batches {
        let (t, items) = (self.train, &self.train_items);
        let loader = |cursor| Loader::new(items.len(), t.batch_size, t.seed, cursor);
        let mut all = Batches::default();
        let extrapolated = visit_batches(steps, loader, |_, batch, times| {
            let batch: Vec<_> = batch.iter().map(|i| &items[*i][..]).collect();
            all.add_micro_batches(&batch, t.micro_batch_tokens, times);
        });
        if extrapolated {
            let size = |item: &Vec<RowSize>| (counted_tokens(item), Forward::packed(item).tokens);
            let sizes: Vec<_> = items.iter().map(size).collect();
            let most = largest_micro_batch(&sizes, t.batch_size, t.micro_batch_tokens);
            all.allow_for(most);
        }
        all
    }

    fn workload(&self, mut batches: Batches, parameters: usize) -> Result<Workload> {
        let longest = |items: &[Vec<RowSize>]| {
            let tokens = items.iter().map(|item| Forward::packed(item).tokens);
            tokens.max().unwrap_or(0)
        };
        let (mut longest, evaluated) = (longest(&self.train_items), longest(&self.eval_items));
        let mut eval = Batches::default();
        let items: Vec<_> = self.eval_items.iter().map(Vec::as_slice).collect();
        eval.add_micro_batches(&items, self.train.micro_batch_tokens, 1);
        if self.lora.is_none() {
            // trained weights record a graph in evaluations, too
            batches.add(eval.largest, 0);
            longest = longest.max(evaluated);
        }
        // a reward model's samples are drawn by the adapter that its training starts from
        let sampler = self.head > 0 && self.meta.adapter.is_some();
        let adapters = usize::from(self.lora.is_some()) + usize::from(sampler);
        Ok(Workload {
            shape: self.meta.base.config.clone(),
            device: DeviceChoice::parse(self.device)?,
            weight_bytes: self.weights.bytes_in_use(),
            parameters,
            adapter_numbers: adapters * parameters,
            graphs: vec![(self.graph_name, self.lora.cloned())],
            largest: batches.largest,
            longest,
            scoring: ScoringMemory {
                micro_batched: eval.largest.tokens,
                longest: evaluated.max(self.scoring.longest),
                ..self.scoring
            },
            sampling: self.sampling,
            rows_key: self.rows_key,
        })
    }
}

impl Batches {
    /// Adds the forwards that a batch of items is cut into.
    fn add_micro_batches(&mut self, batch: &[&[RowSize]], max_tokens: usize, times: usize) {
        let counted: Vec<usize> = batch.iter().map(|item| counted_tokens(item)).collect();
        for range in ops::micro_batches(&counted, max_tokens) {
            let forwards = batch[range].iter().map(|item| Forward::packed(item));
            self.add(forwards.sum(), times);
        }
    }
}
