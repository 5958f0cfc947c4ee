//! A plan as a table for the terminal.

use crate::disk::Disk;
use crate::estimate::GB;
use crate::plan::Plan;
use crate::workload::Certainty;

/// Columns of a learning rate's curve, and the heights of one.
const COLUMNS: usize = 60;
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

impl Plan {
    /// A table for the terminal, in time that does not depend on the number of steps.
    pub fn text(&self) -> String {
        let (work, e, disk) = (&self.work, &self.estimate, Disk::of(&self.work));
        let mut out = String::new();
        let mut line = |name: &str, text: String| out += &format!("{name:16}{text}\n");

        let device = if work.device.is_cpu() { "CPU" } else { "GPU" };
        line(&work.stage, format!("on the {device}"));
        let here = if work.weights.present {
            ""
        } else {
            " (not here)"
        };
        let (source, weights) = (&work.source, count(work.weights.n_params));
        let trained = count(work.parameters());
        line(
            "model",
            format!("{source}: {weights} weights{here}, {trained} trained parameters"),
        );

        let updates = match work.forwards.optimiser_steps {
            n if n == work.steps => String::new(),
            n => format!(" ({} optimiser steps)", count(n)),
        };
        let (steps, rows, rows_are) = (count(work.steps), count(work.rows), work.rows_are);
        let per_step = work.rows_per_step;
        line(
            "steps",
            format!("{steps}{updates}; {per_step} of {rows} {rows_are} per step"),
        );
        line("tokens", self.tokens());

        line("memory", self.summary());
        let mut part = |what: &str, bytes: f64| {
            line("", format!("{what:36}{:8.3} GB", bytes / GB));
        };
        part("weights", e.weights);
        part("+ adapters, gradients, optimiser", e.adapters);
        part("+ scoring without a graph", e.scoring);
        part("  or sampling", e.sampling);
        for (name, bytes) in &e.graphs {
            part(&format!("  or training the {name}"), *bytes);
        }
        let largest = count(work.forwards.largest.tokens);
        line("", format!("largest training forward: {largest} tokens"));

        let free = disk.free_bytes.map(|bytes| format!(", {} free", mb(bytes)));
        let (run, most, free) = (
            mb(disk.run_bytes),
            mb(disk.most_bytes),
            free.unwrap_or_default(),
        );
        line("disk", format!("{run} at the end, {most} at most{free}"));
        let (kept, each) = (mb(disk.checkpoints_kept_bytes), mb(disk.checkpoint_bytes));
        let results = disk.results_bytes.iter();
        let results = results.map(|(name, bytes)| format!(", {name}/ {}", mb(*bytes)));
        let (results, other) = (results.collect::<String>(), mb(disk.other_bytes));
        line(
            "",
            format!("checkpoints {kept} ({each} each){results}, other files {other}"),
        );

        for (section, rate) in &work.rates {
            let [rates, curve] = curve(work.steps, rate.as_ref());
            line(section, rates);
            line("", curve);
        }
        for note in self.notes() {
            line("note", note.to_string());
        }
        out
    }

    /// How many tokens are trained and sampled.
    fn tokens(&self) -> String {
        let certainty = match self.work.trained_is {
            Certainty::Exact => "",
            Certainty::AtMost => "at most ",
            Certainty::About => "about ",
        };
        let sampled = |n: usize, purpose: &str| match n {
            0 => String::new(),
            n => format!(", at most {} {purpose}", count(n)),
        };
        let trained = count(self.work.forwards.tokens as usize);
        let learnt = sampled(self.work.sampled_tokens, "sampled");
        let evaluated = sampled(self.work.evaluated_tokens, "sampled for evaluation");
        format!("{certainty}{trained} trained{learnt}{evaluated}")
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
