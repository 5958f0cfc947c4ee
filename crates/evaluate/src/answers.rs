//! `wick answers`: a policy's answers to a FastChat question file, in FastChat's answer JSONL.
//!
//! Like FastChat's `gen_model_answer`: temperature by category, 1,024 new tokens. Two differences:
//! a prompt that does not fit the context is reported and not truncated, and the distribution is
//! not truncated to the 50 most likely tokens.

use crate::draw::{SampleProgress, draw};
use crate::fastchat::{self, Answer, Choice, Question, QuestionId, category_temperature};
use crate::jsonl::{self, Appender};
use crate::output::ensure_parent;
use crate::policies::{self, PolicyOpener};
use anyhow::{Context, Result, bail, ensure};
use data::{Message, Prompt};
use generation::{Finish, Request, Sampling};
use policy::Policy;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The arguments of `wick answers`.
#[derive(Clone, Debug, clap::Args)]
pub struct AnswersConfig {
    /// Run directory of sft or esrl-rlhf, or a plain model: Hugging Face directory, .gguf file or
    /// hub id
    #[arg(long, value_name = "RUN")]
    pub run: String,
    /// FastChat question file: JSONL with question_id, category and text or turns
    #[arg(long, value_name = "FILE")]
    pub questions: PathBuf,
    /// Answer file to write; an existing one is continued
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Take the most likely token each time, in every category
    #[arg(long, conflicts_with = "temperature")]
    pub greedy: bool,
    /// One temperature for all, instead of FastChat's by category (math, coding, reasoning,
    /// extraction 0; stem, humanities 0.1; others 0.7)
    #[arg(long, value_name = "T")]
    pub temperature: Option<f32>,
    /// Longest answer, in tokens (less if the context ends earlier)
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub max_new_tokens: usize,
    /// Questions answered, and written, together
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub batch: usize,
    /// Seed of the sampling
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// model_id of the answers (default: the name of the run or model)
    #[arg(long, value_name = "NAME")]
    pub model_id: Option<String>,
    /// cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    pub device: String,
}

impl AnswersConfig {
    /// The defaults of the command line.
    pub fn new(run: &str, questions: &Path, out: &Path) -> Self {
        Self {
            run: run.to_string(),
            questions: questions.to_path_buf(),
            out: out.to_path_buf(),
            greedy: false,
            temperature: None,
            max_new_tokens: 1024,
            batch: 16,
            seed: 1,
            model_id: None,
            device: "cpu".to_string(),
        }
    }

    fn check(&self) -> Result<()> {
        ensure!(self.batch > 0, "--batch 0; it must be at least 1");
        ensure!(
            self.max_new_tokens > 0,
            "--max-new-tokens 0; it must be at least 1"
        );
        let temperature = self.temperature.unwrap_or(0.0);
        ensure!(
            temperature.is_finite() && temperature >= 0.0,
            "--temperature {temperature}; it must be a number, 0 or more"
        );
        ensure!(
            !self.out.is_dir(),
            "{} is a directory; --out is a file",
            self.out.display()
        );
        ensure_parent(&self.out)?;
        Ok(())
    }

    fn temperature(&self, category: &str) -> f32 {
        match self.temperature {
            _ if self.greedy => 0.0,
            Some(temperature) => temperature,
            None => category_temperature(category),
        }
    }
}

/// How many questions were answered, and how.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnswersReport {
    pub model_id: String,
    /// Questions answered by an earlier call.
    pub already: usize,
    pub answered: usize,
    /// Questions whose prompt leaves no room in the context for an answer.
    pub too_long: Vec<QuestionId>,
    /// Answers that reached the length limit.
    pub cut: usize,
    /// Sum of the tiny world's grades (1 to 10) over all answers in the file; `None` unless it
    /// knows every question.
    pub oracle: Option<f64>,
}

/// Answers the questions that `config.out` does not answer yet.
pub fn answers(config: &AnswersConfig) -> Result<AnswersReport> {
    config.check()?;
    let questions = fastchat::questions(&config.questions)?;
    let existing: Vec<Answer> = jsonl::read_appended(&config.out)?;
    let policy = PolicyOpener::new(&config.device)?.policy(&config.run)?;
    let identity = Identity::new(config, &policy)?;
    identity.check(config, &existing, &questions)?;
    answer_with(&policy, &identity, config, &questions)
}

/// Draws the missing answers and appends them, a batch at a time.
pub(crate) fn answer_with(
    policy: &Policy,
    identity: &Identity,
    config: &AnswersConfig,
    questions: &[Question],
) -> Result<AnswersReport> {
    let (mut file, existing) = Appender::open::<Answer>(&config.out)?;
    let todo: Vec<&Question> = questions
        .iter()
        .filter(|q| existing.iter().all(|a| a.question_id != q.id))
        .collect();
    let mut report = AnswersReport {
        model_id: identity.model_id.clone(),
        already: questions.len() - todo.len(),
        ..Default::default()
    };
    let turns = todo.iter().map(|q| q.turns.len()).sum();
    let mut bar = SampleProgress::new(&format!("{} answers", identity.model_id), turns);
    for batch in todo.chunks(config.batch) {
        for (question, turns) in batch
            .iter()
            .zip(batch_turns(policy, config, batch, &mut bar)?)
        {
            let Some(turns) = turns else {
                report.too_long.push(question.id.clone());
                continue;
            };
            report.cut += turns
                .iter()
                .filter(|turn| turn.finish == Finish::Length)
                .count();
            report.answered += 1;
            file.push(&Answer {
                question_id: question.id.clone(),
                answer_id: identity.answer_id(config, question),
                model_id: identity.model_id.clone(),
                choices: vec![Choice {
                    index: 0,
                    turns: turns.into_iter().map(|turn| turn.text).collect(),
                }],
                tstamp: SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .map_or(0.0, |t| t.as_secs_f64()),
            })?;
        }
    }
    let tokens = bar.tokens();
    bar.finish(&format!("{} answers, {tokens} tokens", report.answered));
    report.oracle = oracle(questions, &jsonl::read_appended(&config.out)?);
    Ok(report)
}

fn oracle(questions: &[Question], answers: &[Answer]) -> Option<f64> {
    let asked: BTreeMap<_, _> = questions.iter().map(|q| (&q.id, q)).collect();
    let grade = |answer: &Answer| match (&asked.get(&answer.question_id)?.turns[..], answer.turns())
    {
        ([question], [answer]) => Some(tiny_world::grade(question, "", answer)?.score),
        _ => None,
    };
    answers.iter().map(grade).sum()
}

struct Turn {
    text: String,
    finish: Finish,
}

/// The answers to each question of a batch, turn by turn; `None` if a prompt does not fit.
fn batch_turns(
    policy: &Policy,
    config: &AnswersConfig,
    batch: &[&Question],
    bar: &mut SampleProgress,
) -> Result<Vec<Option<Vec<Turn>>>> {
    let context = policy.model().config.max_position_embeddings;
    let mut dialogues: Vec<Option<Vec<Turn>>> = batch.iter().map(|_| Some(Vec::new())).collect();
    for turn in 0.. {
        let (mut requests, mut asked) = (Vec::new(), Vec::new());
        for (i, question) in batch
            .iter()
            .enumerate()
            .filter(|(_, q)| q.turns.len() > turn)
        {
            let Some(before) = &dialogues[i] else {
                continue;
            };
            let prompt = policy
                .encoder
                .prompt(&Prompt::new(ask(question, before), None))
                .with_context(|| {
                    format!("{}: question {}", config.questions.display(), question.id)
                })?;
            let room = context.saturating_sub(prompt.len());
            if room == 0 {
                dialogues[i] = None;
                continue;
            }
            asked.push(i);
            requests.push(Request {
                prompt,
                n: 1,
                sampling: Sampling {
                    temperature: config.temperature(&question.category),
                    max_new_tokens: config.max_new_tokens.min(room),
                    ..Sampling::default()
                },
                stream: [config.seed, turn as u64, stream_row(&question.id)],
            });
        }
        if requests.is_empty() {
            return Ok(dialogues);
        }
        let samples = draw(policy, &requests, config.batch, bar)?;
        for (i, sample) in asked.into_iter().zip(samples) {
            let text = policy.encoder.decode(&sample.ids)?.trim().to_string();
            let finish = sample.finish;
            dialogues[i]
                .as_mut()
                .expect("only open dialogues are asked")
                .push(Turn { text, finish });
        }
    }
    unreachable!("no question has endless turns")
}

/// A question's next turn, with the turns and answers before it, as the template expects them.
fn ask(question: &Question, answered: &[Turn]) -> data::Ask {
    if answered.is_empty() {
        return data::Ask::instruction(&question.turns[0]);
    }
    let mut messages = Vec::new();
    for (i, user) in question.turns[..=answered.len()].iter().enumerate() {
        messages.push(Message::new("user", user));
        if let Some(turn) = answered.get(i) {
            messages.push(Message::new("assistant", &turn.text));
        }
    }
    data::Ask::Chat(messages)
}

fn stream_row(id: &QuestionId) -> u64 {
    match id {
        QuestionId::Number(n) => *n,
        QuestionId::Text(text) => {
            let hash = Sha256::digest(text);
            u64::from_le_bytes(hash[..8].try_into().expect("a hash has 32 bytes"))
        }
    }
}

/// Which model answers: everything an answer depends on beside the question.
pub(crate) struct Identity {
    pub model_id: String,
    fingerprint: String,
}

impl Identity {
    pub fn new(config: &AnswersConfig, policy: &Policy) -> Result<Self> {
        // A model's file or directory is identified by its name, a hub id as it is.
        let path = Path::new(&policy.name);
        let name = match path.exists() {
            true => policies::file_name(path),
            false => policy.name.clone(),
        };
        let model_id = config.model_id.clone().unwrap_or(name);
        Ok(Self {
            model_id,
            fingerprint: policies::fingerprint(&config.run)?,
        })
    }

    /// A hash of everything an answer depends on: weights, question, temperature, length, seed.
    pub fn answer_id(&self, config: &AnswersConfig, question: &Question) -> String {
        let what = json!([
            self.model_id,
            self.fingerprint,
            question.id,
            question.turns,
            config.temperature(&question.category),
            config.max_new_tokens,
            config.seed,
        ]);
        run::hash(what.to_string().as_bytes())[..22].to_string()
    }

    /// Fails if the existing answers are of another model, or would be other answers now.
    pub fn check(
        &self,
        config: &AnswersConfig,
        existing: &[Answer],
        questions: &[Question],
    ) -> Result<()> {
        let out = config.out.display();
        let asked: BTreeMap<_, _> = questions.iter().map(|q| (&q.id, q)).collect();
        for answer in existing {
            if answer.model_id != self.model_id {
                bail!(
                    "{out} has answers of {}, not of {}; choose another --out",
                    answer.model_id,
                    self.model_id
                );
            }
            let id = &answer.question_id;
            let Some(question) = asked.get(id) else {
                bail!(
                    "{out} answers question {id}, which is not in the question file; choose another --out"
                );
            };
            if answer.answer_id != self.answer_id(config, question) {
                bail!(
                    "{out}: question {id} was answered with other weights or settings (temperature, \
                     --max-new-tokens, --seed); use the same ones, or another --out"
                );
            }
        }
        Ok(())
    }
}
