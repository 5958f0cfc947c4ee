//! Sources of reward and their weighted sums: settings, rules, normalising and clipping.

mod mixture;
mod rules;
mod settings;

use crate::rewards::{model, trained};
use models::CausalLm;
use rewards::{Item, Mixture, Scored, SourceConfig};
use serde::Deserialize;
use testkit::assert_close_slices;
use toml::Table;

#[derive(Debug, Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    #[serde(default)]
    rewards: Vec<SourceConfig>,
}

/// The entries of a `rewards = [...]`, as the stages read them.
fn read(entries: &str) -> anyhow::Result<Vec<SourceConfig>> {
    let table: Table = format!("rewards = [{entries}]").parse()?;
    Ok(run::from_table::<Settings>(&table, "")?.rewards)
}

fn item(response: &str) -> Item<'_> {
    Item {
        prompt: "p",
        response,
        reference: None,
        ids: &[1, 2, 3],
        prompt_len: 0,
        n_response_tokens: response.len(),
    }
}

fn f64s(x: &[f32]) -> Vec<f64> {
    x.iter().map(|v| f64::from(*v)).collect()
}

struct World {
    llama: CausalLm,
    mixture: Mixture,
}

impl World {
    fn new(entries: &str, reward: bool) -> Self {
        let llama = model(1);
        let reward = reward.then(|| trained(&llama));
        let mixture = Mixture::open(&read(entries).unwrap(), reward).unwrap();
        Self { llama, mixture }
    }

    fn score(&mut self, items: &[Item]) -> Scored {
        self.mixture.score(&self.llama, items).unwrap()
    }

    /// Totals of responses.
    fn totals(&mut self, responses: &[&str]) -> Vec<f64> {
        let items: Vec<Item> = responses.iter().map(|text| item(text)).collect();
        f64s(&self.score(&items).total)
    }
}

/// Scores of one source by its text alone.
#[track_caller]
fn check(source: &str, expected: &[(&str, f64)]) {
    let (texts, scores): (Vec<&str>, Vec<f64>) = expected.iter().copied().unzip();
    let found = World::new(source, false).totals(&texts);
    assert_close_slices(source, &found, &scores, 1e-6);
}
