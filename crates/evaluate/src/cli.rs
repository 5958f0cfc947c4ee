//! The command line: one subcommand for each question one can ask of a run.

use crate::judge::{JudgeCommand, judge};
use crate::{AnswersConfig, CompareConfig, MergeConfig, PlotConfig, ScoreConfig, TableConfig};
use crate::{answers, compare, merge, plot, score, table};
use anyhow::Result;
use std::fmt::Write;

/// Looks at what training made: answers to questions, runs side by side, loss or accuracy on data, merged models.
///
/// A run is the directory that sft, reward-model or esrl-rlhf wrote; most commands also take a plain model.
#[derive(Debug, clap::Parser)]
#[command(
    version,
    after_help = "Examples:
  evaluate answers --run runs/esrl --questions data/tiny/questions.jsonl --out answers.jsonl
  evaluate compare --runs runs/sft runs/ppo runs/esrl
  evaluate score --run runs/rm --data data/tiny/comparisons.json
  evaluate merge --run runs/esrl --out merged
Each command's --help has more."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Answer a FastChat question file, in FastChat's answer format
    ///
    /// Writes after every batch; called again with the same arguments it continues. Questions whose prompt does not fit
    /// the model's context are named, not cut.
    #[command(after_help = "Examples:
  evaluate answers --run runs/esrl --questions vicuna.jsonl --out answers/esrl.jsonl
  evaluate answers --run runs/sft --questions vicuna.jsonl --out answers/sft.jsonl --greedy --max-new-tokens 256
  evaluate answers --run model.gguf --questions vicuna.jsonl --out answers/base.jsonl --model-id base")]
    Answers(AnswersConfig),
    /// Put runs side by side on the same held-out prompts
    ///
    /// Samples one answer a prompt from every run and prints mean reward, win rates against the first run, the oracle's
    /// grade (tiny world), length, KL from the reference, training hours and memory. Writes compare.md, compare.json and
    /// responses.jsonl.
    #[command(after_help = "Examples:
  evaluate compare --runs runs/sft runs/ppo runs/esrl
  evaluate compare --runs runs/sft runs/esrl --prompts data/heldout.json --reward runs/rm --n 200 --out runs/table
  evaluate compare --runs runs/sft runs/esrl --prompts data/heldout.json --metrics bleu,rouge_l
  WICK_JUDGE_URL=https://host/v1 WICK_JUDGE_KEY=... WICK_JUDGE_MODEL=name \\
    evaluate compare --runs runs/sft runs/esrl --judge-questions vicuna.jsonl")]
    Compare(CompareConfig),
    /// Aggregate comparisons of several seeds: one line per method, mean and spread
    #[command(after_help = "Example:
  evaluate table --compared runs/table/compare-1 runs/table/compare-2 runs/table/compare-3 --out runs/table/table.md")]
    Table(TableConfig),
    /// Draw comparisons of several seeds, or learning curves, as an SVG
    ///
    /// A run named SERIES@X is a point of SERIES at X (a number or a word); a name without @ is a point of its own. Points are
    /// means over seeds with the range from the lowest to the highest seed.
    #[command(after_help = "Examples:
  evaluate plot --compared runs/beta/compare-1 runs/beta/compare-2 --y oracle tokens_drawn --title \"ESRL\" --x beta --out beta.svg
  evaluate plot --runs runs/ma/1/* runs/ma/2/* --metric eval/reward --title \"MA-PPO\" --out ma.svg")]
    Plot(PlotConfig),
    /// Score data: pair accuracy of a reward model, or loss and perplexity of a policy
    #[command(after_help = "Examples:
  evaluate score --run runs/rm --data comparisons.json
  evaluate score --run runs/sft --data alpaca.json --out scores.jsonl
  evaluate score --run model.gguf --data alpaca.json --max-rows 100")]
    Score(ScoreConfig),
    /// Have a language model judge answer files: totals (80 questions: out of 800) and pairs in both orders
    ///
    /// The judge is any OpenAI-compatible endpoint: WICK_JUDGE_URL (such as https://host/v1), WICK_JUDGE_MODEL and, where
    /// it needs one, WICK_JUDGE_KEY. Verdicts are kept in DIR/verdicts.jsonl; failures are counted and never scored.
    #[command(after_help = "Example:
  evaluate judge --answers answers/sft.jsonl answers/esrl.jsonl --questions vicuna.jsonl --out runs/judge")]
    Judge(JudgeCommand),
    /// Write a run's adapter and base as one Hugging Face directory
    ///
    /// Proves on a probe set that the written model gives the same logits; nothing is left behind when it does not.
    #[command(after_help = "Examples:
  evaluate merge --run runs/esrl --out merged
  evaluate merge --run runs/esrl --out merged-bf16 --dtype bf16")]
    Merge(MergeConfig),
}

impl Cli {
    /// Does what was asked and prints the result to standard output.
    pub fn execute(self) -> Result<()> {
        run::print(&match self.command {
            Command::Answers(config) => {
                let out = config.out.display().to_string();
                answers_text(&answers(&config)?, &out)
            }
            Command::Compare(config) => compare(&config)?.markdown(),
            Command::Table(config) => table(&config)?,
            Command::Plot(config) => plot(&config)?,
            Command::Score(config) => format!("{}\n", score(&config)?),
            Command::Judge(config) => judge(&config)?,
            Command::Merge(config) => format!("{}\n", merge(&config)?),
        })
    }
}

fn answers_text(report: &crate::AnswersReport, out: &str) -> String {
    let mut text = format!(
        "{}: {} answers into {out}",
        report.model_id, report.answered
    );
    let mut add = |part: String| text.write_str(&part).expect("writing to a String");
    if report.already > 0 {
        add(format!(", {} were there", report.already));
    }
    if report.cut > 0 {
        add(format!(", {} ended at the length limit", report.cut));
    }
    if !report.too_long.is_empty() {
        let ids: Vec<String> = report.too_long.iter().map(ToString::to_string).collect();
        add(format!(
            "\nnot answered, the prompt leaves no room in the context: {}",
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
