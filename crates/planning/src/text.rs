//! A plan as a table for the terminal.

use crate::estimate::GB;
use crate::plan::{Certainty, Plan};

const COLUMNS: usize = 60;
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Most steps at which a learning rate is computed, evenly spaced.
const MAX_POINTS: usize = 6_000;

impl Plan {
    /// A table for the terminal, in time that does not depend on the number of steps.
    pub fn text(&self) -> String {
        let (steps, tokens, memory, disk) = (&self.steps, &self.tokens, &self.memory, &self.disk);
        let work = &memory.work;
        let mut out = String::new();
        let mut line = |name: &str, text: String| out += &format!("{name:16}{text}\n");

        let device = if work.device.is_cpu() { "CPU" } else { "GPU" };
        line(&self.stage, format!("on the {device}"));
        let (weights, trained) = (count(self.n_weights as u64), count(work.parameters as u64));
        let here = if self.weights_here { "" } else { " (not here)" };
        let text = format!("{weights} weights{here}, {trained} trained parameters");
        line("model", format!("{}: {text}", self.source));
        let mut text = count(steps.steps as u64);
        if steps.optimiser_steps != steps.steps {
            text += &format!(" ({} optimiser steps)", count(steps.optimiser_steps as u64));
        }
        let (per_step, rows) = (steps.rows_per_step, count(steps.rows as u64));
        text += &format!("; {per_step} of {rows} {} per step", steps.rows_are);
        line("steps", text);
        let certainty = match tokens.trained_is {
            Certainty::Exact => "",
            Certainty::AtMost => "at most ",
            Certainty::About => "about ",
        };
        let mut text = format!("{certainty}{} trained", count(tokens.trained));
        let sampled = (tokens.sampled_at_most, "sampled");
        let evaluated = (tokens.evaluated_at_most, "sampled for evaluation");
        for (n, purpose) in [sampled, evaluated].into_iter().filter(|(n, _)| *n > 0) {
            text += &format!(", at most {} {purpose}", count(n));
        }
        line("tokens", text);

        line("memory", memory.summary());
        let mut part = |what: &str, bytes: f64| line("", format!("{what:36}{:8.3} GB", bytes / GB));
        part("weights", memory.estimate.weights);
        part("+ adapters, gradients, optimiser", memory.estimate.adapters);
        part("+ scoring without a graph", memory.estimate.scoring);
        part("  or sampling", memory.estimate.sampling);
        for (name, bytes) in &memory.estimate.graphs {
            part(&format!("  or training the {name}"), *bytes);
        }
        let largest = count(work.largest.tokens as u64);
        line("", format!("largest training forward: {largest} tokens"));

        let mut text = format!("{} at the end, {} at most", mb(disk.run()), mb(disk.most()));
        if let Ok(free) = run::free_space_bytes(&disk.dir) {
            text += &format!(", {} free", mb(free));
        }
        line("disk", text);
        let (kept, one) = (disk.checkpoints(), disk.checkpoint());
        let mut text = format!("checkpoints {} ({} each)", mb(kept), mb(one));
        for (name, bytes) in &disk.results {
            text += &format!(", {name}/ {}", mb(*bytes));
        }
        line("", format!("{text}, other files {}", mb(disk.other())));
        for (section, rate) in &self.rates {
            let points = points(steps.steps, rate);
            line(section, highlights(&points));
            line("", sparkline(&points));
        }
        for note in &self.notes {
            line("note", note.clone());
        }
        out
    }
}

/// Steps, from 1, with their rates: the first, the last and evenly between them.
fn points(n_steps: usize, rate: impl Fn(usize) -> f64) -> Vec<(usize, f64)> {
    let n = n_steps.min(MAX_POINTS);
    let last = |n: usize| n.saturating_sub(1) as u128;
    let step = |i: usize| (i as u128 * last(n_steps) / last(n).max(1)) as usize;
    (0..n).map(|i| (step(i) + 1, rate(step(i)))).collect()
}

/// The first rate, the highest, the middle one and the last.
fn highlights(points: &[(usize, f64)]) -> String {
    let higher = |top: usize, i: usize| if points[i].1 > points[top].1 { i } else { top };
    let top = (0..points.len()).fold(0, higher);
    let mut at = vec![0, top, points.len() / 2, points.len().saturating_sub(1)];
    at.sort_unstable();
    at.dedup();
    let seen = at.into_iter().filter_map(|i| points.get(i));
    let texts = seen.map(|(step, rate)| format!("{rate:.3e} at step {step}"));
    texts.collect::<Vec<_>>().join(", ")
}

/// Each column is the mean of its steps.
fn sparkline(points: &[(usize, f64)]) -> String {
    let top = points
        .iter()
        .map(|(_, rate)| *rate)
        .fold(f64::MIN_POSITIVE, f64::max);
    let columns = COLUMNS.min(points.len());
    let column = |i: usize| {
        let part = &points[i * points.len() / columns..(i + 1) * points.len() / columns];
        let mean = part.iter().map(|(_, rate)| rate).sum::<f64>() / part.len() as f64;
        LEVELS[((mean / top * 7.0).round() as usize).min(7)]
    };
    (0..columns).map(column).collect()
}

/// 1234567 as 1,234,567.
fn count(n: u64) -> String {
    let digits = n.to_string();
    let groups = digits.as_bytes().rchunks(3).rev();
    let groups: Vec<_> = groups.map(String::from_utf8_lossy).collect();
    groups.join(",")
}

fn mb(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
