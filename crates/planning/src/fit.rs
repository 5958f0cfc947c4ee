//! The fit loop (`train::fit`) of sft and reward-model.

use crate::forwards::{Cut, Forwards, Unit, longest};
use crate::plan::n_times;
use crate::rows::Forward;
use crate::workload::{Graph, Scoring, Workload};
use std::rc::Rc;
use train::FitConfig;

/// Bytes of a row of metrics.jsonl and of TensorBoard's events.
const LOGGED: usize = 1_000;

impl Workload {
    /// Training and evaluation by the fit loop. An item is one row, or rows that share a prompt.
    pub fn fit(self, t: &FitConfig, graph: Graph, train: Vec<Unit>, eval: &[Unit]) -> Self {
        let rows = train.len();
        let per_epoch = rows.div_ceil(t.batch_size);
        let steps = t.total_steps(per_epoch);
        let cut = Cut {
            steps,
            batch_size: t.batch_size,
            seed: t.seed,
            minibatches: &|_, n| vec![(0..n).collect()],
            limit: t.micro_batch_tokens,
            counts_packed: false,
            known: true,
        };
        let groups: Vec<_> = train.into_iter().map(|item| vec![item]).collect();
        let mut forwards = Forwards::of(&groups, &cut);
        let evaluated = cut.forwards(&eval.iter().collect::<Vec<_>>());
        let evaluated = evaluated.into_iter().fold(Forward::default(), Forward::max);
        let longest_evaluated = longest(eval);
        if graph.lora.is_none() {
            // trained weights record a graph in evaluations, too
            forwards.largest = forwards.largest.max(evaluated);
            forwards.longest_unit = forwards.longest_unit.max(longest_evaluated);
        }
        let optimizer = t.optimizer.clone();
        let rate = move |step| optimizer.lr_at(step, steps, run::Rules::CURRENT);
        let logged = n_times(steps, t.log_every) + n_times(steps, t.eval_every);
        Self {
            memory_gb: t.memory_gb,
            checkpoint_layers: t.checkpoint_blocks,
            graphs: vec![graph],
            steps,
            rows,
            rows_per_step: t.batch_size.min(rows),
            forwards,
            rates: vec![("train.optimizer", Rc::new(rate))],
            scoring: Scoring {
                micro_batched: evaluated.tokens,
                whole: 0,
                longest: longest_evaluated,
            },
            n_checkpoints: n_times(steps, t.save_every),
            retention: t.keep(),
            log_bytes: logged * LOGGED,
            assumed: t.capped_by_epochs(per_epoch),
            ..self
        }
    }
}
