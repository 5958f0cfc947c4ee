//! The rows of each round.

use anyhow::{Context, Result, ensure};
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

/// Writes `{sft,rm,rl}-<round>.json`, `fresh-<round>.json` (enough different rows for `steps` timed
/// steps and a warm-up) and `rm-held-out.json`.
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
        for stage in ["sft", "rl"] {
            save_round(out, stage, round, rows)?;
        }
    }
    for (round, rows) in pairs.chunks_exact(BATCH).take(rounds).enumerate() {
        save_round(out, "rm", round, rows)?;
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
        let rows: Vec<Value> = rows.iter().map(|row| (*row).clone()).collect();
        save_round(out, "fresh", round, &rows)?;
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

/// `round` counts from 0.
fn save_round(out: &Path, stage: &str, round: usize, rows: &[Value]) -> Result<()> {
    let file = out.join(format!("{stage}-{}.json", round + 1));
    save(&file, &json!(rows).to_string())
}

fn save(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text).with_context(|| file.display().to_string())
}
