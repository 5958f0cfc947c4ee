//! A step in readable form: its rows as Markdown, and the text beside the progress bar.

use crate::rl_step::StepReport;
use crate::roles::Roles;
use algorithms::Metrics;
use anyhow::Result;
use std::collections::BTreeSet;
use std::fmt::Write;

/// Rows that are shown.
const SHOWN: usize = 8;

/// Some rows of the step as Markdown: one of each prompt first, then further ones.
pub(crate) fn rows(roles: &Roles, report: &StepReport, step: u64) -> Result<String> {
    let mut text = format!("# Step {step}: rows learnt from\n");
    let keys: Vec<u64> = report.rows.iter().map(|row| row.task.key).collect();
    for i in different_first(&keys, SHOWN) {
        let row = &report.rows[i];
        let prompt = row.task.prompt.ask.text();
        let answer = roles.encoder.decode(row.response())?;
        let n = row.response().len();
        let score = match report.exp.score.get(i) {
            Some(score) => format!("reward {score:.3}, "),
            None => String::new(),
        };
        let end = if row.finished { "ended" } else { "cut off" };
        write!(
            text,
            "\n## {prompt}\n\n{answer}\n\n*{score}{n} tokens, {end}*\n"
        )?;
    }
    Ok(text)
}

/// The places of `n` items, in order, of as many different keys as there are.
fn different_first(keys: &[u64], n: usize) -> Vec<usize> {
    let mut seen = BTreeSet::new();
    let (mut first, further): (Vec<usize>, Vec<usize>) =
        (0..keys.len()).partition(|i| seen.insert(keys[*i]));
    first.extend(further);
    first.truncate(n);
    first.sort_unstable();
    first
}

/// Loss, reward, KL and evaluation of a step in a few words.
pub(crate) fn headline(metrics: &Metrics) -> String {
    let part = |label: &str, name: &str| metrics.get(name).map(|v| format!("{label} {v:.3}"));
    [
        part("loss", "loss/policy").filter(|_| !metrics.contains_key("objective/kl")),
        part("reward", "objective/scores"),
        part("kl", "objective/kl_exact").or_else(|| part("kl (k1)", "objective/kl")),
        part("eval", "eval/reward"),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>()
    .join("  ")
}
