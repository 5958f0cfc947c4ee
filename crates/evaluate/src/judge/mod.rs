//! A language model as judge of answers to the Vicuna questions (Zheng et al. 2023): a rating from 1 to 10 for each
//! answer, summed (80 questions: out of 800), and pairs judged in both orders, won only where both orders agree.
//!
//! A failure (no reply, or one that cannot be read) is counted and never scored.

mod cache;
mod client;
mod command;
mod prompt;
mod verdict;

pub use client::JudgeConfig;
pub use command::{JudgeCommand, JudgeReport, JudgeRow, judge, judge_with, markdown};
pub use rewards::external::Secret;
pub use verdict::{Better, better, rating};

use crate::fastchat::{Answer, Question, QuestionId};
use crate::stats::Wins;
use anyhow::Result;
use cache::Cache;
use client::{Client, Reply};
use prompt::JudgePrompt;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

pub struct Judge {
    client: Client,
    cache: Cache,
    /// Questions asked over the network, replies that came from the cache.
    pub asked: usize,
    pub cached: usize,
}

/// The ratings of one model's answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Total {
    /// Sum of the ratings given.
    pub sum: f64,
    /// The highest sum possible over all questions (80 questions: 800).
    pub out_of: f64,
    pub judged: usize,
    pub failed: usize,
    /// Questions without an answer.
    pub missing: usize,
    /// Each rating by question.
    pub ratings: Vec<(QuestionId, f64)>,
}

impl Total {
    /// Mean rating; only where every question was judged, because failures need not be a fair sample.
    pub fn mean(&self) -> Option<f64> {
        let complete = self.failed == 0 && self.missing == 0 && self.judged > 0;
        complete.then(|| self.sum / self.judged as f64)
    }
}

/// Pairs of two models, seen from the first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pairs {
    /// None when no pair was judged.
    pub wins: Option<Wins>,
    /// Pairs of which at least one order failed; in no count above.
    pub failed: usize,
    /// Judged pairs whose verdict changed with the order (they are ties).
    pub order_decided: usize,
}

impl Judge {
    /// `cache`: a JSONL file of verdicts, created when missing.
    pub fn open(config: JudgeConfig, cache: &Path) -> Result<Self> {
        Ok(Self {
            client: Client::new(config),
            cache: Cache::open(cache)?,
            asked: 0,
            cached: 0,
        })
    }

    /// Rates each question's answer. `progress` is called after each.
    pub fn rate(
        &mut self,
        questions: &[Question],
        answers: &[Answer],
        progress: &mut dyn FnMut(),
    ) -> Result<Total> {
        let answers = by_question(answers);
        let mut total = Total {
            sum: 0.0,
            out_of: 10.0 * questions.len() as f64,
            judged: 0,
            failed: 0,
            missing: 0,
            ratings: Vec::new(),
        };
        for question in questions {
            match answers.get(&question.id) {
                None => total.missing += 1,
                Some(answer) => {
                    let prompt = prompt::single(&question.turns, answer);
                    match self.verdict(&prompt, rating)? {
                        None => total.failed += 1,
                        Some(rating) => {
                            total.judged += 1;
                            total.sum += rating;
                            total.ratings.push((question.id.clone(), rating));
                        }
                    }
                }
            }
            progress();
        }
        Ok(total)
    }

    /// Compares `mine` with `theirs` on each question that both answered, in both orders.
    pub fn compare(
        &mut self,
        questions: &[Question],
        mine: &[Answer],
        theirs: &[Answer],
        seed: u64,
        progress: &mut dyn FnMut(),
    ) -> Result<Pairs> {
        let (mine, theirs) = (by_question(mine), by_question(theirs));
        let (mut outcomes, mut failed, mut order_decided) = (Vec::new(), 0, 0);
        for question in questions {
            if let (Some(mine), Some(theirs)) = (mine.get(&question.id), theirs.get(&question.id)) {
                let first = prompt::pair(&question.turns, mine, theirs);
                let second = prompt::pair(&question.turns, theirs, mine);
                let verdicts = (
                    self.verdict(&first, better)?,
                    self.verdict(&second, better)?,
                );
                match verdicts {
                    (Some(Better::A), Some(Better::B)) => outcomes.push(1.0),
                    (Some(Better::B), Some(Better::A)) => outcomes.push(0.0),
                    (Some(a), Some(b)) => {
                        order_decided += usize::from((a, b) != (Better::C, Better::C));
                        outcomes.push(0.5);
                    }
                    _ => failed += 1,
                }
            }
            progress();
        }
        Ok(Pairs {
            wins: Wins::from_outcomes(&outcomes, seed),
            failed,
            order_decided,
        })
    }

    /// The verdict on one prompt, from the cache or the judge; None when it failed.
    fn verdict<T>(
        &mut self,
        prompt: &JudgePrompt,
        parse: fn(&str) -> Option<T>,
    ) -> Result<Option<T>> {
        let model = &self.client.config.model;
        if let Some(verdict) = self.cache.get(model, prompt).and_then(parse) {
            self.cached += 1;
            return Ok(Some(verdict));
        }
        self.asked += 1;
        match self.client.ask(prompt)? {
            Reply::Failed(why) => {
                eprintln!("the judge failed on one question: {why}");
                Ok(None)
            }
            Reply::Text(reply) => {
                let verdict = parse(&reply);
                match verdict {
                    Some(_) => self.cache.put(model, prompt, &reply)?,
                    None => eprintln!("the judge's reply to one question holds no verdict"),
                }
                Ok(verdict)
            }
        }
    }
}

/// Each question's turns; a line without any is no answer.
fn by_question(answers: &[Answer]) -> BTreeMap<QuestionId, &[String]> {
    let given = answers.iter().filter(|a| !a.turns().is_empty());
    given.map(|a| (a.question_id.clone(), a.turns())).collect()
}
