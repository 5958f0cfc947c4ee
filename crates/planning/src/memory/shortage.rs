//! A card that is full in the middle of a run, and the cheapest change with which it would not have been.

use super::{Choice, Estimate, GB, MemoryConfig, Workload, choice::change};
use anyhow::{Error, Result, anyhow};
use models::Config;

/// How NVIDIA's libraries say that there is no memory left.
const CODES: [&str; 3] = [
    "CUDA_ERROR_OUT_OF_MEMORY",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CURAND_STATUS_ALLOCATION_FAILED",
];
/// Where a run filled the card although it was to fit: the share of its count that the advice keeps to.
const LESS: f64 = 0.95;

/// Whether an operation failed since the card is full.
pub fn is_shortage(error: &Error) -> bool {
    let line = run::one_line(error);
    CODES.iter().any(|code| line.contains(code))
}

/// What was planned, to be told when it did not hold.
#[derive(Clone, Debug)]
pub struct Planned {
    pub config: Config,
    pub work: Workload,
    pub choice: Choice,
}

impl Planned {
    /// What `memory` chooses, said on stderr.
    pub fn new(memory: MemoryConfig, config: &Config, work: Workload) -> Result<Self> {
        let choice = memory.choose(config, &work)?;
        choice.report();
        Ok(Self {
            config: config.clone(),
            work,
            choice,
        })
    }

    /// A shortage with what to do about it, in one line; any other error as it is.
    pub fn with_oom_advice(&self, error: Error) -> Error {
        if !is_shortage(&error) {
            return error;
        }
        let usable = policy::usable_bytes(self.work.device).map(|bytes| bytes as f64);
        anyhow!("{}; {}", run::one_line(&error), self.advice(usable))
    }

    /// With `usable` bytes for this process now (None: unknown).
    pub fn advice(&self, usable: Option<f64>) -> String {
        let Self {
            config,
            work,
            choice,
        } = self;
        let planned = choice.estimate.total();
        let budget = usable.map_or(LESS * planned, |bytes| bytes.min(LESS * planned));
        let now = match usable {
            Some(bytes) if bytes < planned => {
                format!(", of which it could have {:.1} now", bytes / GB)
            }
            _ => String::new(),
        };
        let fits = |blocks: &usize| Estimate::of(config, work, *blocks).total() <= budget;
        let layers = config.num_hidden_layers;
        let change = match (choice.blocks + 1..=layers).find(fits) {
            Some(_) if choice.memory_gb.is_some() => {
                let gb = (budget / GB * 10.0).floor() / 10.0;
                format!("lower train.memory_gb to {gb:.1}")
            }
            Some(blocks) => format!("set train.checkpoint_blocks = {blocks}"),
            None => {
                let all = format!("set train.checkpoint_blocks = {layers}");
                let all = Some(all).filter(|_| choice.blocks < layers);
                let changes = all.into_iter().chain(change(config, work, budget));
                let changes: Vec<String> = changes.collect();
                match changes.is_empty() {
                    true => "free the card, or take a larger one".into(),
                    false => changes.join(" and "),
                }
            }
        };
        format!(
            "the card is full: {:.1} GB were planned{now}; {change}, then go on with --resume",
            planned / GB
        )
    }
}
