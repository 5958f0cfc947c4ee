//! The command line: one subcommand for each question about a run.

use crate::judge::{JudgeCommand, judge};
use crate::{AnswersConfig, CompareConfig, MergeConfig, PlotConfig, ScoreConfig, TableConfig};
use crate::{answers, compare, merge, plot, score, table};
use anyhow::Result;
use std::fmt::Write;

/// Evaluate trained runs: answers to questions, runs side by side, scores on data, merged models
///
/// A run is a directory that sft, reward-model or esrl-rlhf wrote; most commands also take a plain
/// model.
#[derive(Debug, clap::Parser)]
#[command(
    version,
    after_help = "Examples:
  wick answers --run runs/esrl --questions data/tiny/questions.jsonl --out answers.jsonl
  wick compare --runs runs/sft runs/ppo runs/esrl
  wick score --run runs/rm --data data/tiny/comparisons.json
  wick merge --run runs/esrl --out merged

`evaluate COMMAND` is the same as `wick COMMAND`. Each command's --help has more."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// The commands that evaluate.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Answer a file of questions in FastChat's format, or print the answer to a prompt
    ///
    /// Writes after every batch. Called again with the same arguments, it continues. Questions
    /// whose prompt does not fit the model's context are reported, not truncated. A file of another
    /// format than FastChat's keeps its order, and its ids (question_id or id) or row numbers.
    #[command(after_help = "Examples:
  wick answers --run runs/esrl --questions vicuna.jsonl --out answers/esrl.jsonl
  wick answers --run runs/sft --prompt Hello --greedy
  wick answers --run runs/sft --questions alpaca.json --out answers/sft.jsonl --greedy
  wick answers --run model.gguf --questions vicuna.jsonl --out base.jsonl --model-id base")]
    Answers(AnswersConfig),
    /// Compare runs side by side on the same held-out prompts
    ///
    /// Samples one answer per prompt from every run and prints mean reward, win rates against the
    /// first run, the oracle's grade (tiny world), length, KL from the reference, training hours
    /// and memory. Writes compare.md, compare.json and responses.jsonl.
    #[command(after_help = "Examples:
  wick compare --runs runs/sft runs/ppo runs/esrl
  wick compare --runs runs/sft runs/esrl --prompts heldout.json --reward runs/rm --n 200
  wick compare --runs runs/sft runs/esrl --prompts heldout.json --metrics bleu,rouge_l
  WICK_JUDGE_URL=https://host/v1 WICK_JUDGE_KEY=... WICK_JUDGE_MODEL=name \\
    wick compare --runs runs/sft runs/esrl --judge-questions vicuna.jsonl")]
    Compare(CompareConfig),
    /// Aggregate comparisons of several seeds: one line per method, mean and spread
    #[command(after_help = "Example:
  wick table --compared runs/table/compare-1 runs/table/compare-2 --out runs/table/table.md")]
    Table(TableConfig),
    /// Draw comparisons of several seeds, or learning curves, as an SVG
    ///
    /// A run named SERIES@X is a point of SERIES at X (a number or a word); a name without @ is a
    /// point of its own. Points are means over seeds, with the range from the lowest to the
    /// highest.
    #[command(after_help = "Examples:
  wick plot --compared runs/beta/compare-1 runs/beta/compare-2 --y oracle --x beta --out beta.svg
  wick plot --runs runs/ma/1/* runs/ma/2/* --metric eval/reward --title MA-PPO --out ma.svg")]
    Plot(PlotConfig),
    /// Score data: pair accuracy of a reward model, or loss and perplexity of a policy
    #[command(after_help = "Examples:
  wick score --run runs/rm --data comparisons.json
  wick score --run runs/sft --data alpaca.json --out scores.jsonl
  wick score --run model.gguf --data alpaca.json --max-rows 100")]
    Score(ScoreConfig),
    /// Let a language model judge answer files: a total per model, and pairs in both orders
    ///
    /// The judge is any OpenAI-compatible endpoint: WICK_JUDGE_URL (such as https://host/v1),
    /// WICK_JUDGE_MODEL and, if it needs one, WICK_JUDGE_KEY. Verdicts are cached in
    /// DIR/verdicts.jsonl. Failures are counted and never scored. 80 questions total 800.
    #[command(after_help = "Example:
  wick judge --answers sft.jsonl esrl.jsonl --questions vicuna.jsonl --out runs/judge")]
    Judge(JudgeCommand),
    /// Merge an adapter into its base and write a Hugging Face directory
    ///
    /// Checks on a probe set that the written model gives the same logits; writes nothing if it
    /// does not.
    #[command(after_help = "Examples:
  wick merge --run runs/esrl --out merged
  wick merge --run runs/esrl --out merged-bf16 --dtype bf16
  wick merge --run adapter --base models/llama --out merged")]
    Merge(MergeConfig),
}

impl Cli {
    /// Runs the command and prints the result to standard output.
    pub fn execute(self) -> Result<()> {
        self.command.execute()
    }
}

impl Command {
    /// Runs the command and prints the result to standard output.
    pub fn execute(self) -> Result<()> {
        run::print(&match self {
            Self::Answers(config) => {
                let report = answers(&config)?;
                match &config.out {
                    Some(out) => answers_text(&report, &out.display().to_string()),
                    None => printed_answers(&report, &config.prompt),
                }
            }
            Self::Compare(config) => compare(&config)?.markdown(),
            Self::Table(config) => table(&config)?,
            Self::Plot(config) => plot(&config)?,
            Self::Score(config) => format!("{}\n", score(&config)?),
            Self::Judge(config) => judge(&config)?,
            Self::Merge(config) => format!("{}\n", merge(&config)?),
        })
    }
}

/// The answers of `--prompt`; several with their prompts.
fn printed_answers(report: &crate::AnswersReport, prompts: &[String]) -> String {
    let mut text = String::new();
    for (prompt, answer) in prompts.iter().zip(&report.printed) {
        if prompts.len() > 1 {
            writeln!(text, "> {}", prompt.replace('\n', "\n> ")).expect("writing to a String");
        }
        let answer = answer.as_deref();
        let answer = answer.unwrap_or("(not answered: the prompt fills the context)");
        writeln!(text, "{answer}").expect("writing to a String");
    }
    if report.cut > 0 {
        run::say!("{} of the answers ended at the length limit", report.cut);
    }
    text
}

fn answers_text(report: &crate::AnswersReport, out: &str) -> String {
    let mut text = format!(
        "{}: {} answers into {out}",
        report.model_id, report.answered
    );
    let mut add = |part: String| text.write_str(&part).expect("writing to a String");
    if report.already > 0 {
        add(format!(", {} existed already", report.already));
    }
    if report.cut > 0 {
        add(format!(", {} ended at the length limit", report.cut));
    }
    if !report.too_long.is_empty() {
        let ids: Vec<String> = report.too_long.iter().map(ToString::to_string).collect();
        add(format!(
            "\nnot answered, the prompt fills the context: {}",
            ids.join(", ")
        ));
    }
    if let Some(sum) = report.oracle {
        add(format!(
            "\noracle: {sum:.1} of {}",
            10 * (report.answered + report.already)
        ));
    }
    add("\n".to_string());
    text
}
