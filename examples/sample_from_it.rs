//! Sample answers from a trained policy, with their log-probabilities.
//!
//! Run it in the repository, after train_an_adapter: `cargo run --release --example sample_from_it`

use anyhow::{Context, Result};
use data::{Ask, Prompt};
use generation::{Engine, Request, Sampling};
use policy::{Policy, TemplateChoice};

const RUN: &str = "runs/examples/adapter";
const QUESTIONS: [&str; 2] = [
    "Name the first word of this list: shirt mill dress.",
    "What is 8 plus 4?",
];

fn main() -> Result<()> {
    ops::prepare_process().map_err(anyhow::Error::msg)?;

    // A run directory, a Hugging Face directory, a GGUF file or a hub id.
    let policy = Policy::open(RUN, TemplateChoice::Auto, &policy::device("cpu")?)
        .context("run the example train_an_adapter first")?;

    let mut requests = Vec::new();
    for (row, question) in QUESTIONS.iter().enumerate() {
        let ask = Ask::Instruction {
            instruction: question.to_string(),
            input: String::new(),
        };
        let prompt = Prompt::new(ask, None);
        requests.push(Request {
            prompt: policy.encoder.prompt(&prompt)?,
            n: 3, // the prompt is processed once and shared by its samples
            sampling: Sampling {
                temperature: 0.7,
                max_new_tokens: 24,
                ..Sampling::default()
            },
            // (seed, step, row): the same numbers give the same samples in any batch
            stream: [1, 0, row as u64],
        });
    }

    let engine = Engine {
        model: policy.model(),
        lora: policy.adapter.as_ref(),
        stop: &policy.encoder.ends().stop,
        max_rows: 8,
        keep_states: false,
    };
    for sample in engine.run(&requests, &mut |_, _| {})? {
        if sample.index == 0 {
            println!("\n{}", QUESTIONS[sample.request]);
        }
        let text = policy.encoder.decode(&sample.ids)?;
        let logp: f32 = sample.logps.iter().sum();
        println!("  {:<40} log p = {logp:.2}", text.trim());
    }
    Ok(())
}
