//! Advice for a run that fills its GPU although it was planned to fit.

use crate::budget::cheapest_change;
use crate::estimate::{Estimate, GB};
use crate::plan::Plan;
use anyhow::{Error, anyhow};

/// How NVIDIA's libraries report that there is no memory left.
const CODES: [&str; 3] = [
    "CUDA_ERROR_OUT_OF_MEMORY",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CURAND_STATUS_ALLOCATION_FAILED",
];
/// The share of the planned memory that the advice stays within, since the plan was too low.
const MARGIN: f64 = 0.95;

/// Whether an operation failed because the GPU is out of memory.
///
/// ```
/// let error = anyhow::anyhow!("CublasError(CUBLAS_STATUS_ALLOC_FAILED)").context("forward");
/// assert!(planning::is_out_of_memory(&error));
/// ```
pub fn is_out_of_memory(error: &Error) -> bool {
    let line = run::one_line(error);
    CODES.iter().any(|code| line.contains(code))
}

impl Plan {
    /// Adds advice to an error for lack of GPU memory, in one line. Returns other errors unchanged.
    pub fn with_oom_advice(&self, error: Error) -> Error {
        if !is_out_of_memory(&error) {
            return error;
        }
        let usable = policy::usable_bytes(self.work.device).map(|bytes| bytes as f64);
        anyhow!("{}; {}", run::one_line(&error), self.oom_advice(usable))
    }

    /// The cheapest change for a GPU on which this process can have `usable` bytes (None: unknown).
    pub fn oom_advice(&self, usable: Option<f64>) -> String {
        let (work, planned) = (&self.work, self.estimate.total());
        let budget = usable.unwrap_or(f64::MAX).min(MARGIN * planned);
        let available = usable.filter(|bytes| *bytes < planned);
        let available = available.map(|b| format!(" and {:.1} GB are available", b / GB));
        let n_layers = work.shape.num_hidden_layers;
        let fits = |layers: &usize| Estimate::of(work, *layers).total() <= budget;
        let set = |layers: usize| format!("set train.checkpoint_blocks = {layers}");
        let changes = match ((self.layers + 1..=n_layers).find(fits), work.memory_gb) {
            (Some(layers), None) => vec![set(layers)],
            (Some(_), Some(_)) => {
                let gb = (budget / GB * 10.0).floor() / 10.0;
                vec![format!("lower train.memory_gb to {gb:.1}")]
            }
            (None, _) => {
                let all = (self.layers < n_layers).then(|| set(n_layers));
                let change = cheapest_change(work, budget);
                all.into_iter().chain(change).collect()
            }
        };
        let change = match changes.is_empty() {
            true => "free GPU memory, or use a larger GPU".into(),
            false => changes.join(" and "),
        };
        format!(
            "the GPU is out of memory: {:.1} GB were planned{}; {change}, then resume with --resume",
            planned / GB,
            available.unwrap_or_default()
        )
    }
}
