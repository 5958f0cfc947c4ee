//! Write a reward in any language and train with it: a program that reads responses as lines of
//! JSON and prints a score for each.
//!
//! Here the program is this example itself, called with the argument `score`; a Python script works
//! the same way. The reward prefers short answers that end with a full stop.
//!
//! Run it in the repository, after train_an_adapter: `cargo run --release --example write_a_reward`

use anyhow::Result;
use run::RunArgs;
use serde_json::{Value, json};
use std::io::{BufRead, Write};
use std::path::Path;

const POLICY: &str = "runs/examples/adapter";
const RUN: &str = "runs/examples/reward";

/// The reward of one response.
fn reward(response: &str) -> f64 {
    let words = response.split_whitespace().count();
    let ends_well = f64::from(u8::from(response.trim_end().ends_with('.')));
    ends_well - 0.1 * words as f64
}

/// The protocol: a request per line, `{"id", "items": [{"prompt", "response", "reference"}, …]}`;
/// the reply is `{"id", "scores": […]}`.
fn serve() -> Result<()> {
    for line in std::io::stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line?)?;
        let items = request["items"].as_array().into_iter().flatten();
        let scores: Vec<f64> = items
            .map(|item| reward(item["response"].as_str().unwrap_or_default()))
            .collect();
        println!("{}", json!({ "id": request["id"], "scores": scores }));
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn main() -> Result<()> {
    if std::env::args().nth(1).as_deref() == Some("score") {
        return serve();
    }
    ops::prepare_process().map_err(anyhow::Error::msg)?;

    // All settings could stand in a TOML file; `[[rewards]]` names the program.
    let program = std::env::current_exe()?;
    let rewards = format!("rewards=[{{ kind = \"process\", command = [{program:?}, \"score\"] }}]");
    let policy = format!("model.policy={POLICY}");
    let settings = [
        &rewards,
        &policy,
        "data.path=data/tiny/prompts.json",
        "data.eval_path=data/tiny/heldout.json",
        "algorithm.name=rloo",
        "algorithm.samples=4",
        "rollout.prompts=16",
        "rollout.max_new_tokens=32",
        "train.steps=12",
        "train.eval_every=6",
        "train.policy.lr=1e-3",
    ];
    let config: esrl_rlhf::Config = run::load_config(None, &settings.map(String::from))?;
    config.check()?;

    let _ = std::fs::remove_dir_all(RUN);
    let args = RunArgs {
        run: Some(RUN.into()),
        ..RunArgs::default()
    };
    esrl_rlhf::run(&args, &config)?;

    for row in run::read_metrics(Path::new(RUN))? {
        if let Some(reward) = row.metrics.get("eval/reward") {
            println!(
                "step {:>2}: mean reward on held-out prompts {reward:.3}",
                row.step
            );
        }
    }
    Ok(())
}
