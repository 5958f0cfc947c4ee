//! The objective of SFT: negative log-likelihood of the response tokens.

use crate::config::Config;
use crate::prepare::{SAMPLE_ROWS, Start};
use anyhow::Result;
use candle_core::{Tensor, Var};
use data::{Example, Examples, Mixture, Prompt};
use generation::{Engine, Request, Sampling};
use models::{CausalLm, HfCopy, Lora, WrittenDtype};
use policy::Batch;
use run::Run;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use train::Evaluation;

pub(crate) struct Objective {
    start: Start,
    dropout: bool,
    micro_batch_tokens: usize,
    eval: Examples<1>,
    prompts: Vec<Prompt>,
    max_new_tokens: usize,
    params: Vec<(String, Var)>,
}

impl Objective {
    pub fn new(
        start: Start,
        config: &Config,
        eval: Examples<1>,
        prompts: Vec<Prompt>,
    ) -> Result<Self> {
        let params = match &start.adapter {
            Some(adapter) => adapter.vars(),
            None => start.base.model.vars(),
        };
        Ok(Self {
            dropout: start
                .adapter
                .as_ref()
                .is_some_and(|a| a.config.dropout > 0.0),
            start,
            micro_batch_tokens: config.train.micro_batch_tokens,
            eval,
            prompts,
            max_new_tokens: config.samples.max_new_tokens,
            params,
        })
    }

    pub fn parameter_counts(&self) -> serde_json::Value {
        let trainable: usize = self.params.iter().map(|(_, var)| var.elem_count()).sum();
        serde_json::json!({ "base": self.start.base.model.n_params(), "trainable": trainable })
    }

    fn model(&self) -> &CausalLm {
        &self.start.base.model
    }

    /// Summed negative log-likelihood of the labels of `items`.
    fn nll_sum(
        &self,
        items: &[&Example],
        lora: Option<&Lora>,
        dropout: Option<u64>,
    ) -> Result<Tensor> {
        let batch = Batch::of_examples(items);
        let before = batch.before_labels(&batch.hidden(self.model(), lora, dropout)?)?;
        let targets = &batch.labels.targets;
        let logp = if self.start.adapter.is_some() {
            let (model, ones) = (self.model(), vec![1.0; targets.len()]);
            let compute = model.compute();
            compute
                .token_scores(&before, model.head(), targets, &ones)?
                .logp
        } else {
            ops::token_scores_trainable(&before, self.model().head(), targets)?
        };
        Ok(logp.sum_all()?.neg()?)
    }
}

/// The rows to learn from.
pub(crate) struct TrainingRows(pub Examples<1>);

impl train::Rows for TrainingRows {
    type Item = Example;

    fn mixture(&self) -> Mixture {
        self.0.mixture()
    }

    fn get(&self, row: usize) -> Result<Example> {
        let [example] = self.0.get(row)?;
        Ok(example)
    }
}

impl train::Objective for Objective {
    type Item = Example;

    fn frozen(&self) -> Vec<(String, Tensor)> {
        match self.start.adapter {
            Some(_) => self.model().tensors(),
            None => Vec::new(),
        }
    }

    fn tokens(&self, item: &Example) -> usize {
        item.ids.len()
    }

    fn count(&self, items: &[&Example]) -> usize {
        items.iter().map(|e| e.n_labels()).sum()
    }

    fn loss_sum(
        &mut self,
        items: &[&Example],
        step: u64,
    ) -> Result<(Tensor, BTreeMap<String, f64>)> {
        let dropout = self.dropout.then_some(step);
        Ok((
            self.nll_sum(items, self.start.adapter.as_ref(), dropout)?,
            BTreeMap::new(),
        ))
    }

    fn evaluate(&mut self) -> Result<Evaluation> {
        let frozen = self.start.adapter.as_ref().map(Lora::frozen);
        let eval = &self.eval;
        let lens: Vec<usize> = (0..eval.len())
            .map(|row| eval.shape(row)[0].tokens())
            .collect();
        let (mut nll, mut count) = (0.0, 0);
        for range in ops::micro_batches(&lens, self.micro_batch_tokens) {
            let rows = range.map(|row| eval.get(row));
            let rows = rows.collect::<data::Result<Vec<_>>>()?;
            let items: Vec<&Example> = rows.as_flattened().iter().collect();
            nll += self
                .nll_sum(&items, frozen.as_ref(), None)?
                .to_scalar::<f32>()? as f64;
            count += items.iter().map(|e| e.n_labels()).sum::<usize>();
        }
        let loss = nll / count.max(1) as f64;
        let metrics = BTreeMap::from([("perplexity".to_string(), loss.exp())]);
        Ok(Evaluation { loss, metrics })
    }

    fn has_held_out(&self) -> bool {
        !self.eval.is_empty()
    }

    fn params(&self) -> Vec<(String, Var)> {
        self.params.clone()
    }

    fn save_result(&self, run: &Run) -> Result<()> {
        let base = &self.start.base;
        match &self.start.adapter {
            Some(adapter) => run.replace_dir("adapter", |dir| Ok(adapter.save(dir, &base.source)?)),
            None => run.replace_dir("model", |dir| {
                let copy = HfCopy {
                    tokenizer: &base.tokenizer,
                    special: &base.special,
                    chat_template: base.chat_template.as_deref(),
                    defaults: &base.defaults,
                    adapter: None,
                    dtype: WrittenDtype::F32,
                };
                Ok(base.model.save_copy(dir, &copy)?)
            }),
        }
    }

    fn save_params(&self, dir: &Path) -> Result<()> {
        train::save_params(&self.params, &dir.join("params.safetensors"))
    }

    fn load_params(&mut self, dir: &Path) -> Result<()> {
        train::load_params(&self.params, &dir.join("params.safetensors"))
    }

    fn sample(&mut self, step: u64) -> Result<Option<String>> {
        if self.prompts.is_empty() {
            return Ok(None);
        }
        let encoder = &self.start.encoder;
        let sampling = Sampling {
            temperature: 0.0,
            max_new_tokens: self.max_new_tokens,
            ..Sampling::default()
        };
        let mut requests = Vec::new();
        for prompt in &self.prompts {
            requests.push(Request {
                prompt: encoder.prompt(prompt)?,
                n: 1,
                sampling,
                stream: [0, step, 0],
            });
        }
        let frozen = self.start.adapter.as_ref().map(Lora::frozen);
        let stop = &encoder.ends().stop;
        let engine = Engine {
            model: self.model(),
            lora: frozen.as_ref(),
            stop,
            max_rows: SAMPLE_ROWS,
            keep_states: false,
        };
        let mut text = format!("# Step {step}: greedy answers to held-out prompts\n");
        for sample in engine.run(&requests, &mut |_, _| {})? {
            let prompt = self.prompts[sample.request].ask.text();
            write!(text, "\n## {prompt}\n\n{}\n", encoder.decode(&sample.ids)?)?;
        }
        Ok(Some(text))
    }
}
