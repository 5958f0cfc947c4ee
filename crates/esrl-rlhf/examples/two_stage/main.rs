//! ESRL's two-stage sampling against sampling that keeps its graph: seconds and peak memory of one
//! gradient, by response length and number of samples. Each measurement is a process of its own,
//! since a peak is a process's.
//!
//! `cargo run --release -p esrl-rlhf --example two_stage [BASE [OUT]]`: a model directory or GGUF
//! file (default data/tiny/base); OUT is a directory for compare.json, which `evaluate plot` draws.

mod one_stage;

use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor};
use generation::{Engine, Request, Sampling};
use models::{CausalLm, Lora, LoraConfig};
use std::process::Command;
use std::time::Instant;

const LENGTHS: [usize; 5] = [16, 32, 64, 128, 250];
const SAMPLES: [usize; 2] = [1, 8];
const STAGES: [&str; 2] = ["one", "two"];
const PROMPT: [u32; 4] = [1, 20, 21, 22];

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [measure, base, stages, n, len] = &args[..]
        && measure == "measure"
    {
        return one(base, stages, n.parse()?, len.parse()?);
    }
    let base = args.first().map_or("data/tiny/base", String::as_str);
    let mut rows = Vec::new();
    println!(
        "| samples | length | one stage, s | two stages, s | one stage, peak MB | two stages, peak MB |\n|---|---|---|---|---|---|"
    );
    for n in SAMPLES {
        for len in LENGTHS {
            let mut found = Vec::new();
            for stages in STAGES {
                let (secs, bytes) = measured(base, stages, n, len)?;
                found.push((secs, bytes / 1e6));
                rows.push(serde_json::json!({
                    "name": format!("{stages}-stage × {n}@{len}"),
                    "wall_hours": secs / 3600.0,
                    "peak_memory_gb": bytes / 1e9,
                }));
            }
            let [one, two] = found[..] else {
                unreachable!("both were measured")
            };
            println!(
                "| {n} | {len} | {:.3} | {:.3} | {:.0} | {:.0} |",
                one.0, two.0, one.1, two.1
            );
        }
    }
    if let Some(out) = args.get(1) {
        std::fs::create_dir_all(out)?;
        let file = std::path::Path::new(out).join("compare.json");
        let text = serde_json::json!({ "rows": rows }).to_string();
        std::fs::write(&file, text).with_context(|| file.display().to_string())?;
    }
    Ok(())
}

/// Seconds and bytes, from a process of its own.
fn measured(base: &str, stages: &str, n: usize, len: usize) -> Result<(f64, f64)> {
    let output = Command::new(std::env::current_exe()?)
        .args(["measure", base, stages, &n.to_string(), &len.to_string()])
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut numbers = text.split_whitespace().map(str::parse::<f64>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(secs)), Some(Ok(bytes))) => Ok((secs, bytes)),
        _ => bail!("{}", String::from_utf8_lossy(&output.stderr).trim()),
    }
}

/// One gradient of the summed log-probabilities of fresh samples; prints seconds (the best of
/// three) and peak bytes.
fn one(base: &str, stages: &str, n: usize, len: usize) -> Result<()> {
    ops::prepare_process().map_err(anyhow::Error::msg)?;
    let base = policy::load_base(base, &policy::device("cpu")?)?;
    let config = LoraConfig {
        r: 16,
        targets: models::LoraTargets::AllLinear,
        ..LoraConfig::default()
    };
    let lora = Lora::init(&config, &base.model, 1)?.trainable()?;
    let mut best = f64::INFINITY;
    for _ in 0..3 {
        let began = Instant::now();
        let loss = match stages {
            "one" => one_stage(&base.model, &lora, n, len)?,
            _ => two_stages(&base.model, &lora, n, len)?,
        };
        loss.backward()?;
        best = best.min(began.elapsed().as_secs_f64());
    }
    println!("{best} {}", run::peak_memory_bytes());
    Ok(())
}

fn one_stage(model: &CausalLm, lora: &Lora, n: usize, len: usize) -> Result<Tensor> {
    let mut streams: Vec<_> = (0..n as u64)
        .map(|row| run::stream(1, "one", 0, row))
        .collect();
    let (_, logp) = one_stage::sample(model, lora, &PROMPT, n, len, |row, _, logits| {
        let drawn = generation::draw(logits, &Sampling::default(), &mut streams[row]);
        drawn.expect("finite logits").id
    })?;
    Ok(logp.sum_all()?)
}

fn two_stages(model: &CausalLm, lora: &Lora, n: usize, len: usize) -> Result<Tensor> {
    let engine = Engine {
        model,
        lora: Some(lora),
        stop: &[], // every response has the whole length
        max_rows: n,
        keep_states: false,
    };
    let request = Request {
        prompt: PROMPT.to_vec(),
        n,
        sampling: Sampling {
            max_new_tokens: len,
            ..Sampling::default()
        },
        stream: [1, 0, 0],
    };
    let samples = engine.run(&[request], &mut |_, _| {})?;
    let rows: Vec<Vec<u32>> = samples
        .iter()
        .map(|sample| [&PROMPT[..], &sample.ids].concat())
        .collect();
    let batch = policy::Batch::new(rows.iter().map(|row| (row.as_slice(), PROMPT.len())));
    let scores = policy::score(model, Some(lora), &batch, &vec![1.0; n], None)?;
    Ok(scores.logp.to_device(&Device::Cpu)?.sum_all()?)
}
