//! The rows of each round in the formats of both sides: the same rows, the same prompts.

use crate::setup::Setup;
use anyhow::{Context, Result, ensure};
use data::{Ask, Template};
use serde_json::{Value, json};
use std::path::Path;

/// Rows of a step.
pub(crate) const BATCH: usize = 8;

/// Characters of prompt and answer together, so that few rows are longer than 256 tokens.
const DEMONSTRATION: std::ops::RangeInclusive<usize> = 500..=900;
const PAIR: std::ops::RangeInclusive<usize> = 300..=800;

/// Characters of an instruction with its input, if only the prompt is used.
const PROMPT: std::ops::RangeInclusive<usize> = 20..=300;
/// Characters of an answer that is longer than any measured length.
const LONG: usize = 12_000;

/// Writes `{sft,rm,rl}-<round>.{json,jsonl}` (ours and the peers'), `fresh-<round>.json` (enough
/// different rows for `steps` timed steps and a warm-up) and `rm-held-out.json`.
pub(crate) fn write(data: &Path, out: &Path, rounds: usize, steps: usize) -> Result<()> {
    std::fs::create_dir_all(out)?;
    let alpaca_rows = demonstrations(data)?;
    let fits =
        |row: &&Value| DEMONSTRATION.contains(&length(row, &[INSTRUCTION, &["output"]].concat()));
    let demonstrations: Vec<Value> = alpaca_rows.iter().filter(fits).cloned().collect();
    let pairs = fitting(&data.join("comparison_gpt4.json"), |row| {
        PAIR.contains(&length(row, &["user_input", "completion_a"]))
            && PAIR.contains(&length(row, &["user_input", "completion_b"]))
    })?;
    ensure!(
        demonstrations.len() >= rounds * BATCH && pairs.len() > rounds * BATCH,
        "{rounds} rounds need {} rows and {} pairs of fitting length; there are {} and {}",
        rounds * BATCH,
        rounds * BATCH + 1,
        demonstrations.len(),
        pairs.len()
    );
    let held_out = pairs.last().context("no pair")?;
    save(
        &out.join("rm-held-out.json"),
        &json!([held_out]).to_string(),
    )?;
    for (round, rows) in demonstrations.chunks_exact(BATCH).take(rounds).enumerate() {
        let peer = |row: &Value| {
            let prompt = alpaca(text(row, "instruction"), text(row, "input"))?;
            Ok(json!({ "prompt": prompt, "response": text(row, "output") }))
        };
        for stage in ["sft", "rl"] {
            both(out, stage, round + 1, rows, peer)?;
        }
    }
    for (round, rows) in pairs.chunks_exact(BATCH).take(rounds).enumerate() {
        let peer = |row: &Value| {
            let prompt = alpaca(text(row, "user_input"), "")?;
            let (chosen, rejected) = (text(row, "completion_a"), text(row, "completion_b"));
            Ok(json!({ "prompt": prompt, "chosen": chosen, "rejected": rejected }))
        };
        both(out, "rm", round + 1, rows, peer)?;
    }
    let fits = |row: &&Value| PROMPT.contains(&length(row, INSTRUCTION));
    let prompts: Vec<&Value> = alpaca_rows.iter().filter(fits).collect();
    let each = BATCH * (steps + 1);
    ensure!(
        prompts.len() >= rounds * each,
        "{rounds} rounds of {steps} steps need {} prompts; there are {}",
        rounds * each,
        prompts.len()
    );
    for (round, rows) in prompts.chunks_exact(each).take(rounds).enumerate() {
        let file = out.join(format!("fresh-{}.json", round + 1));
        save(&file, &json!(rows).to_string())?;
    }
    Ok(())
}

/// Writes `long.json`: rows whose answers, concatenated from several, are longer than any measured
/// length.
pub(crate) fn write_long(data: &Path, out: &Path, rows: usize) -> Result<()> {
    std::fs::create_dir_all(out)?;
    let (mut long, mut answer) = (Vec::new(), String::new());
    for row in demonstrations(data)? {
        answer += text(&row, "output");
        answer.push('\n');
        if answer.len() >= LONG {
            long.push(json!({ "instruction": text(&row, "instruction"), "output": answer }));
            answer = String::new();
        }
    }
    ensure!(
        long.len() >= rows,
        "{rows} rows of {LONG} characters are needed; the data gives {}",
        long.len()
    );
    long.truncate(rows);
    save(&out.join("long.json"), &json!(long).to_string())
}

const INSTRUCTION: &[&str] = &["instruction", "input"];

fn demonstrations(data: &Path) -> Result<Vec<Value>> {
    fitting(&data.join("alpaca_gpt4.json"), |_| true).with_context(|| {
        format!(
            "the rows come from {}; `make fetch-data` brings them, --data names another place",
            data.display()
        )
    })
}

fn fitting(file: &Path, fits: impl Fn(&Value) -> bool) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let rows: Vec<Value> =
        serde_json::from_str(&text).with_context(|| file.display().to_string())?;
    Ok(rows.into_iter().filter(|row| fits(row)).collect())
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap_or_default()
}

fn length(row: &Value, keys: &[&str]) -> usize {
    keys.iter().map(|key| text(row, key).chars().count()).sum()
}

fn both(
    out: &Path,
    stage: &str,
    round: usize,
    rows: &[Value],
    peer: impl Fn(&Value) -> Result<Value>,
) -> Result<()> {
    save(
        &out.join(format!("{stage}-{round}.json")),
        &json!(rows).to_string(),
    )?;
    let line = |row| Ok(format!("{}\n", peer(row)?));
    let lines: String = rows.iter().map(line).collect::<Result<_>>()?;
    save(&out.join(format!("{stage}-{round}.jsonl")), &lines)
}

fn save(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text).with_context(|| file.display().to_string())
}

/// The prompt that our template makes of the row.
fn alpaca(instruction: &str, input: &str) -> Result<String> {
    let ask = Ask::Instruction {
        instruction: instruction.into(),
        input: input.into(),
    };
    Ok(Template::Alpaca.render(&ask)?)
}

/// Response tokens, including EOS, of an SFT step; mean over the rounds.
pub(crate) fn labels_per_step(setup: &Setup, rounds: usize) -> Result<f64> {
    let file = setup.model().join("tokenizer.json");
    let tokenizer = tokenizers::Tokenizer::from_file(&file).map_err(anyhow::Error::msg)?;
    let mut labels = 0;
    for round in 1..=rounds {
        let rows = setup.rows().join(format!("sft-{round}.json"));
        for row in fitting(&rows, |_| true)? {
            let answer = tokenizer
                .encode(text(&row, "output"), false)
                .map_err(anyhow::Error::msg)?;
            labels += answer.len() + 1;
        }
    }
    Ok(labels as f64 / rounds as f64)
}
