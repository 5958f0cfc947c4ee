//! External programs and servers as sources of reward: valid answers, and every kind of invalid
//! one. Programs are `sh` scripts.

mod bounds;
mod process;
mod program;
mod server;

use rewards::{Item, Mixture, SourceConfig};
use serde_json::{Map, Value};

/// `sh -c script`.
fn sh(script: &str) -> Vec<String> {
    ["sh", "-c", script].map(String::from).to_vec()
}

fn map(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn mixture(entry: Value) -> rewards::Result<Mixture> {
    let table: toml::Table = serde_json::from_value(entry).unwrap();
    Mixture::open(&[SourceConfig::try_from(table).unwrap()], None)
}

fn items(n: usize) -> Vec<Item<'static>> {
    let item = Item {
        prompt: "Say \"x\".",
        response: "x\n",
        reference: Some("x"),
        ids: &[1, 2],
        prompt_len: 0,
        n_response_tokens: 1,
    };
    vec![item; n]
}

fn score(mixture: &mut Mixture, n: usize) -> rewards::Result<Vec<f32>> {
    Ok(mixture.score(&crate::rewards::model(1), &items(n))?.total)
}
