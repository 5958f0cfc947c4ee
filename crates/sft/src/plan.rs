//! What an sft run will take.

use crate::config::{Config, template_is_given};
use crate::prepare::{Opened, Prepared, SAMPLE_ROWS};
use anyhow::Result;
use data::Examples;
use models::Fetch;
use planning::{Graph, Plan, RowSize, Sampling, Workload, n_times};
use run::PlanArgs;
use std::path::Path;

/// Predicts what [`run`](crate::run) would take. Loads no weight.
pub fn plan(args: &PlanArgs, config: &Config) -> Result<Plan> {
    let dir = args.run.clone().unwrap_or_else(|| "runs/sft".into());
    let opened = Opened::new(config, None)
        .map_err(|e| planning::explain_untrained_source(&config.model.source, e))?;
    opened.report_template(template_is_given(args.config.as_deref(), &args.sets)?);
    config.refuse_unused(&opened.meta.own_settings(), false)?;
    opened.prepare(config, Fetch::Shape)?.plan(config, &dir)
}

impl Prepared {
    /// The plan that the run in `dir` starts from.
    pub fn plan(&self, config: &Config, dir: &Path) -> Result<Plan> {
        let unit =
            |rows: &Examples<1>, row: usize| vec![RowSize::alone(rows.shape(row)[0].tokens())];
        let eval: Vec<_> = (0..self.eval.len())
            .map(|row| unit(&self.eval, row))
            .collect();
        let graph = Graph {
            name: "policy",
            lora: self.lora.clone(),
            head: 0,
        };
        let work = Workload::new(&self.meta, &self.weights, &config.device, dir)?;
        let work = work.fit(
            &config.train,
            graph,
            &self.train.mixture(),
            &|row| unit(&self.train, row),
            &eval,
        );
        let (n, room) = (self.prompts.len(), config.samples.max_new_tokens);
        let sampled = n_times(work.steps, config.train.sample_every) * n * room;
        let result = match self.lora {
            Some(_) => ("adapter", false),
            None => ("model", true),
        };
        Workload {
            stage: "sft".into(),
            sampling: vec![Sampling::of(self.prompt_lens.clone(), n, room, SAMPLE_ROWS)],
            rows_key: "samples.n",
            evaluated_tokens: sampled,
            results: vec![result],
            log_bytes: work.log_bytes + 5 * sampled,
            ..work
        }
        .plan()
    }
}
