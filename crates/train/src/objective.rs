//! What the fit loop optimises: the seam between it and a stage.

use anyhow::Result;
use candle_core::{Tensor, Var};
use run::Run;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// What is optimised. A stage implements this and nothing else of the loop.
pub trait Objective {
    /// Saved as JSON where a step is refused
    type Item: Serialize;

    /// Tokens a forward spends on one item, for the micro-batch budget and tokens/s.
    fn tokens(&self, item: &Self::Item) -> usize;

    /// What a step's summed loss is divided by: response tokens (sft), pairs (reward model). Over the whole step, so that
    /// the cut into micro-batches changes nothing.
    fn count(&self, items: &[&Self::Item]) -> usize;

    /// Summed loss of one micro-batch, a scalar with graph, and sums of further metrics (logged as `train/<name>`, divided
    /// as the loss is). `draw` is unique to this forward and the same on every run: it keys dropout. Draw 0 is the check
    /// before a checkpoint, which trains nothing.
    fn loss_sum(
        &mut self,
        items: &[&Self::Item],
        draw: u64,
    ) -> Result<(Tensor, BTreeMap<String, f64>)>;

    /// Held-out loss (lower is better; it picks the best) and metrics, logged as `eval/<name>`. No graph.
    fn evaluate(&mut self) -> Result<Evaluation>;

    /// False: there is nothing to evaluate on, so no held-out loss is logged and the result is the latest.
    fn has_held_out(&self) -> bool {
        true
    }

    /// Trainable parameters by name, in a fixed order.
    fn params(&self) -> Vec<(String, Var)>;

    /// Weights that training must leave alone, in a fixed order.
    fn frozen(&self) -> Vec<(String, Tensor)> {
        Vec::new()
    }

    /// Puts the result (adapter, reward artefact, model) into the run: called whenever the held-out loss is the best so far.
    fn save_result(&self, run: &Run) -> Result<()>;

    /// Writes the trainable parameters into a checkpoint.
    fn save_params(&self, dir: &Path) -> Result<()>;

    fn load_params(&mut self, dir: &Path) -> Result<()>;

    /// Readable samples of the present state, Markdown.
    fn sample(&mut self, step: u64) -> Result<Option<String>>;
}

#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    pub loss: f64,
    pub metrics: BTreeMap<String, f64>,
}
