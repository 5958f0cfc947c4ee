//! What the fit loop optimises: the interface between the loop and a stage.

use anyhow::Result;
use candle_core::{Tensor, Var};
use data::Mixture;
use run::Run;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Rows to learn from, of which a step reads its own.
pub trait Rows {
    /// One row
    type Item;

    /// How often each row is visited in an epoch
    fn mixture(&self) -> Mixture;

    /// The row of this number
    fn get(&self, row: usize) -> Result<Self::Item>;
}

impl<T: Clone> Rows for Vec<T> {
    type Item = T;

    fn mixture(&self) -> Mixture {
        Mixture::of_rows(self.len())
    }

    fn get(&self, row: usize) -> Result<T> {
        Ok(self[row].clone())
    }
}

/// What is optimised. A stage implements this trait and nothing else of the loop.
pub trait Objective {
    /// One row of data; saved as JSON where a step is refused
    type Item: Serialize;

    /// Tokens of one item in a forward, for the micro-batch budget and tokens/s.
    fn tokens(&self, item: &Self::Item) -> usize;

    /// What a step's summed loss is divided by: response tokens (sft), pairs (reward model).
    /// Counted over the whole step, so that micro-batches change nothing.
    fn count(&self, items: &[&Self::Item]) -> usize;

    /// The summed loss of one micro-batch, a scalar with graph, and sums of further metrics (logged
    /// as `train/<name>`, divided as the loss is). `draw` keys dropout: unique to this forward,
    /// the same on every run of these settings, and another with another seed. Draw 0 is the check
    /// before a checkpoint, which trains nothing.
    fn loss_sum(
        &mut self,
        items: &[&Self::Item],
        draw: u64,
    ) -> Result<(Tensor, BTreeMap<String, f64>)>;

    /// The held-out loss, which picks the best result, and metrics, logged as `eval/<name>`. No
    /// graph.
    fn evaluate(&mut self) -> Result<Evaluation>;

    /// False: there are no held-out rows. No held-out loss is logged, and the result is the latest.
    fn has_held_out(&self) -> bool {
        true
    }

    /// Trainable parameters by name, in a fixed order.
    fn params(&self) -> Vec<(String, Var)>;

    /// Weights that training must not change, in a fixed order.
    fn frozen(&self) -> Vec<(String, Tensor)> {
        Vec::new()
    }

    /// Writes the result (adapter, reward artefact, model) into the run. Called whenever the
    /// held-out loss is the best so far.
    fn save_result(&self, run: &Run) -> Result<()>;

    /// Writes the trainable parameters into a checkpoint.
    fn save_params(&self, dir: &Path) -> Result<()>;

    /// Reads what [`save_params`](Self::save_params) wrote.
    fn load_params(&mut self, dir: &Path) -> Result<()>;

    /// Samples of the present state as Markdown.
    fn sample(&mut self, step: u64) -> Result<Option<String>>;
}

/// Held-out numbers of an [`Objective`].
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Lower is better
    pub loss: f64,
    pub metrics: BTreeMap<String, f64>,
}
