//! The plan of a stage that trains by the fit loop (`train::fit`): sft and reward-model.

use crate::batches::{Batches, Forward, largest_micro_batch, visit_batches};
use crate::budget::MemoryConfig;
use crate::disk::Disk;
use crate::plan::{Certainty, Plan, Steps, Tokens, n_times, notes, tokenizer_bytes};
use crate::workload::{Graph, SamplingMemory, ScoringMemory, Workload};
use anyhow::Result;
use data::Loader;
use models::{LoraConfig, WeightsMeta};
use policy::{DeviceChoice, PolicyMeta};
use std::path::Path;
use train::FitConfig;

/// Bytes of a row of metrics.jsonl and of TensorBoard's events.
const LOGGED: usize = 1_000;

/// The sizes of one item of the fit loop.
#[derive(Clone, Copy, Debug)]
pub struct FitItem {
    /// Tokens that count towards `train.micro_batch_tokens`
    pub counted: usize,
    /// What it adds to a forward
    pub forward: Forward,
}

/// A stage, its model and its items.
pub struct FitStage<'a> {
    pub name: &'static str,
    /// The words for the rows and for the trained model in the plan's text
    pub rows_are: &'static str,
    pub graph_name: &'static str,
    pub dir: &'a Path,
    pub train: &'a FitConfig,
    pub device: &'a str,
    pub meta: &'a PolicyMeta,
    pub weights: &'a WeightsMeta,
    /// Settings of the adapter that is trained. None: all weights of the base are trained
    pub lora: Option<&'a LoraConfig>,
    /// Trained numbers, their bytes in a file, and the directory that they are saved to
    pub parameters: usize,
    pub trained_bytes: u64,
    pub result: &'static str,
    /// Numbers of frozen adapters
    pub frozen_numbers: usize,
    pub train_items: Vec<FitItem>,
    pub eval_items: Vec<FitItem>,
    /// What is scored beside `eval_items`
    pub scoring: ScoringMemory,
    pub sampling: SamplingMemory,
    /// Tokens sampled in the whole run, at most, and bytes written into samples/
    pub sampled_tokens: usize,
    pub sample_bytes: usize,
}

impl FitStage<'_> {
    /// Optimiser steps of the run.
    pub fn steps(config: &FitConfig, n_rows: usize) -> usize {
        config.total_steps(n_rows.div_ceil(config.batch_size))
    }

    pub fn plan(self) -> Result<Plan> {
        let (t, base, n_rows) = (self.train, &self.meta.base, self.train_items.len());
        let steps = Self::steps(t, n_rows);
        let batches = self.batches(steps);
        let (memory, work) = (MemoryConfig::from(t), self.workload(batches.largest)?);
        let optimizer = t.optimizer.clone();
        let tokenizer = tokenizer_bytes(base)?;
        let logged = n_times(steps, t.log_every) + n_times(steps, t.eval_every);
        // an adapter is saved without the tokenizer
        let with_tokenizer = if self.result == "adapter" {
            0
        } else {
            tokenizer as u64
        };
        Ok(Plan {
            stage: self.name.into(),
            source: self.meta.source.clone(),
            n_weights: self.weights.n_params,
            weights_here: self.weights.present,
            notes: notes(&work, memory, self.weights),
            memory: memory.plan(work)?,
            disk: Disk {
                dir: self.dir.to_path_buf(),
                trained: self.trained_bytes,
                copies: 0,
                retention: t.keep(),
                n_checkpoints: n_times(steps, t.save_every),
                results: vec![(self.result, self.trained_bytes + with_tokenizer)],
                other: tokenizer + logged * LOGGED + self.sample_bytes,
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
                evaluated_at_most: self.sampled_tokens as u64,
            },
            rates: vec![(
                "train.optimizer",
                Box::new(move |step| optimizer.lr_at(step, steps)),
            )],
        })
    }

    /// The forwards of the run, cut as `train::fit` cuts them.
    fn batches(&self, steps: usize) -> Batches {
        let (t, items) = (self.train, &self.train_items);
        let loader = |cursor| Loader::new(items.len(), t.batch_size, t.seed, cursor);
        let (mut all, mut extrapolated) = (Batches::default(), false);
        visit_batches(steps, loader, |_, batch, times| {
            let batch: Vec<FitItem> = batch.iter().map(|i| items[*i]).collect();
            all.add_micro_batches(&batch, t.micro_batch_tokens, times);
            extrapolated |= times > 1;
        });
        if extrapolated {
            let sizes = |item: &FitItem| (item.counted, item.forward.tokens);
            let sizes: Vec<_> = items.iter().map(sizes).collect();
            all.allow_for(largest_micro_batch(
                &sizes,
                t.batch_size,
                t.micro_batch_tokens,
            ));
        }
        all
    }

    fn workload(&self, mut largest: Forward) -> Result<Workload> {
        let tokens = |items: &[FitItem]| items.iter().map(|i| i.forward.tokens).max().unwrap_or(0);
        let mut evaluated = Batches::default();
        evaluated.add_micro_batches(&self.eval_items, self.train.micro_batch_tokens, 1);
        let mut longest = tokens(&self.train_items);
        let longest_evaluated = tokens(&self.eval_items);
        if self.lora.is_none() {
            // trained weights record a graph in evaluations, too
            largest = largest.max(evaluated.largest);
            longest = longest.max(longest_evaluated);
        }
        Ok(Workload {
            shape: self.meta.base.config.clone(),
            device: DeviceChoice::parse(self.device)?,
            weight_bytes: self.weights.bytes_in_use(),
            parameters: self.parameters,
            adapter_numbers: self.lora.map_or(0, |_| self.parameters) + self.frozen_numbers,
            graphs: vec![Graph {
                name: self.graph_name,
                lora: self.lora.cloned(),
            }],
            largest,
            longest,
            scoring: ScoringMemory {
                micro_batched: evaluated.largest.tokens,
                longest: longest_evaluated.max(self.scoring.longest),
                ..self.scoring
            },
            sampling: self.sampling,
        })
    }
}

impl Batches {
    /// Adds the forwards that a batch of items is cut into.
    fn add_micro_batches(&mut self, batch: &[FitItem], max_tokens: usize, times: usize) {
        let counted: Vec<usize> = batch.iter().map(|item| item.counted).collect();
        for range in ops::micro_batches(&counted, max_tokens) {
            let forwards = batch[range].iter().map(|item| item.forward);
            self.add(forwards.sum(), times);
        }
    }
}
