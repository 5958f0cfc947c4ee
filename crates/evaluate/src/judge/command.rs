//! `wick judge`: answer files of several models, judged one by one and against the first.

use super::client::JudgeConfig;
use super::scoring::{Judge, Pairs, Total, why_none_counts};
use crate::fastchat::{self, Answer, Question};
use crate::given_once::ensure_each_once;
use anyhow::{Context, Result, bail};
use serde::Serialize;
use std::fmt::Write;
use std::path::PathBuf;

/// The arguments of `wick judge`.
#[derive(Clone, Debug, clap::Args)]
pub struct JudgeCommand {
    /// Answer files in FastChat's format, one per model; each is compared with the first
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    pub answers: Vec<PathBuf>,
    /// The questions they answer (FastChat JSONL)
    #[arg(long, value_name = "FILE")]
    pub questions: PathBuf,
    /// Directory for judge.md, judge.json and the cached verdicts (verdicts.jsonl)
    #[arg(long, value_name = "DIR", default_value = "runs/judge")]
    pub out: PathBuf,
    /// Replace the table of other answers, questions or another judge that --out has
    #[arg(long)]
    pub force: bool,
    /// Seed of the bootstrap intervals
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// One model in the table.
#[derive(Clone, Debug, Serialize)]
pub struct JudgeRow {
    pub model: String,
    pub total: Total,
    /// Against the first model; `None` for the first itself.
    pub pairs: Option<Pairs>,
}

impl JudgeRow {
    /// Verdicts on the model: ratings, and pairs judged in both orders.
    fn n_verdicts(&self) -> usize {
        let pairs = self.pairs.as_ref().and_then(|pairs| pairs.wins.as_ref());
        self.total.judged + pairs.map_or(0, |w| 2 * (w.wins + w.ties + w.losses))
    }
}

/// The table.
#[derive(Clone, Debug, Serialize)]
pub struct JudgeReport {
    pub judge: String,
    pub questions: usize,
    pub rows: Vec<JudgeRow>,
    /// A hash of judge, questions, answers and seed. Another table is not replaced by chance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inputs: Option<String>,
}

/// Judges with the endpoint of the environment variables and writes the report into `command.out`.
/// Returns the report as Markdown. Called again with the same files, it asks only for the verdicts
/// that are missing.
pub fn judge(command: &JudgeCommand) -> Result<String> {
    ensure_each_once("--answers", &command.answers)?;
    let config = JudgeConfig::from_env()?.context(
        "no judge; set WICK_JUDGE_URL (OpenAI-compatible), WICK_JUDGE_MODEL and WICK_JUDGE_KEY",
    )?;
    let questions = fastchat::questions(&command.questions)?;
    let answers = command.answers.iter().map(|file| fastchat::answers(file));
    let answers: Vec<_> = answers.collect::<Result<_>>()?;
    let inputs = inputs(command, &config.model)?;
    check_out(command, &inputs)?;
    let models = named(&command.answers, answers);
    std::fs::create_dir_all(&command.out)
        .with_context(|| format!("cannot create {}", command.out.display()))?;
    let mut judge = Judge::open(config, &command.out.join("verdicts.jsonl"))?;
    let mut report = judge_with(&mut judge, &questions, &models, command.seed)?;
    report.inputs = Some(inputs);
    let table = markdown(&report);
    run::write_text(&command.out.join("judge.md"), &table)?;
    let json = serde_json::to_string_pretty(&report)?;
    run::write_text(&command.out.join("judge.json"), &json)?;
    Ok(table)
}

/// A hash of everything that the table depends on.
fn inputs(command: &JudgeCommand, judge: &str) -> Result<String> {
    let mut parts = vec![judge.to_string(), command.seed.to_string()];
    for file in [&command.questions].into_iter().chain(&command.answers) {
        parts.push(run::file_hash(file)?);
    }
    Ok(run::hash(parts.join(" ").as_bytes()))
}

/// Fails if `--out` has another table.
fn check_out(command: &JudgeCommand, inputs: &str) -> Result<()> {
    let file = command.out.join("judge.json");
    if command.force || !file.exists() {
        return Ok(());
    }
    let text = std::fs::read(&file).unwrap_or_default();
    let before = serde_json::from_slice::<serde_json::Value>(&text);
    let what = match before.as_ref().map(|before| before["inputs"].as_str()) {
        Ok(Some(before)) if before == inputs => return Ok(()),
        Ok(Some(_)) => "is the table of other answers or questions, or of another judge or seed",
        Ok(None) => "does not say what it is the table of (earlier versions did not record it)",
        Err(_) => "is damaged, or cannot be read",
    };
    bail!(
        "{} {what}; choose another --out{}",
        file.display(),
        run::or_force()
    )
}

/// The answers of each file by its model, and by its file where a model has several.
fn named(files: &[PathBuf], answers: Vec<Vec<Answer>>) -> Vec<(String, Vec<Answer>)> {
    let ids: Vec<String> = answers.iter().map(|a| a[0].model_id.clone()).collect();
    let mut named: Vec<(String, Vec<Answer>)> = Vec::with_capacity(answers.len());
    for ((file, id), answers) in files.iter().zip(&ids).zip(answers) {
        let several = ids.iter().filter(|other| *other == id).count() > 1;
        let name = match several {
            true => format!("{id} ({})", file.display()),
            false => id.clone(),
        };
        named.push((name, answers));
    }
    named
}

/// Rates every model (name and answers) and compares it with the first one.
///
/// # Errors
/// If a model has no answer that counts, which is said before the judge is asked; if the judge gave
/// no verdict at all, or none on the answers or the pairs of one model.
pub fn judge_with(
    judge: &mut Judge,
    questions: &[Question],
    models: &[(String, Vec<Answer>)],
    seed: u64,
) -> Result<JudgeReport> {
    for (model, answers) in models {
        if let Some(why) = why_none_counts(questions, answers) {
            bail!("{model} {why}");
        }
    }
    let n_steps = questions.len() * (2 * models.len()).saturating_sub(1);
    let mut progress = run::Progress::new("judging", n_steps as u64);
    let mut done = 0;
    let mut tick = || {
        done += 1;
        progress.update(done, 0, "");
    };
    let mut rows = Vec::with_capacity(models.len());
    for (i, (model, mine)) in models.iter().enumerate() {
        let total = judge.rate(questions, mine, &mut tick)?;
        let pairs = (i > 0)
            .then(|| judge.compare(questions, mine, &models[0].1, seed, &mut tick))
            .transpose()?;
        rows.push(JudgeRow {
            model: model.clone(),
            total,
            pairs,
        });
    }
    progress.finish(&format!(
        "{} requests, {} cached",
        judge.asked, judge.cached
    ));
    judge.report_failures(rows.iter().map(JudgeRow::n_verdicts).sum())?;
    let unrated = |row: &&JudgeRow| row.total.judged == 0 && row.total.failed > 0;
    if let Some(row) = rows.iter().find(unrated) {
        bail!(
            "the judge rated none of the {} answers of {}",
            row.total.failed,
            row.model
        );
    }
    let unpaired = |row: &&JudgeRow| {
        let pairs = row.pairs.as_ref();
        pairs.is_some_and(|pairs| pairs.wins.is_none() && pairs.failed > 0)
    };
    if let Some(row) = rows.iter().find(unpaired) {
        bail!(
            "the judge decided no pair of {} and {}: each has an order without a clear verdict",
            row.model,
            models[0].0
        );
    }
    Ok(JudgeReport {
        judge: judge.client.config.model.clone(),
        questions: questions.len(),
        rows,
        inputs: None,
    })
}

/// The report as a Markdown table.
pub fn markdown(report: &JudgeReport) -> String {
    let first = report.rows.first().map_or("", |row| &row.model);
    let mut text = format!(
        "# Judged by {}\n\n{} questions, each rated 1-10 and summed; \
         pairs in both orders, won if both orders agree.\n\n\
         | model | total | mean | judged | failed | missing | against {first}: win / tie / loss (failed) |\n\
         |---|---|---|---|---|---|---|\n",
        report.judge, report.questions
    );
    for row in &report.rows {
        let t = &row.total;
        let mean = t.mean().map_or("–".into(), |mean| format!("{mean:.2}"));
        let pairs = row.pairs.as_ref().map_or("–".into(), pairs_cell);
        writeln!(
            text,
            "| {} | {} | {mean} | {} | {} | {} | {pairs} |",
            row.model, t, t.judged, t.failed, t.missing
        )
        .expect("writing to a String");
    }
    text
}

fn pairs_cell(pairs: &Pairs) -> String {
    let Some(wins) = &pairs.wins else {
        return format!("– ({})", pairs.failed);
    };
    format!(
        "{} / {} / {} ({})",
        wins.wins, wins.ties, wins.losses, pairs.failed
    )
}
