//! The fit loop (`train::fit`) of sft and reward-model.

use crate::forwards::{Cut, Forwards, LOOKED_AT, Unit, longest};
use crate::plan::n_times;
use crate::rows::Forward;
use crate::workload::{Graph, Scoring, Workload};
use data::Mixture;
use std::rc::Rc;
use train::FitConfig;

/// The items that are looked at.
enum Part {
    All,
    Some(Vec<usize>),
}

impl Part {
    fn of(mixture: &Mixture, seed: u64, unit: &dyn Fn(usize) -> Unit) -> Self {
        let n = mixture.n_rows();
        if n <= LOOKED_AT {
            return Self::All;
        }
        let longest = (0..n).max_by_key(|row| longest(&[unit(*row)]));
        let visits = mixture.epoch(seed, 0);
        let place = |i: usize| (i as u128 * visits.len() as u128 / LOOKED_AT as u128) as usize;
        let spread = (0..LOOKED_AT).map(|i| visits[place(i)]);
        Self::Some(longest.into_iter().chain(spread).collect())
    }

    fn len(&self, n: usize) -> usize {
        match self {
            Self::All => n,
            Self::Some(numbers) => numbers.len(),
        }
    }
}

/// Bytes of a row of metrics.jsonl and of TensorBoard's events.
const LOGGED: usize = 1_000;

impl Workload {
    /// Training and evaluation by the fit loop. An item is one row, or rows that share a prompt:
    /// `unit` has the sizes of the item of a number. Of very many items a part is looked at.
    pub fn fit(
        self,
        t: &FitConfig,
        graph: Graph,
        mixture: &Mixture,
        unit: &dyn Fn(usize) -> Unit,
        eval: &[Unit],
    ) -> Self {
        let rows = mixture.n_rows();
        let per_epoch = mixture.n_visits().div_ceil(t.batch_size);
        let steps = t.total_steps(per_epoch);
        let part = Part::of(mixture, t.seed, unit);
        let walked = match &part {
            Part::All => steps,
            Part::Some(numbers) => steps.min(numbers.len() / t.batch_size).max(1),
        };
        let of_part = Mixture::of_rows(part.len(rows));
        let cut = Cut {
            steps: walked,
            batch_size: t.batch_size,
            seed: t.seed,
            mixture: match &part {
                Part::All => mixture,
                Part::Some(_) => &of_part,
            },
            minibatches: &|_, n| vec![(0..n).collect()],
            limit: t.micro_batch_tokens,
            counts_packed: false,
            known: true,
        };
        let groups: Vec<_> = match &part {
            Part::All => (0..rows).map(|row| vec![unit(row)]).collect(),
            Part::Some(numbers) => numbers.iter().map(|row| vec![unit(*row)]).collect(),
        };
        let mut forwards = Forwards::of(groups.len(), &|i| groups[i].clone(), &cut);
        if walked < steps {
            forwards.represent(steps, walked, &groups, &cut);
        }
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
