//! A plan for the terminal.

use super::Plan;
use crate::memory::GB;
use std::fmt::Write;

const COLUMNS: usize = 60;
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

pub(super) fn of(plan: &Plan) -> String {
    let mut out = String::new();
    let mut line = |name: &str, text: String| {
        let _ = writeln!(out, "{name:16}{text}"); // a String takes it
    };
    let (model, work) = (&plan.model, &plan.work);
    let here = match model.weights_here {
        true => "",
        false => " (not here)",
    };
    let device = match work.device.is_cpu() {
        true => "the CPU",
        false => "a card",
    };
    line(&plan.what, format!("on {device}"));
    line(
        "model",
        format!(
            "{}: {} weights{here}, {} numbers trained",
            model.source,
            count(model.weights as u64),
            count(work.parameters as u64)
        ),
    );
    let s = &plan.steps;
    let updates = match s.optimiser_steps == s.steps {
        true => String::new(),
        false => format!(", {} of the optimiser", count(s.optimiser_steps as u64)),
    };
    line(
        "steps",
        format!(
            "{}{updates}; {} of {} {} a step",
            count(s.steps as u64),
            s.rows_per_step,
            count(s.rows as u64),
            s.rows_name
        ),
    );
    let t = &plan.tokens;
    let mut tokens = format!("{}{} trained", t.certainty.words(), count(t.trained));
    if t.drawn > 0 {
        tokens += &format!(", at most {} drawn", count(t.drawn));
    }
    if t.drawn_to_look > 0 {
        tokens += &format!(", {} more to look at", count(t.drawn_to_look));
    }
    line("tokens", tokens);

    let (memory, estimate) = (&plan.memory, &plan.memory.estimate);
    let limit = match memory.budget {
        Some(budget) => format!(" of {:.2}", budget / GB),
        None => String::new(),
    };
    line(
        "memory",
        format!(
            "{:.2} GB{limit}; {} of {} blocks checkpointed",
            estimate.total() / GB,
            memory.blocks,
            memory.of_blocks
        ),
    );
    let graphs = estimate.graphs.iter().map(|(name, bytes)| {
        let what = format!("  or graph of the {name}");
        (what, *bytes)
    });
    let phases = [
        ("weights".to_string(), estimate.weights),
        ("+ adapters, gradients, optimiser".into(), estimate.adapters),
    ];
    let phases = phases.into_iter().chain(graphs).chain([
        ("  or forward without graph".into(), estimate.reading),
        ("  or sampling".into(), estimate.sampling),
    ]);
    for (i, (what, bytes)) in phases.enumerate() {
        let what = if i == 2 {
            what.replacen("  or", "+   ", 1)
        } else {
            what
        };
        line("", format!("{what:36}{:8.3}", bytes / GB));
    }
    line(
        "",
        format!(
            "the largest forward with graph is of {} tokens",
            count(work.largest.tokens as u64)
        ),
    );
    let disk = &plan.disk;
    let results = disk.results.iter();
    let results: String = results
        .map(|(name, n)| format!(", {name}/ {}", megabytes(*n)))
        .collect();
    line(
        "disk",
        format!(
            "{} at the end, {} at most, {} free",
            megabytes(disk.run()),
            megabytes(disk.most()),
            megabytes(disk.free)
        ),
    );
    line(
        "",
        format!(
            "checkpoints {} (one: {}){results}, the rest {}",
            megabytes(disk.kept),
            megabytes(disk.checkpoint),
            megabytes(disk.other)
        ),
    );
    for (name, values) in &plan.rates {
        line(name, points(values));
        line("", sparkline(values));
    }
    for note in &plan.notes {
        line("note", note.clone());
    }
    out
}

/// The first rate, the highest and the last, with their steps from 1.
fn points(values: &[f64]) -> String {
    let top = (0..values.len()).fold(0, |top, i| if values[i] > values[top] { i } else { top });
    let mut at = vec![0, top, values.len() / 2, values.len().saturating_sub(1)];
    at.sort_unstable();
    at.dedup();
    let point = |i: usize| Some(format!("{:.3e} at step {}", values.get(i)?, i + 1));
    at.into_iter()
        .filter_map(point)
        .collect::<Vec<_>>()
        .join(", ")
}

/// Every column is the mean of the steps that it stands for.
fn sparkline(values: &[f64]) -> String {
    let top = values.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let columns = COLUMNS.min(values.len());
    let column = |i: usize| {
        let part = &values[i * values.len() / columns..(i + 1) * values.len() / columns];
        let mean = part.iter().sum::<f64>() / part.len() as f64;
        LEVELS[((mean / top * 7.0).round() as usize).min(7)]
    };
    (0..columns).map(column).collect()
}

/// 1234567 as 1,234,567.
fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
