//! `wick answers`: a policy's answers to questions, in FastChat's answer JSONL, or printed.
//!
//! Like FastChat's `gen_model_answer`: temperature by category, 1,024 new tokens. Two differences:
//! a prompt that does not fit the context is reported and not truncated, and the distribution is
//! not truncated to the 50 most likely tokens.

use super::asked::Asked;
use super::config::AnswersConfig;
use super::identity::Identity;
use crate::draw::{SampleProgress, draw};
use crate::fastchat::{self, Answer, Choice, QuestionId};
use crate::jsonl::Appender;
use crate::policies::PolicyOpener;
use anyhow::{Context, Result};
use data::Prompt;
use generation::{Finish, Request, Sampling};
use policy::Policy;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

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
    /// The new answers, in the order of the questions; `None` if the prompt leaves no room for one.
    pub printed: Vec<Option<String>>,
}

/// Answers the questions that `config.out` does not answer yet, or all of `config.prompt`.
pub fn answers(config: &AnswersConfig) -> Result<AnswersReport> {
    config.check()?;
    let asked = config.asked()?;
    let policy = PolicyOpener::of_one(&config.device, config.base.as_deref(), &config.run)?
        .policy(&config.run)?;
    let identity = Identity::new(config, &policy)?;
    if let Some(out) = &config.out {
        return Ok(answer_into(out, &policy, &identity, config, &asked)?.0);
    }
    let todo: Vec<&Asked> = asked.iter().collect();
    let mut report = AnswersReport::default();
    draw_answers(
        &policy,
        &identity,
        config,
        &todo,
        &mut report,
        &mut |_, _| Ok(()),
    )?;
    Ok(report)
}

/// Draws the answers that `out` lacks and appends them, a batch at a time. Returns all of its
/// answers, too. Nobody else can write the file meanwhile.
pub(crate) fn answer_into(
    out: &Path,
    policy: &Policy,
    identity: &Identity,
    config: &AnswersConfig,
    asked: &[Asked],
) -> Result<(AnswersReport, Vec<Answer>)> {
    let (mut file, existing) = Appender::open::<Answer>(out)?;
    identity.check(config, out, &existing, asked)?;
    let mut all = fastchat::each_once(out, existing);
    let todo: Vec<&Asked> = asked
        .iter()
        .filter(|q| all.iter().all(|a| a.question_id != q.id))
        .collect();
    let mut report = AnswersReport {
        already: asked.len() - todo.len(),
        ..Default::default()
    };
    draw_answers(
        policy,
        identity,
        config,
        &todo,
        &mut report,
        &mut |question, turns| {
            let answer = Answer {
                question_id: question.id.clone(),
                answer_id: identity.answer_id(config, question),
                model_id: identity.model_id.clone(),
                choices: vec![Choice { index: 0, turns }],
                tstamp: SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .map_or(0.0, |t| t.as_secs_f64()),
            };
            file.push(&answer)?;
            all.push(answer);
            Ok(())
        },
    )?;
    report.oracle = oracle(asked, &all);
    Ok((report, all))
}

/// Draws the answers a batch at a time, in the order of the questions, counts them and gives each
/// to `keep`.
fn draw_answers(
    policy: &Policy,
    identity: &Identity,
    config: &AnswersConfig,
    todo: &[&Asked],
    report: &mut AnswersReport,
    keep: &mut dyn FnMut(&Asked, Vec<String>) -> Result<()>,
) -> Result<()> {
    report.model_id = identity.model_id.clone();
    for question in todo {
        encode_question(policy, question, &[])?;
    }
    policy.encoder.report_rows("asked");
    let n_turns = todo.iter().map(|q| q.n_turns()).sum();
    let mut bar = SampleProgress::new(&format!("{} answers", identity.model_id), n_turns);
    let mut n_narrow = 0;
    for batch in todo.chunks(config.batch) {
        let answered = batch_turns(policy, config, batch, &mut bar)?;
        for (question, turns) in batch.iter().zip(answered) {
            let Some(turns) = turns else {
                report.too_long.push(question.id.clone());
                report.printed.push(None);
                continue;
            };
            let cut = turns.iter().filter(|turn| turn.finish == Finish::Length);
            report.cut += cut.clone().count();
            n_narrow += cut.filter(|turn| turn.narrow).count();
            report.answered += 1;
            let texts: Vec<String> = turns.into_iter().map(|turn| turn.text).collect();
            report.printed.push(Some(texts.join("\n\n")));
            keep(question, texts)?;
        }
    }
    if n_narrow > 0 {
        run::say!(
            "answers cut before max_new_tokens = {}: {n_narrow}; a prompt and its answer have at most {} \
             tokens together in this model",
            config.max_new_tokens,
            policy.model().config.decoding_context()
        );
    }
    let tokens = bar.tokens();
    bar.finish(&format!("{} answers, {tokens} tokens", report.answered));
    Ok(())
}

fn oracle(asked: &[Asked], answers: &[Answer]) -> Option<f64> {
    let asked: BTreeMap<_, _> = asked.iter().map(|q| (&q.id, q)).collect();
    let grade = |answer: &Answer| asked.get(&answer.question_id)?.grade(answer.turns());
    match answers.is_empty() {
        true => None,
        false => answers.iter().map(grade).sum(),
    }
}

/// Token ids of a question's next turn, after the answers `before` it.
fn encode_question(policy: &Policy, question: &Asked, before: &[&str]) -> Result<Vec<u32>> {
    let prompt = Prompt {
        ask: question.after(before),
        reference: None,
        origin: question.origin.clone(),
    };
    let ids = policy.encoder.prompt(&prompt);
    ids.with_context(|| format!("question {}", question.id))
}

struct Turn {
    text: String,
    finish: Finish,
    /// It had room for fewer tokens than were asked for.
    narrow: bool,
}

/// The answers to each question of a batch, turn by turn; `None` if a prompt does not fit.
fn batch_turns(
    policy: &Policy,
    config: &AnswersConfig,
    batch: &[&Asked],
    bar: &mut SampleProgress,
) -> Result<Vec<Option<Vec<Turn>>>> {
    let shape = &policy.model().config;
    let mut dialogues: Vec<Option<Vec<Turn>>> = batch.iter().map(|_| Some(Vec::new())).collect();
    for turn in 0.. {
        let (mut requests, mut asked) = (Vec::new(), Vec::new());
        for (i, question) in batch.iter().enumerate().filter(|(_, q)| q.n_turns() > turn) {
            let Some(before) = &dialogues[i] else {
                continue;
            };
            let before: Vec<&str> = before.iter().map(|turn| turn.text.as_str()).collect();
            let prompt = encode_question(policy, question, &before)?;
            let room = shape
                .limit_behind(prompt.len())
                .saturating_sub(prompt.len());
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
            let narrow = sample.ids.len() < config.max_new_tokens;
            dialogues[i]
                .as_mut()
                .expect("only open dialogues are asked")
                .push(Turn {
                    text,
                    finish,
                    narrow,
                });
        }
    }
    unreachable!("no question has endless turns")
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
