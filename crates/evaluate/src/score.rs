//! `wick score`: how well a run predicts data. A reward model is scored on pairs (how often it
//! prefers the chosen answer, compared with the rule "the longer answer wins"), a policy on
//! demonstrations (loss per response token).

mod demonstrations;

use crate::output::ensure_parent;
use crate::policies::{self, PolicyOpener, Reward};
use crate::stats::{self, Estimate};
use crate::trained_on::TrainedOn;
use anyhow::{Context, Result, bail, ensure};
use data::{Example, Format, Preference, Prompt, ReadOptions, TrainOn};
use run::Replace;
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub use demonstrations::DemonstrationScores;

/// The arguments of `wick score`.
#[derive(Clone, Debug, clap::Args)]
pub struct ScoreConfig {
    /// Run directory (reward-model, sft or esrl-rlhf), an adapter of PEFT or a plain model
    #[arg(long, value_name = "RUN")]
    pub run: String,
    /// Where the base of a run or adapter is, if not where that says; its numbers must be the same
    #[arg(long, value_name = "MODEL")]
    pub base: Option<String>,
    /// Pairs for a reward-model run, demonstrations for any other
    #[arg(long, value_name = "FILE")]
    pub data: PathBuf,
    /// Format of the data: auto, alpaca, prompt_completion, chat, text, comparison_v1,
    /// comparison_v2, hh, pairs
    #[arg(long, value_name = "FORMAT", default_value = "auto", value_parser = format)]
    pub format: Format,
    /// Fields of the rows to ignore, as `data.ignore` of the stages
    #[arg(long, value_name = "FIELDS", value_delimiter = ',')]
    pub ignore: Vec<String>,
    /// Names of the rows' fields: NAME=FIELD, separated by commas, as `data.columns` of the stages
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = data::column)]
    pub columns: Vec<(String, String)>,
    /// Which answers of a conversation are scored: all, last
    #[arg(long, value_name = "ANSWERS", default_value = "all", value_parser = train_on)]
    pub train_on: TrainOn,
    /// Use the first rows only
    #[arg(long, value_name = "N")]
    pub max_rows: Option<usize>,
    /// JSONL file for the scores of each row
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Tokens of one forward pass
    #[arg(long, value_name = "N", default_value_t = 4096)]
    pub batch_tokens: usize,
    /// Seed of the bootstrap interval
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    pub device: String,
}

/// Parses a data format by its name in configs.
pub(crate) fn format(text: &str) -> std::result::Result<Format, String> {
    serde_json::from_value(text.into()).map_err(|e| e.to_string())
}

/// Parses `data.train_on`.
fn train_on(text: &str) -> std::result::Result<TrainOn, String> {
    serde_json::from_value(text.into()).map_err(|e| e.to_string())
}

impl ScoreConfig {
    /// The defaults of the command line.
    pub fn new(run: &str, data: &Path) -> Self {
        Self {
            run: run.to_string(),
            base: None,
            data: data.to_path_buf(),
            format: Format::Auto,
            ignore: Vec::new(),
            columns: Vec::new(),
            train_on: TrainOn::All,
            max_rows: None,
            out: None,
            batch_tokens: 4096,
            seed: 1,
            device: "cpu".to_string(),
        }
    }
}

/// The scores of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ScoreReport {
    Pairs(PairScores),
    Demonstrations(DemonstrationScores),
}

/// A reward model on pairs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PairScores {
    pub pairs: usize,
    /// Different prompts among them.
    pub prompts: usize,
    /// Pairs that do not fit the context.
    pub left_out: usize,
    /// Share of pairs in which the chosen answer scores higher; equal scores count half. The
    /// interval resamples prompts, since pairs of one prompt are not independent.
    pub accuracy: Estimate,
    /// The same for the rule "the answer with more tokens wins".
    pub longer_wins_accuracy: f64,
    /// Score of the chosen answer minus score of the rejected one.
    pub margin_mean: f64,
    pub margin_std: f64,
    pub margin_p10: f64,
    pub margin_median: f64,
    pub margin_p90: f64,
    /// Pearson correlation of score and answer length in tokens, over all answers.
    pub length_correlation: f64,
}

#[derive(Serialize)]
struct PairRow {
    /// Index among the readable rows, from 1.
    row: usize,
    chosen: f32,
    rejected: f32,
    margin: f64,
    chosen_tokens: usize,
    rejected_tokens: usize,
}

/// Scores `config.run` on `config.data`, and writes the scores of the rows to `config.out` if
/// given.
pub fn score(config: &ScoreConfig) -> Result<ScoreReport> {
    ensure!(
        config.batch_tokens > 0,
        "--batch-tokens 0; it must be at least 1"
    );
    ensure!(
        config.max_rows != Some(0),
        "--max-rows 0; it must be at least 1, or be left out to score all rows"
    );
    if let Some(out) = &config.out {
        run::ensure_new(out, "--out", Replace::Never)?;
        ensure_parent(out)?;
    }
    let mut opener = PolicyOpener::of_one(&config.device, config.base.as_deref(), &config.run)?;
    let is_reward = policies::saved_run(&config.run)?.is_some_and(|r| r.stage == "reward-model");
    let options = ReadOptions {
        format: config.format,
        ignore: config.ignore.clone(),
        columns: data::columns(&config.columns)?,
        train_on: config.train_on,
        drops_tools: false,
    };
    let (report, rows) = if is_reward {
        let mut loaded = data::preferences(&config.data, options)?;
        loaded.report(&config.data);
        loaded.items.truncate(config.max_rows.unwrap_or(usize::MAX));
        say_trained_on(config, loaded.items.iter().map(|pair| &pair.prompt))?;
        let reward = opener.reward(Path::new(&config.run))?;
        pairs(&reward, &loaded.items, config)?
    } else {
        let mut loaded = data::demonstrations(&config.data, options)?;
        loaded.report(&config.data);
        loaded.items.truncate(config.max_rows.unwrap_or(usize::MAX));
        say_trained_on(config, loaded.items.iter().map(|row| &row.prompt))?;
        {
            let policy = opener.policy(&config.run)?;
            let way = (config.train_on, config.batch_tokens);
            let scored = demonstrations::score(&policy, &loaded.items, way)
                .with_context(|| config.data.display().to_string())?;
            let rows = crate::jsonl::to_text(&scored.1)?;
            (ScoreReport::Demonstrations(scored.0), rows)
        }
    };
    if let Some(out) = &config.out {
        run::write_text(out, &rows)?;
    }
    Ok(report)
}

/// Says how many of the prompts, each counted once, the run was trained on.
fn say_trained_on<'a>(
    config: &ScoreConfig,
    prompts: impl Iterator<Item = &'a Prompt>,
) -> Result<()> {
    let keys: BTreeSet<u64> = prompts.map(Prompt::key).collect();
    let keys: Vec<u64> = keys.into_iter().collect();
    TrainedOn::of(&config.run)?.count(&config.run, &keys);
    Ok(())
}

fn pairs(
    reward: &Reward,
    items: &[Preference],
    config: &ScoreConfig,
) -> Result<(ScoreReport, String)> {
    let context = reward.base.model.config.max_position_embeddings;
    let mut kept: Vec<(usize, Example, Example)> = Vec::new();
    let mut n_equal = 0;
    for (row, item) in items.iter().enumerate() {
        let chosen = reward.encoder.example(&item.prompt, &item.chosen)?;
        let rejected = reward.encoder.example(&item.prompt, &item.rejected)?;
        if chosen.ids == rejected.ids {
            n_equal += 1;
        } else if chosen.ids.len().max(rejected.ids.len()) <= context {
            kept.push((row, chosen, rejected));
        }
    }
    reward.encoder.report_rows("scored");
    if n_equal > 0 {
        run::say!(
            "{}: {n_equal} of {} pairs have two answers of the same tokens and are left out",
            config.data.display(),
            items.len()
        );
    }
    if kept.is_empty() {
        bail!(
            "{}: no pair fits the context of {context} tokens",
            config.data.display()
        );
    }
    fn row(e: &Example) -> models::Sequence<'_> {
        (&e.ids, e.prompt_len)
    }
    let flat: Vec<_> = kept.iter().flat_map(|(_, c, r)| [row(c), row(r)]).collect();
    let scores = reward.model.score(&reward.base.model, &flat)?;
    let tokens = |e: &Example| e.ids.len() - e.prompt_len;
    let rows: Vec<PairRow> = kept
        .iter()
        .zip(scores.chunks(2))
        .map(|((row, chosen, rejected), scores)| PairRow {
            row: row + 1,
            chosen: scores[0],
            rejected: scores[1],
            margin: f64::from(scores[0]) - f64::from(scores[1]),
            chosen_tokens: tokens(chosen),
            rejected_tokens: tokens(rejected),
        })
        .collect();
    let left_out = items.len() - kept.len() - n_equal;
    let prompts: Vec<u64> = kept
        .iter()
        .map(|(row, ..)| items[*row].prompt.key())
        .collect();
    let report = summarise_pairs(&rows, &prompts, left_out, config.seed);
    Ok((ScoreReport::Pairs(report), crate::jsonl::to_text(&rows)?))
}

/// 1 if the difference is positive, 0 if negative, ½ if zero.
fn right(difference: f64) -> f64 {
    match difference {
        d if d > 0.0 => 1.0,
        0.0 => 0.5,
        _ => 0.0,
    }
}

/// `prompts`: the prompt of each row.
fn summarise_pairs(rows: &[PairRow], prompts: &[u64], left_out: usize, seed: u64) -> PairScores {
    let mut margins: Vec<f64> = rows.iter().map(|r| r.margin).collect();
    let verdicts: Vec<f64> = margins.iter().map(|m| right(*m)).collect();
    let longer: Vec<f64> = rows
        .iter()
        .map(|r| right(r.chosen_tokens as f64 - r.rejected_tokens as f64))
        .collect();
    let answers = rows
        .iter()
        .flat_map(|r| [(r.chosen_tokens, r.chosen), (r.rejected_tokens, r.rejected)]);
    let (lengths, scores): (Vec<f64>, Vec<f64>) =
        answers.map(|(n, s)| (n as f64, f64::from(s))).unzip();
    margins.sort_by(f64::total_cmp);
    PairScores {
        pairs: rows.len(),
        left_out,
        prompts: prompts.iter().collect::<BTreeSet<_>>().len(),
        accuracy: stats::share(&verdicts, prompts, seed).expect("there is a pair"),
        longer_wins_accuracy: stats::mean(&longer),
        margin_mean: stats::mean(&margins),
        margin_std: stats::std(&margins),
        margin_p10: stats::quantile(&margins, 0.1),
        margin_median: stats::quantile(&margins, 0.5),
        margin_p90: stats::quantile(&margins, 0.9),
        length_correlation: stats::correlation(&lengths, &scores),
    }
}

impl std::fmt::Display for ScoreReport {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Self::Pairs(s) => {
                let a = &s.accuracy;
                writeln!(
                    f,
                    "pairs                 {}{}{}",
                    s.pairs,
                    of_prompts(s),
                    left_out(s.left_out)
                )?;
                writeln!(
                    f,
                    "accuracy              {:.4}  [{:.4}, {:.4}]",
                    a.mean, a.low, a.high
                )?;
                writeln!(f, "the longer wins       {:.4}", s.longer_wins_accuracy)?;
                writeln!(
                    f,
                    "margin mean, std      {:.4}, {:.4}",
                    s.margin_mean, s.margin_std
                )?;
                writeln!(
                    f,
                    "margin p10, p50, p90  {:.4}, {:.4}, {:.4}",
                    s.margin_p10, s.margin_median, s.margin_p90
                )?;
                write!(
                    f,
                    "score ~ length        {:.4} (correlation)",
                    s.length_correlation
                )
            }
            Self::Demonstrations(s) => {
                writeln!(f, "rows        {}{}", s.rows, left_out(s.left_out))?;
                writeln!(f, "tokens      {} (responses with EOS)", s.tokens)?;
                writeln!(f, "loss        {:.4} nats per token", s.loss)?;
                write!(f, "perplexity  {:.3}", s.perplexity)
            }
        }
    }
}

fn of_prompts(scores: &PairScores) -> String {
    if scores.prompts == scores.pairs {
        return String::new();
    }
    format!(" on {} prompts", scores.prompts)
}

fn left_out(n: usize) -> String {
    if n == 0 {
        return String::new();
    }
    format!("  ({n} more do not fit the context and are left out)")
}
