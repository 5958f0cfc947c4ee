//! A weighted sum of sources: `total = Σ_k weight_k · clip_k(normalise_k(score_k))`.

use crate::moments::Moments;
use crate::shared::{Normalise, Shared};
use crate::source::{OpenSource, no_model};
use crate::{Error, Item, Result, RewardModel, SourceConfig};
use models::CausalLm;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The open sources of a run.
///
/// Two rules as a weighted sum; neither reads the model:
/// ```
/// use candle_core::Device;
/// use models::{CausalLm, Config};
/// use rewards::{Item, Mixture, SourceConfig};
///
/// let length: SourceConfig = toml::from_str("kind = 'length'\nunit = 'words'\ntarget = 4")?;
/// let format: SourceConfig = toml::from_str("kind = 'format'\nends_with = '.'\nweight = 0.5")?;
/// let mut mixture = Mixture::open(&[length, format], None)?;
///
/// # let config = Config::from_json(&serde_json::json!({
/// #     "model_type": "llama", "hidden_act": "silu", "vocab_size": 16, "hidden_size": 8,
/// #     "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
/// #     "num_key_value_heads": 1, "rms_norm_eps": 1e-5, "max_position_embeddings": 16,
/// #     "tie_word_embeddings": true, "rope_theta": 10000.0,
/// # }))?;
/// let model = CausalLm::init(&config, 1, &Device::Cpu)?;
/// let item = Item {
///     prompt: "Name two colours.",
///     response: "Red and blue.",
///     reference: None,
///     ids: &[1, 2, 3, 4, 5],
///     prompt_len: 1,
///     n_response_tokens: 4,
/// };
/// let scored = mixture.score(&model, &[item])?;
/// assert_eq!(scored.total, [1.25]); // 3 of 4 words, and half a point for the full stop
/// assert_eq!(scored.means["length"], 0.75);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Mixture {
    entries: Vec<Entry>,
    model: Option<RewardModel>,
}

struct Entry {
    /// The kind; the second of a kind is `kind_2`
    name: String,
    shared: Shared,
    source: OpenSource,
    /// Its scores are in 0..1
    in_unit_range: bool,
    /// Moments of all scores so far, where the source is normalised by them
    running: Moments,
}

/// Raw scores of some rows: one per row for each source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Readings(Vec<Vec<f32>>);

/// The rewards of some rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// Per row
    pub total: Vec<f32>,
    /// Mean raw score of each source over the rows, by name
    pub means: BTreeMap<String, f64>,
}

impl Mixture {
    /// Checks the settings and starts the programs. `model` may be given without a source of its
    /// kind, for other uses.
    pub fn open(configs: &[SourceConfig], model: Option<RewardModel>) -> Result<Self> {
        crate::check(configs)?;
        if crate::needs_model(configs) && model.is_none() {
            return Err(no_model());
        }
        let mut entries: Vec<Entry> = Vec::with_capacity(configs.len());
        for (i, config) in configs.iter().enumerate() {
            let kind = config.kind.name();
            let same = |before: &&SourceConfig| before.kind.name() == kind;
            let name = match configs[..i].iter().filter(same).count() {
                0 => kind.to_string(),
                n => format!("{kind}_{}", n + 1),
            };
            let source = OpenSource::open(&config.kind).map_err(|e| named(&name, e))?;
            entries.push(Entry {
                name,
                shared: config.shared.clone(),
                source,
                in_unit_range: config.kind.in_unit_range(),
                running: Moments::default(),
            });
        }
        Ok(Self { entries, model })
    }

    /// The trained reward model, if there is one.
    pub fn model(&self) -> Option<&RewardModel> {
        self.model.as_ref()
    }

    /// Whether there is no source.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether every sum is in 0..1: all sources are, none is normalised, and the weights are at
    /// least 0 and at most 1 together.
    pub fn in_unit_range(&self) -> bool {
        let unit = |e: &Entry| {
            e.in_unit_range && e.shared.normalise == Normalise::None && e.shared.weight >= 0.0
        };
        let weights: f64 = self.entries.iter().map(|e| e.shared.weight).sum();
        self.entries.iter().all(unit) && weights <= 1.0 + 1e-9
    }

    /// The weighted sums of rows scored as one batch: [`read`](Self::read), then
    /// [`sum`](Self::sum).
    pub fn score(&mut self, model: &CausalLm, items: &[Item]) -> Result<Scored> {
        let readings = self.read(model, items)?;
        Ok(self.sum(&readings))
    }

    /// The raw score of each row by each source. The items come as one batch; batches can be joined
    /// by [`Readings::extend`].
    pub fn read(&mut self, model: &CausalLm, items: &[Item]) -> Result<Readings> {
        let reward = self.model.as_ref();
        let read = |entry: &mut Entry| {
            let scores = entry.source.read(items, model, reward);
            scores.map_err(|e| named(&entry.name, e))
        };
        Ok(Readings(
            self.entries.iter_mut().map(read).collect::<Result<_>>()?,
        ))
    }

    /// The weighted sums of one batch, which is added to the running statistics.
    pub fn sum(&mut self, readings: &Readings) -> Scored {
        let mut total = vec![0.0; readings.n_rows()];
        for (entry, scores) in self.entries.iter_mut().zip(&readings.0) {
            let by = match entry.shared.normalise {
                Normalise::None => None,
                Normalise::Batch => Some(Moments::of(scores)),
                Normalise::Running => {
                    entry.running.add(scores);
                    Some(entry.running)
                }
            };
            for (total, score) in total.iter_mut().zip(scores) {
                let score = by.map_or(f64::from(*score), |moments| moments.normalised(*score));
                *total += entry.shared.weight * entry.shared.clipped(score);
            }
        }
        self.scored(total, readings)
    }

    /// The weighted sums on one scale for the whole run, for evaluation: no source is normalised,
    /// and those that would be are not clipped.
    pub fn plain_sum(&self, readings: &Readings) -> Scored {
        let mut total = vec![0.0; readings.n_rows()];
        for (entry, scores) in self.entries.iter().zip(&readings.0) {
            for (total, score) in total.iter_mut().zip(scores) {
                let score = match entry.shared.normalise {
                    Normalise::None => entry.shared.clipped(f64::from(*score)),
                    _ => f64::from(*score),
                };
                *total += entry.shared.weight * score;
            }
        }
        self.scored(total, readings)
    }

    fn scored(&self, total: Vec<f64>, readings: &Readings) -> Scored {
        let mean = |scores: &Vec<f32>| {
            scores.iter().map(|s| f64::from(*s)).sum::<f64>() / scores.len().max(1) as f64
        };
        let names = self.entries.iter().map(|entry| entry.name.clone());
        Scored {
            means: names.zip(readings.0.iter().map(mean)).collect(),
            total: total.into_iter().map(|total| total as f32).collect(),
        }
    }

    /// The running statistics, for checkpoints.
    pub fn state(&self) -> Value {
        let running: Vec<Moments> = self.entries.iter().map(|entry| entry.running).collect();
        serde_json::to_value(running).unwrap_or_default()
    }

    /// Restores the running statistics of a checkpoint. Runs older than mixtures have none
    /// (`Null`).
    pub fn restore(&mut self, state: &Value) -> Result<()> {
        if state.is_null() {
            return Ok(());
        }
        let running = Vec::<Moments>::deserialize(state).ok();
        match running.filter(|running| running.len() == self.entries.len()) {
            Some(running) => {
                for (entry, running) in self.entries.iter_mut().zip(running) {
                    entry.running = running;
                }
                Ok(())
            }
            None => Err(Error::Input(
                "the checkpoint has the running statistics of other sources of reward".into(),
            )),
        }
    }
}

impl Readings {
    /// Appends the scores of more rows.
    pub fn extend(&mut self, more: Self) {
        if self.0.is_empty() {
            self.0 = more.0;
        } else {
            for (scores, more) in self.0.iter_mut().zip(more.0) {
                scores.extend(more);
            }
        }
    }

    fn n_rows(&self) -> usize {
        self.0.first().map_or(0, Vec::len)
    }
}

/// The error with the name of its source.
fn named(name: &str, error: Error) -> Error {
    match error {
        Error::Input(why) => Error::Input(format!("reward {name}: {why}")),
        Error::External(why) => Error::External(format!("reward {name}: {why}")),
        other => other,
    }
}
