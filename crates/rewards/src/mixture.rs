//! A weighted sum of sources: `total = Σ_k weight_k · clip_k(normalise_k(score_k))`.

use crate::moments::Moments;
use crate::source::{Source, no_model};
use crate::{Error, Item, Normalise, Result, RewardModel, Shared, SourceConfig};
use models::CausalLm;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

pub struct Mixture {
    entries: Vec<Entry>,
    model: Option<RewardModel>,
}

struct Entry {
    /// The kind; of several of a kind the second is `kind_2`
    name: String,
    shared: Shared,
    source: Source,
    /// Its scores are in 0..1
    in_unit_range: bool,
    /// All scores so far; moves where the source is normalised by them
    running: Moments,
}

/// What the sources said of some rows: a score per row, for each source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Readings(Vec<Vec<f32>>);

#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// Per row
    pub total: Vec<f32>,
    /// Mean over the rows of each source's own score, before normalising, clipping and weighing, by its name
    pub means: BTreeMap<String, f64>,
}

impl Mixture {
    /// Starts the programs. The reward model may be there for other purposes, without a source of its kind.
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
            let source = Source::open(&config.kind).map_err(|e| named(&name, e))?;
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

    pub fn model(&self) -> Option<&RewardModel> {
        self.model.as_ref()
    }

    /// Has it nothing to score by?
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether every sum is in 0..1: sources that are, as they are, with weights above 0 of at most 1 together.
    pub fn in_unit_range(&self) -> bool {
        let unit = |e: &Entry| {
            e.in_unit_range && e.shared.normalise == Normalise::None && e.shared.weight >= 0.0
        };
        let weights: f64 = self.entries.iter().map(|e| e.shared.weight).sum();
        self.entries.iter().all(unit) && weights <= 1.0 + 1e-9
    }

    /// Reads the rows and sums up; the rows are one batch.
    pub fn score(&mut self, model: &CausalLm, items: &[Item]) -> Result<Scored> {
        let readings = self.read(model, items)?;
        Ok(self.sum(&readings))
    }

    /// What each source says, and nothing done with it.
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

    /// The weighted sums of one batch. Running statistics take it in.
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

    /// The weighted sums on one scale for the whole run: nothing is normalised, and what would be is not clipped either.
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

    /// What a resumed run needs: the running statistics.
    pub fn state(&self) -> Value {
        let running: Vec<Moments> = self.entries.iter().map(|entry| entry.running).collect();
        serde_json::to_value(running).unwrap_or_default()
    }

    /// `Null`: there are none, as before there were mixtures.
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
                "the stored statistics of the rewards are of other sources".into(),
            )),
        }
    }
}

impl Readings {
    /// Appends rows.
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

impl Shared {
    fn clipped(&self, score: f64) -> f64 {
        match self.clip {
            Some([low, high]) => score.clamp(low, high),
            None => score,
        }
    }
}

/// Says which source it was.
fn named(name: &str, error: Error) -> Error {
    match error {
        Error::Input(why) => Error::Input(format!("reward {name}: {why}")),
        Error::External(why) => Error::External(format!("reward {name}: {why}")),
        other => other,
    }
}
