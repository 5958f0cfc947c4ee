//! The comparison as data and as Markdown.

use super::layout::{self, tables, wrapped};
use crate::judge::{JudgeReport, JudgeRow};
use crate::stats::{Estimate, Wins};
use serde::Serialize;
use std::fmt::Write;

/// The table and how it was made.
#[derive(Clone, Debug, Serialize)]
pub struct CompareReport {
    pub prompts_from: String,
    pub prompts: usize,
    /// Identifies them and their order
    pub prompts_sha256: String,
    /// Prompts that were left out because an answer of some run would not fit its context.
    pub prompts_left_out: usize,
    pub temperature: f32,
    pub max_new_tokens: usize,
    pub seed: u64,
    pub reward: Option<RewardNote>,
    pub rows: Vec<Row>,
    pub judge: Option<JudgeReport>,
}

/// The reward-model run, with the mean and standard deviation that normalise its scores.
#[derive(Clone, Debug, Serialize)]
pub struct RewardNote {
    pub name: String,
    pub mean: f64,
    pub std: f64,
}

/// One run. Values that cannot be measured or were not recorded are `None`.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub name: String,
    pub source: String,
    pub stage: Option<String>,
    pub algorithm: Option<String>,
    pub reward: Option<Estimate>,
    pub reward_normalised: Option<Estimate>,
    /// By reward, against the first run.
    pub reward_wins: Option<Wins>,
    /// Reward minus that of the first run's answer to the same prompt.
    pub reward_difference: Option<Estimate>,
    pub oracle: Option<Estimate>,
    pub oracle_wins: Option<Wins>,
    pub oracle_difference: Option<Estimate>,
    /// BLEU of all answers together, 0 to 100.
    pub corpus_bleu: Option<f64>,
    /// Mean over answers, 0 to 100; so is `rouge_l`.
    pub bleu: Option<Estimate>,
    pub rouge_l: Option<Estimate>,
    /// Sampled tokens per answer, EOS included.
    pub length_tokens: Estimate,
    /// Share of answers that ended with EOS.
    pub eos_rate: f64,
    /// Nats per answer.
    pub kl_k1: Option<Estimate>,
    pub kl_exact: Option<Estimate>,
    /// Of the run's training, summed over its resumes; so are the following.
    pub wall_hours: Option<f64>,
    pub peak_memory_gb: Option<f64>,
    pub samples_drawn: Option<f64>,
    pub tokens_drawn: Option<f64>,
    /// How many of the prompts the run was trained on, itself or by the runs that it started from.
    /// None: a plain model
    pub trained_prompts: Option<usize>,
    /// Identifies the policy: its weights, template and base
    pub policy_sha256: String,
}

type Column<'a> = layout::Column<'a, Row>;

fn column<'a>(heading: &str, cell: impl Fn(&Row) -> Option<String> + 'a) -> Column<'a> {
    (heading.to_string(), Box::new(cell))
}

impl CompareReport {
    /// The report as Markdown: a column for every value that at least one run has, in tables of at
    /// most 100 columns of text, some of the answers, then a legend.
    pub fn markdown(&self) -> String {
        let names: Vec<&str> = self.rows.iter().map(|row| row.name.as_str()).collect();
        let mut text = String::from("# Comparison\n\n");
        text.push_str(&tables("run", &names, &self.rows, &self.columns()));
        text.push_str(&wrapped(&self.legend()));
        text
    }

    /// Every column, in order.
    fn columns(&self) -> Vec<Column<'_>> {
        let mut columns = self.quality_columns();
        columns.extend(cost_columns());
        columns
    }

    /// Reward, oracle, metrics and judge.
    fn quality_columns(&self) -> Vec<Column<'_>> {
        let first = self.rows.first().map_or("", |row| row.name.as_str());
        let wins_by = |what: &str| format!("wins against {first} by {what}");
        let minus = |what: &str| format!("{what} minus {first}'s");
        vec![
            column("reward", |r| r.reward.map(|e| with_interval(&e, 3))),
            column("reward, normalised", |r| {
                r.reward_normalised.map(|e| with_interval(&e, 3))
            }),
            column(&wins_by("reward"), |r| r.reward_wins.map(|w| percent(&w))),
            column(&minus("reward"), |r| {
                r.reward_difference.map(|e| with_interval(&e, 3))
            }),
            column("oracle (1-10)", |r| r.oracle.map(|e| with_interval(&e, 2))),
            column(&wins_by("oracle"), |r| r.oracle_wins.map(|w| percent(&w))),
            column(&minus("oracle"), |r| {
                r.oracle_difference.map(|e| with_interval(&e, 2))
            }),
            column("corpus BLEU", |r| r.corpus_bleu.map(|b| format!("{b:.2}"))),
            column("sentence BLEU", |r| r.bleu.map(|e| with_interval(&e, 1))),
            column("ROUGE-L", |r| r.rouge_l.map(|e| with_interval(&e, 1))),
            column("judge", |r| {
                self.judged(&r.name).map(|row| row.total.to_string())
            }),
            column(&wins_by("judge"), |r| {
                let pairs = self.judged(&r.name)?.pairs.as_ref()?;
                pairs.wins.map(|w| percent(&w))
            }),
        ]
    }

    fn judged(&self, name: &str) -> Option<&JudgeRow> {
        let rows = &self.judge.as_ref()?.rows;
        rows.iter().find(|row| row.model == name)
    }

    fn legend(&self) -> String {
        let mut text = format!(
            "{} prompts of `{}`, one answer each at temperature {}, at most {} tokens, seed {}",
            self.prompts, self.prompts_from, self.temperature, self.max_new_tokens, self.seed
        );
        if self.prompts_left_out > 0 {
            write!(
                text,
                "; {} more do not fit the context",
                self.prompts_left_out
            )
            .expect("writing to a String");
        }
        text.push_str(
            ".\nBrackets: 95 % interval, bootstrap over prompts (Wilson's where every outcome is the \
             same). Wins: wins plus half the ties. Differences: mean over prompts of the run's value \
             minus the first run's, answers drawn with the same random streams.\n",
        );
        for row in &self.rows {
            if let Some(n) = row.trained_prompts.filter(|n| *n > 0) {
                writeln!(
                    text,
                    "{} has {n} of the prompts in its training data.",
                    row.name
                )
                .expect("writing to a String");
            }
        }
        if let Some(reward) = &self.reward {
            writeln!(
                text,
                "Reward: {}; normalised: (reward − {:.3}) / {:.3}, mean and deviation on SFT samples.",
                reward.name, reward.mean, reward.std
            )
            .expect("writing to a String");
        }
        if self.rows.iter().any(|row| row.bleu.is_some()) {
            text.push_str("BLEU: sacreBLEU's, 13a tokens, against the reference answers, 0-100.\n");
        }
        if self.rows.iter().any(|row| row.rouge_l.is_some()) {
            text.push_str("ROUGE-L: F1 against the reference answers, times 100.\n");
        }
        if self.rows.iter().any(|row| row.kl_exact.is_some()) {
            text.push_str(
                "KL: nats per answer from the run's reference; k1: from the drawn tokens, exact: over the vocabulary.\n",
            );
        }
        if let Some(judge) = &self.judge {
            writeln!(
                text,
                "Judge: {}, {} questions rated 1-10 and summed; pairs in both orders, won where both agree.",
                judge.judge, judge.questions
            )
            .expect("writing to a String");
        }
        text.push_str("Hours, memory, samples and tokens: of the run's own training.\n");
        text
    }
}

/// Length, KL and the cost of the training.
fn cost_columns<'a>() -> Vec<Column<'a>> {
    vec![
        column("length (tokens)", |r| {
            Some(format!("{:.1}", r.length_tokens.mean))
        }),
        column("EOS", |r| Some(format!("{:.0} %", 100.0 * r.eos_rate))),
        column("KL k1", |r| r.kl_k1.map(|e| format!("{:.2}", e.mean))),
        column("KL exact", |r| r.kl_exact.map(|e| format!("{:.2}", e.mean))),
        column("hours", |r| r.wall_hours.map(|h| format!("{h:.3}"))),
        column("peak GB", |r| r.peak_memory_gb.map(|g| format!("{g:.2}"))),
        column("samples", |r| r.samples_drawn.map(|n| format!("{n:.0}"))),
        column("tokens drawn", |r| {
            r.tokens_drawn.map(|n| format!("{n:.0}"))
        }),
    ]
}

fn with_interval(e: &Estimate, digits: usize) -> String {
    format!(
        "{:.digits$} [{:.digits$}, {:.digits$}]",
        e.mean, e.low, e.high
    )
}

fn percent(wins: &Wins) -> String {
    let rate = wins.rate;
    format!(
        "{:.0} % [{:.0}, {:.0}]",
        100.0 * rate.mean,
        100.0 * rate.low,
        100.0 * rate.high
    )
}
