//! A plan as a table for the terminal.

use crate::estimate::GB;
use crate::plan::{Certainty, Plan};

/// Columns of a learning rate's curve, and the heights of one.
const COLUMNS: usize = 60;
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

impl Plan {
    /// A table for the terminal, in time that does not depend on the number of steps.
    pub fn text(&self) -> String {
        let (steps, tokens, memory, disk) = (&self.steps, &self.tokens, &self.memory, &self.disk);
        let (work, e) = (&memory.work, &memory.estimate);
        let device = if work.device.is_cpu() { "CPU" } else { "GPU" };
        let here = if self.weights.present {
            ""
        } else {
            " (not here)"
        };
        let (weights, trained) = (count(self.weights.n_params), count(work.parameters));
        let (n_steps, rows) = (count(steps.steps), count(steps.rows));
        let updates = match steps.optimiser_steps {
            n if n == steps.steps => String::new(),
            n => format!(" ({} optimiser steps)", count(n)),
        };
        let certainty = match tokens.trained_is {
            Certainty::Exact => "",
            Certainty::AtMost => "at most ",
            Certainty::About => "about ",
        };
        let sampled = |n: u64, purpose: &str| match n {
            0 => String::new(),
            n => format!(", at most {} {purpose}", count(n as usize)),
        };
        let free = run::free_space_bytes(&disk.dir);
        let free = free.map_or(String::new(), |bytes| format!(", {} free", mb(bytes)));
        let results = disk.results.iter();
        let results = results.map(|(name, bytes)| format!(", {name}/ {}", mb(*bytes)));

        let mut out = String::new();
        let mut line = |name: &str, text: String| out += &format!("{name:16}{text}\n");
        line(&self.stage, format!("on the {device}"));
        let text = format!("{weights} weights{here}, {trained} trained parameters");
        line("model", format!("{}: {text}", self.source));
        let text = format!(
            "{} of {rows} {} per step",
            steps.rows_per_step, steps.rows_are
        );
        line("steps", format!("{n_steps}{updates}; {text}"));
        let text = format!("{certainty}{} trained", count(tokens.trained as usize))
            + &sampled(tokens.sampled_at_most, "sampled")
            + &sampled(tokens.evaluated_at_most, "sampled for evaluation");
        line("tokens", text);
        line("memory", memory.summary());
        let mut part = |what: &str, bytes: f64| line("", format!("{what:36}{:8.3} GB", bytes / GB));
        part("weights", e.weights);
        part("+ adapters, gradients, optimiser", e.adapters);
        part("+ scoring without a graph", e.scoring);
        part("  or sampling", e.sampling);
        for (name, bytes) in &e.graphs {
            part(&format!("  or training the {name}"), *bytes);
        }
        let largest = count(work.largest.tokens);
        line("", format!("largest training forward: {largest} tokens"));
        let text = format!(
            "{} at the end, {} at most{free}",
            mb(disk.run()),
            mb(disk.most())
        );
        line("disk", text);
        let text = format!(
            "checkpoints {} ({} each)",
            mb(disk.checkpoints()),
            mb(disk.checkpoint())
        );
        let text = text + &results.collect::<String>();
        line("", format!("{text}, other files {}", mb(disk.other())));
        for (section, rate) in &self.rates {
            let [rates, curve] = curve(steps.steps, rate);
            line(section, rates);
            line("", curve);
        }
        for note in self.notes() {
            line("note", note.to_string());
        }
        out
    }
}

/// The first rate, the highest and the last of evenly spaced steps, and a bar for each of them.
fn curve(n_steps: usize, rate: impl Fn(usize) -> f64) -> [String; 2] {
    let columns = n_steps.min(COLUMNS);
    let last = |n: usize| n.saturating_sub(1) as u128;
    let step = |i: usize| (i as u128 * last(n_steps) / last(columns).max(1)) as usize;
    let points: Vec<(usize, f64)> = (0..columns).map(|i| (step(i), rate(step(i)))).collect();
    let higher = |top: usize, i: usize| if points[i].1 > points[top].1 { i } else { top };
    let top = (0..columns).fold(0, higher);
    let mut named = vec![0, top, columns.saturating_sub(1)];
    named.dedup();
    let named = named.into_iter().filter_map(|i| points.get(i));
    let named = named.map(|(step, rate)| format!("{rate:.3e} at step {}", step + 1));
    let highest = points.get(top).map_or(0.0, |p| p.1).max(f64::MIN_POSITIVE);
    let bars = points
        .iter()
        .map(|p| LEVELS[(p.1 / highest * 7.0).round() as usize]);
    [named.collect::<Vec<_>>().join(", "), bars.collect()]
}

/// 1234567 as 1,234,567.
fn count(n: usize) -> String {
    let digits = n.to_string();
    let groups = digits.as_bytes().rchunks(3).rev();
    let groups: Vec<_> = groups.map(String::from_utf8_lossy).collect();
    groups.join(",")
}

fn mb(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
