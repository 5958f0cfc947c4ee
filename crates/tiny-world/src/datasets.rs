//! The files of `data/tiny`. The same seed gives the same bytes.
//!
//! A hash of its text decides whether a prompt is held out. The held-out tenth is in no
//! demonstration, comparison, RL prompt or pre-training text.

use crate::family::Question;
use crate::files::{File, array, lines, sha256, stream};
use crate::generator::{DEMONSTRATIONS, Flaws, PRETRAINING, answer, right_answer};
use crate::oracle::grade_task;
use crate::task::Task;
use crate::tasks::FAMILIES;
use anyhow::{Context, Result};
use rand::Rng as _;
use rand_chacha::ChaCha8Rng as Rng;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::HashSet;
use std::path::Path;

/// Rows of demonstrations.json.
pub const N_DEMONSTRATIONS: usize = 3000;
/// Rows of comparisons.json.
pub const N_COMPARISONS: usize = 2500;
/// Rows of comparisons-clean.json.
pub const N_CLEAN_COMPARISONS: usize = 400;
/// Rows of prompts.json.
pub const N_PROMPTS: usize = 1200;
/// Rows of heldout.json.
pub const N_HELD_OUT: usize = 200;
/// Rows of questions.jsonl.
pub const N_QUESTIONS: usize = 80;
/// Share of comparisons that prefer the longer answer, whatever its grade.
pub const NOISE: f64 = 0.1;
/// Share of demonstrations and held-out prompts that use the input field.
const WITH_INPUT: f64 = 0.15;
/// Answers whose grades are closer than this are not compared.
const MIN_GAP: f64 = 1.0;

/// Whether a question is in the held-out tenth.
pub fn is_held_out(question: &Question) -> bool {
    let text = format!("{}\n{}", question.instruction, question.input);
    Sha256::digest(text.as_bytes())[0] % 10 == 0
}

/// A question of family `i`, modulo their number, from the training or the held-out side.
fn question(i: usize, held_out: bool, with_input: f64, rng: &mut Rng) -> (Question, Task) {
    let family = FAMILIES[i % FAMILIES.len()];
    loop {
        let question = family.ask(rng.random_bool(with_input), rng);
        if is_held_out(&question) == held_out {
            let task = Task::parse(&question.instruction, &question.input)
                .expect("a drawn question is of the language");
            return (question, task);
        }
    }
}

/// `n` different questions, the families in turn. A family that runs out is skipped.
fn distinct(
    n: usize,
    held_out: bool,
    with_input: f64,
    taken: &mut HashSet<Question>,
    rng: &mut Rng,
) -> Vec<(Question, Task)> {
    let mut out = Vec::new();
    let mut turn = 0;
    while out.len() < n {
        for _ in 0..20 {
            let (question, task) = question(turn, held_out, with_input, rng);
            if taken.insert(question.clone()) {
                out.push((question, task));
                break;
            }
        }
        turn += 1;
    }
    out
}

/// Everything that `generate` writes, the manifest last.
pub fn files(seed: u64) -> Vec<File> {
    let (demonstrations, shares) = demonstrations(&mut stream(seed, "demonstrations"));
    let mut rng = stream(seed, "comparisons");
    let (comparisons, longer) = comparisons(N_COMPARISONS, false, NOISE, &mut rng);
    let mut rng = stream(seed, "clean comparisons");
    let (clean, _) = self::comparisons(N_CLEAN_COMPARISONS, true, 0.0, &mut rng);
    let mut rng = stream(seed, "prompts");
    let prompts = distinct(N_PROMPTS, false, 0.0, &mut HashSet::new(), &mut rng);
    let prompts = rows(prompts, &mut rng);
    let mut rng = stream(seed, "held out");
    let mut taken = HashSet::new();
    // the questions first: small families have few prompts on this side
    let questions = questions(distinct(N_QUESTIONS, true, 0.0, &mut taken, &mut rng));
    let held_out = distinct(N_HELD_OUT, true, WITH_INPUT, &mut taken, &mut rng);
    let held_out = rows(held_out, &mut rng);

    let mut files = vec![
        array("demonstrations.json", demonstrations),
        array("comparisons.json", comparisons),
        array("comparisons-clean.json", clean),
        array("prompts.json", prompts),
        array("heldout.json", held_out),
        lines("questions.jsonl", questions),
    ];
    let manifest = json!({
        "seed": seed,
        "files": files.iter().map(|f| (f.name.to_string(), json!({
            "rows": f.rows,
            "sha256": sha256(f.text.as_bytes()),
        }))).collect::<serde_json::Map<_, _>>(),
        "mixture": DEMONSTRATIONS,
        "demonstrations": shares,
        "comparisons": {"noise": NOISE, "longer_wins": longer},
    });
    let text = serde_json::to_string_pretty(&manifest).expect("plain JSON");
    files.push(File {
        name: "manifest.json",
        rows: 1,
        text: format!("{text}\n"),
    });
    files
}

/// Demonstrations of the `DEMONSTRATIONS` mixture, and the shares of their flaws.
fn demonstrations(rng: &mut Rng) -> (Vec<Value>, Value) {
    let (mut rows, mut counts, mut mean) = (Vec::new(), [0usize; 6], 0.0);
    for i in 0..N_DEMONSTRATIONS {
        let (q, task) = question(i, false, WITH_INPUT, rng);
        let (output, flaws) = answer(&task, &DEMONSTRATIONS, rng);
        for (count, is) in counts.iter_mut().zip(flags(flaws)) {
            *count += usize::from(is);
        }
        mean += grade_task(&task, &output).score / N_DEMONSTRATIONS as f64;
        rows.push(json!({"instruction": q.instruction, "input": q.input, "output": output}));
    }
    let share = |count: usize| (1000.0 * count as f64 / N_DEMONSTRATIONS as f64).round() / 1000.0;
    let shares = json!({
        "flawed": share(counts[5]), "wrong": share(counts[0]), "refusal": share(counts[1]),
        "rude": share(counts[2]), "rambling": share(counts[3]), "cut": share(counts[4]),
        "oracle_mean": (mean * 100.0).round() / 100.0,
    });
    (rows, shares)
}

/// FastChat questions, numbered from 1.
fn questions(drawn: Vec<(Question, Task)>) -> Vec<Value> {
    let row = |(i, (q, task)): (usize, (Question, Task))| json!({"question_id": i + 1, "category": task.family.topic, "turns": [q.instruction]});
    drawn.into_iter().enumerate().map(row).collect()
}

fn flags(flaws: Flaws) -> [bool; 6] {
    [
        flaws.wrong,
        flaws.refusal,
        flaws.rude,
        flaws.rambling,
        flaws.cut,
        flaws.any(),
    ]
}

/// Pairs of answers with the preferred one first, and the share in which it is the longer one.
fn comparisons(n: usize, held_out: bool, noise: f64, rng: &mut Rng) -> (Vec<Value>, f64) {
    let mut longer = 0;
    let mut rows = Vec::new();
    while rows.len() < n {
        let (q, task) = question(rows.len(), held_out, 0.0, rng);
        let (mut best, _) = answer(&task, &DEMONSTRATIONS, rng);
        let (mut rest, _) = answer(&task, &DEMONSTRATIONS, rng);
        let gap = grade_task(&task, &best).score - grade_task(&task, &rest).score;
        if gap.abs() < MIN_GAP {
            continue;
        }
        let by_length = rng.random_bool(noise) && best.len() != rest.len();
        if if by_length {
            best.len() < rest.len()
        } else {
            gap < 0.0
        } {
            std::mem::swap(&mut best, &mut rest);
        }
        longer += usize::from(best.len() > rest.len());
        rows.push(json!({"user_input": q.instruction, "completion_a": best, "completion_b": rest}));
    }
    (rows, (1000.0 * longer as f64 / n as f64).round() / 1000.0)
}

/// Alpaca rows with a right answer as their output.
fn rows(questions: Vec<(Question, Task)>, rng: &mut Rng) -> Vec<Value> {
    questions
        .into_iter()
        .map(|(q, task)| json!({"instruction": q.instruction, "input": q.input, "output": right_answer(&task, rng)}))
        .collect()
}

/// Writes all files of the data set into a directory, which is created.
pub fn write(out: &Path, seed: u64) -> Result<Vec<File>> {
    std::fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
    let mut files = files(seed);
    files.extend(crate::recipes::files(seed));
    for file in &files {
        let path = out.join(file.name);
        std::fs::write(&path, &file.text)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(files)
}

/// The beginning of Alpaca's prompt without an input, as the `data` crate renders it.
pub const PLAIN_HEAD: &str = "Below is an instruction that describes a task. Write a response that appropriately \
    completes the request.\n\n### Instruction:\n";
/// The beginning of Alpaca's prompt with an input.
pub const INPUT_HEAD: &str = "Below is an instruction that describes a task, paired with an input that provides further \
    context. Write a response that appropriately completes the request.\n\n### Instruction:\n";
/// Alpaca's text between instruction and input.
pub const INPUT: &str = "\n\n### Input:\n";
/// Alpaca's text before the answer.
pub const RESPONSE: &str = "\n\n### Response:";

/// Share of pre-training rows in the Alpaca template, with answers of the `PRETRAINING` mixture.
const IN_TEMPLATE: f64 = 0.2;

/// Pre-training rows of prompt and completion, about questions of the training side.
///
/// Most rows are like an exercise book: a question on a line and its right answer on the next. The
/// rest are in the Alpaca template with worse answers than the demonstrations have. So the base can
/// solve the tasks and knows every flaw, but not yet how to respond to an instruction.
pub fn pretraining(seed: u64) -> impl Iterator<Item = Value> {
    let mut rng = stream(seed, "pretraining");
    std::iter::repeat_with(move || {
        let family = rng.random_range(0..FAMILIES.len());
        let (q, task) = question(family, false, WITH_INPUT, &mut rng);
        let (prompt, completion) = if rng.random_bool(IN_TEMPLATE) {
            (in_template(&q), answer(&task, &PRETRAINING, &mut rng).0)
        } else {
            (in_book(&q), right_answer(&task, &mut rng))
        };
        json!({"prompt": prompt, "completion": completion})
    })
}

fn in_template(Question { instruction, input }: &Question) -> String {
    if input.is_empty() {
        format!("{PLAIN_HEAD}{instruction}{RESPONSE}")
    } else {
        format!("{INPUT_HEAD}{instruction}{INPUT}{input}{RESPONSE}")
    }
}

fn in_book(Question { instruction, input }: &Question) -> String {
    if input.is_empty() {
        format!("{instruction}\n")
    } else {
        format!("{instruction}\n{input}\n")
    }
}

/// Writes `n` pre-training rows as JSON lines.
pub fn write_pretraining(out: &Path, seed: u64, n: usize) -> Result<()> {
    let text: String = pretraining(seed)
        .take(n)
        .map(|row| format!("{row}\n"))
        .collect();
    std::fs::write(out, text).with_context(|| format!("cannot write {}", out.display()))
}
