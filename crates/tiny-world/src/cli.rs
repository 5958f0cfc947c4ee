//! The command line: writes the data, the pre-training text and the tokenizer; grades answers.

use crate::oracle::{Grade, grade};
use crate::{datasets, tokenizer, weights};
use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "Examples:
  tiny-world generate --out data/tiny --seed 1
  tiny-world pretrain-text --out runs/pretrain.jsonl --rows 120000
  tiny-world tokenizer --out data/tiny/base
  tiny-world round --from runs/tiny-base/model/model.safetensors --to data/tiny/base/model.safetensors
  tiny-world grade --questions data/tiny/questions.jsonl --answers answers.jsonl
  tiny-world grade --questions data/tiny/questions.jsonl --answers sample-1.jsonl sample-2.jsonl
  tiny-world grade --questions data/tiny/demonstrations.json
  tiny-world ask \"What is 4 plus 7?\" \"The sum is 11.\"";

/// A small language of checkable tasks: data, tokenizer and oracle
#[derive(Parser, Debug)]
#[command(name = "tiny-world", version, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Write demonstrations, comparisons, prompts, held-out prompts, questions and the manifest
    Generate {
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Write pre-training text: questions and answers, prompt and completion as JSON lines
    PretrainText {
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        #[arg(long, default_value_t = 120_000)]
        rows: usize,
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Train the tokenizer and write it with its configuration
    Tokenizer {
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Round a safetensors file of f32 weights to bf16
    Round {
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Grade answers: a table by category and by family
    Grade {
        /// FastChat questions (JSONL) or Alpaca rows (JSON), whose outputs are graded without
        /// --answers
        #[arg(long, value_name = "FILE")]
        questions: PathBuf,
        /// FastChat answers (JSONL); with several files, `best` is the mean of each question's best
        /// grade
        #[arg(long, value_name = "FILE", num_args = 1..)]
        answers: Vec<PathBuf>,
    },
    /// Choose demonstrations of which a share has bad answers
    Mix {
        /// Alpaca rows (JSON)
        #[arg(
            long,
            value_name = "FILE",
            default_value = "data/tiny/demonstrations.json"
        )]
        from: PathBuf,
        /// Bad answers in per cent; one file each
        #[arg(long, value_name = "PERCENT", num_args = 1.., default_values_t = [25, 50, 75])]
        bad: Vec<usize>,
        #[arg(long, default_value_t = 600)]
        rows: usize,
        /// Directory for bad-PERCENT.json
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Grade one answer
    Ask {
        question: String,
        answer: String,
        #[arg(long, default_value = "")]
        input: String,
    },
}

impl Cli {
    /// Runs the command.
    pub fn run(self) -> Result<()> {
        match self.command {
            Command::Generate { out, seed } => {
                for file in datasets::write(&out, seed)? {
                    let (rows, bytes) = (file.rows, file.text.len());
                    print(&format!(
                        "{:24} {rows:>6} rows {bytes:>9} bytes\n",
                        file.name
                    ))?;
                }
            }
            Command::PretrainText { out, rows, seed } => {
                datasets::write_pretraining(&out, seed, rows)?
            }
            Command::Tokenizer { out, seed } => tokenizer::write(&out, seed)?,
            Command::Round { from, to } => weights::round(&from, &to)?,
            Command::Grade { questions, answers } => print(&table(&graded(&questions, &answers)?))?,
            Command::Mix {
                from,
                bad,
                rows,
                out,
            } => {
                std::fs::create_dir_all(&out)
                    .with_context(|| format!("cannot create {}", out.display()))?;
                for percent in bad {
                    let file = out.join(format!("bad-{percent}.json"));
                    std::fs::write(&file, crate::mix(&from, percent, rows)?)
                        .with_context(|| format!("cannot write {}", file.display()))?;
                    print(&format!("{}\n", file.display()))?;
                }
            }
            Command::Ask {
                question,
                answer,
                input,
            } => match grade(&question, &input, &answer) {
                Some(grade) => print(&format!("{}\n", serde_json::to_string(&grade)?))?,
                None => bail!("this question is not of the tiny world: \"{question}\""),
            },
        }
        Ok(())
    }
}

/// Writes to standard output. A reader that is gone (`… | head`) is no failure; `println!` would
/// panic.
fn print(text: &str) -> Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(e).context("cannot write to standard output")
        }
        _ => Ok(()),
    }
}

/// A question's family and category, and the grades of its answers.
struct Graded {
    family: &'static str,
    topic: &'static str,
    grades: Vec<Grade>,
}

fn graded(questions: &Path, answers: &[PathBuf]) -> Result<Vec<Graded>> {
    let answers = answers
        .iter()
        .map(|path| Ok((path, read_answers(path)?)))
        .collect::<Result<Vec<_>>>()?;
    let mut out = Vec::new();
    for (i, row) in read(questions)?.iter().enumerate() {
        let text = |key: &str| row.get(key).and_then(Value::as_str);
        let question = row
            .pointer("/turns/0")
            .and_then(Value::as_str)
            .or(text("text"))
            .or(text("instruction"));
        let question =
            question.with_context(|| field(questions, i, "turns[0], text or instruction"))?;
        let unknown = || {
            format!(
                "{}: row {}: this question is not of the tiny world",
                questions.display(),
                i + 1
            )
        };
        let task = crate::Task::parse(question, text("input").unwrap_or_default())
            .with_context(unknown)?;
        let mut grades = Vec::new();
        if answers.is_empty() {
            let answer = text("output")
                .with_context(|| field(questions, i, "output (or give --answers)"))?;
            grades.push(crate::grade_task(&task, answer));
        }
        let id = row
            .get("question_id")
            .map(Value::to_string)
            .unwrap_or_default();
        for (path, by_id) in &answers {
            let answer = by_id
                .get(&id)
                .with_context(|| format!("{} has no answer to question {id}", path.display()))?;
            grades.push(crate::grade_task(&task, answer));
        }
        out.push(Graded {
            family: task.family.name,
            topic: task.family.topic,
            grades,
        });
    }
    if out.is_empty() {
        bail!("{} has no rows", questions.display());
    }
    Ok(out)
}

/// Answers by question id.
fn read_answers(path: &Path) -> Result<BTreeMap<String, String>> {
    let mut by_id = BTreeMap::new();
    for (i, row) in read(path)?.iter().enumerate() {
        let id = row
            .get("question_id")
            .with_context(|| field(path, i, "question_id"))?
            .to_string();
        let text = row.pointer("/choices/0/turns/0").and_then(Value::as_str);
        by_id.insert(
            id,
            text.with_context(|| field(path, i, "choices[0].turns[0]"))?
                .to_string(),
        );
    }
    Ok(by_id)
}

fn field(path: &Path, row: usize, name: &str) -> String {
    format!(
        "{}: row {}: the field {name} is missing",
        path.display(),
        row + 1
    )
}

/// Rows of a JSON array or of JSON lines.
fn read(path: &Path) -> Result<Vec<Value>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    if text.trim_start().starts_with('[') {
        return serde_json::from_str(&text)
            .with_context(|| format!("{} is not a JSON array", path.display()));
    }
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(i, line)| {
            serde_json::from_str(line)
                .with_context(|| format!("{}: line {}", path.display(), i + 1))
        })
        .collect()
}

/// Mean grades by family, by category and overall.
fn table(graded: &[Graded]) -> String {
    let mut out = format!(
        "{:14} {:>5} {:>6} {:>6} {:>8} {:>9} {:>5} {:>8} {:>8}\n",
        "", "n", "score", "best", "correct", "complete", "form", "brevity", "manners"
    );
    let mut line = |name: &str, of: &dyn Fn(&Graded) -> bool| {
        let rows: Vec<&Graded> = graded.iter().filter(|g| of(g)).collect();
        let all: Vec<&Grade> = rows.iter().flat_map(|g| &g.grades).collect();
        if rows.is_empty() {
            return;
        }
        let best = rows
            .iter()
            .map(|g| g.grades.iter().map(|g| g.score).fold(0.0, f64::max))
            .sum::<f64>();
        let mean =
            |part: fn(&Grade) -> f64| all.iter().map(|g| part(g)).sum::<f64>() / all.len() as f64;
        out += &format!(
            "{name:14} {:5} {:6.2} {:6.2} {:8.2} {:9.2} {:5.2} {:8.2} {:8.2}\n",
            all.len(),
            mean(|g| g.score),
            best / rows.len() as f64,
            mean(|g| g.correct),
            mean(|g| g.complete),
            mean(|g| g.form),
            mean(|g| g.brevity),
            mean(|g| g.manners)
        );
    };
    for family in crate::tasks::FAMILIES {
        line(family.name, &|g| g.family == family.name);
    }
    for topic in ["extraction", "knowledge", "math", "reasoning", "writing"] {
        line(topic, &|g| g.topic == topic);
    }
    line("all", &|_| true);
    out
}
