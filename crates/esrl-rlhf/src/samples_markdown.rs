//! A step in readable form: its rows as Markdown, and the text beside the progress bar.

use crate::rl_step::StepReport;
use crate::roles::Roles;
use algorithms::Metrics;
use anyhow::Result;
use std::fmt::Write;

/// The first rows of the step as Markdown.
pub(crate) fn rows(roles: &Roles, report: &StepReport, step: u64) -> Result<String> {
    let mut text = format!("# Step {step}: rows learnt from\n");
    for (i, row) in report.rows.iter().enumerate().take(8) {
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

/// Loss, reward, KL and evaluation of a step in a few words.
pub(crate) fn headline(metrics: &Metrics) -> String {
    let part = |label: &str, name: &str| metrics.get(name).map(|v| format!("{label} {v:.3}"));
    [
        part("loss", "loss/policy").filter(|_| !metrics.contains_key("objective/kl")),
        part("reward", "objective/scores"),
        part("kl", "objective/kl"),
        part("eval", "eval/reward"),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>()
    .join("  ")
}
