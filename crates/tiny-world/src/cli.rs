//! Command line: make the data, the pre-training text and the tokenizer; grade answers.

use crate::oracle::{Grade, grade};
use crate::{datasets, tokenizer};
use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "Examples:
  tiny-world generate --out data/tiny --seed 1
  tiny-world pretrain-text --out runs/pretrain.jsonl --rows 120000
  tiny-world tokenizer --out data/tiny/base
  tiny-world grade --questions data/tiny/questions.jsonl --answers answers.jsonl
  tiny-world grade --questions data/tiny/demonstrations.json
  tiny-world ask \"What is 4 plus 7?\" \"The sum is 11.\"";

/// A small language with checkable tasks: its data, its tokenizer and its oracle
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
    /// Grade answers: a table by category and by family
    Grade {
        /// FastChat questions (JSONL), or Alpaca rows (JSON), whose outputs are graded where --answers is not given
        #[arg(long, value_name = "FILE")]
        questions: PathBuf,
        /// FastChat answers (JSONL)
        #[arg(long, value_name = "FILE")]
        answers: Option<PathBuf>,
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
    pub fn run(self) -> Result<()> {
        match self.command {
            Command::Generate { out, seed } => {
                for file in datasets::write(&out, seed)? {
                    println!(
                        "{:24} {:>6} rows {:>9} bytes",
                        file.name,
                        file.rows,
                        file.text.len()
                    );
                }
            }
            Command::PretrainText { out, rows, seed } => {
                datasets::write_pretraining(&out, seed, rows)?
            }
            Command::Tokenizer { out, seed } => tokenizer::write(&out, seed)?,
            Command::Grade { questions, answers } => {
                print!("{}", table(&graded(&questions, answers.as_deref())?))
            }
            Command::Ask {
                question,
                answer,
                input,
            } => match grade(&question, &input, &answer) {
                Some(grade) => println!("{}", serde_json::to_string(&grade)?),
                None => bail!("this question is not of the tiny world: \"{question}\""),
            },
        }
        Ok(())
    }
}

/// Family, category and grade of each answer.
type Graded = Vec<(&'static str, &'static str, Grade)>;

fn graded(questions: &Path, answers: Option<&Path>) -> Result<Graded> {
    let rows = read(questions)?;
    let answers = match answers {
        None => None,
        Some(path) => {
            let mut by_id = BTreeMap::new();
            for (i, row) in read(path)?.iter().enumerate() {
                let id = row
                    .get("question_id")
                    .with_context(|| field(path, i, "question_id"))?
                    .to_string();
                let text = row
                    .pointer("/choices/0/turns/0")
                    .or_else(|| row.get("text"))
                    .and_then(Value::as_str);
                by_id.insert(
                    id,
                    text.with_context(|| field(path, i, "choices[0].turns[0]"))?
                        .to_string(),
                );
            }
            Some(by_id)
        }
    };
    let mut out = Vec::new();
    for (i, row) in rows.iter().enumerate() {
        let text = |key: &str| row.get(key).and_then(Value::as_str);
        let question = row
            .pointer("/turns/0")
            .and_then(Value::as_str)
            .or_else(|| text("text"))
            .or_else(|| text("instruction"));
        let question =
            question.with_context(|| field(questions, i, "turns[0], text or instruction"))?;
        let answer = match &answers {
            None => {
                text("output").with_context(|| field(questions, i, "output (or give --answers)"))?
            }
            Some(by_id) => {
                let id = row
                    .get("question_id")
                    .map(Value::to_string)
                    .unwrap_or_default();
                by_id.get(&id).with_context(|| {
                    format!("question {id} of {} has no answer", questions.display())
                })?
            }
        };
        let input = text("input").unwrap_or_default();
        let unknown = || {
            format!(
                "{}: row {}: this question is not of the tiny world",
                questions.display(),
                i + 1
            )
        };
        let task = crate::Task::parse(question, input).with_context(unknown)?;
        out.push((
            task.family.name,
            task.family.topic,
            crate::grade_task(&task, answer),
        ));
    }
    if out.is_empty() {
        bail!("{} has no rows", questions.display());
    }
    Ok(out)
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

/// Mean marks by family, by category and in all.
fn table(graded: &Graded) -> String {
    let mut out = format!(
        "{:14} {:>5} {:>6} {:>8} {:>9} {:>5} {:>8} {:>8}\n",
        "", "n", "score", "correct", "complete", "form", "brevity", "manners"
    );
    let mut line = |name: &str, of: &dyn Fn(&str, &str) -> bool| {
        let rows: Vec<Grade> = graded
            .iter()
            .filter(|(family, topic, _)| of(family, topic))
            .map(|g| g.2)
            .collect();
        let mean = |part: fn(&Grade) -> f64| rows.iter().map(part).sum::<f64>() / rows.len() as f64;
        if !rows.is_empty() {
            out += &format!(
                "{name:14} {:5} {:6.2} {:8.2} {:9.2} {:5.2} {:8.2} {:8.2}\n",
                rows.len(),
                mean(|g| g.score),
                mean(|g| g.correct),
                mean(|g| g.complete),
                mean(|g| g.form),
                mean(|g| g.brevity),
                mean(|g| g.manners)
            );
        }
    };
    for family in crate::tasks::FAMILIES {
        line(family.name, &|name, _| name == family.name);
    }
    for topic in ["extraction", "knowledge", "math", "reasoning", "writing"] {
        line(topic, &|_, of| of == topic);
    }
    line("all", &|_, _| true);
    out
}
