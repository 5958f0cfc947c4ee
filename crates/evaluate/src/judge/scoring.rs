//! Rates the answers of one model, and compares those of two, question by question.

use super::cache::Cache;
use super::client::{Client, JudgeConfig, Reply};
use super::prompt::{self, JudgePrompt};
use super::verdict::{Better, better, rating};
use crate::fastchat::{Answer, Question, QuestionId};
use crate::stats::Wins;
use anyhow::Result;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// A judge with its cache of verdicts.
pub struct Judge {
    pub(super) client: Client,
    cache: Cache,
    /// Requests over the network so far.
    pub asked: usize,
    /// Verdicts from the cache so far.
    pub cached: usize,
}

/// The ratings of one model's answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Total {
    /// Sum of the ratings given.
    pub sum: f64,
    /// The highest possible sum over all questions (80 questions: 800).
    pub out_of: f64,
    pub judged: usize,
    pub failed: usize,
    /// Questions without an answer.
    pub missing: usize,
    /// The rating of each judged question.
    pub ratings: Vec<(QuestionId, f64)>,
}

impl Total {
    /// Mean rating; `None` unless every question was judged, since failures may be biased.
    pub fn mean(&self) -> Option<f64> {
        let complete = self.failed == 0 && self.missing == 0 && self.judged > 0;
        complete.then(|| self.sum / self.judged as f64)
    }
}

/// Verdicts on pairs of answers by two models, seen from the first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pairs {
    /// `None` if no pair was judged.
    pub wins: Option<Wins>,
    /// Pairs of which at least one order failed; they are not in `wins`.
    pub failed: usize,
    /// Judged pairs whose verdict changed with the order; they count as ties.
    pub order_decided: usize,
}

impl Judge {
    /// Opens the judge. `cache` is a JSONL file of verdicts, created if it does not exist.
    pub fn open(config: JudgeConfig, cache: &Path) -> Result<Self> {
        Ok(Self {
            client: Client::new(config),
            cache: Cache::open(cache)?,
            asked: 0,
            cached: 0,
        })
    }

    /// Rates the answer to each question. `progress` is called after each.
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

    /// The verdict on one prompt, from the cache or the judge; `None` if the judge failed.
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
                run::say!("the judge failed on one question: {why}");
                Ok(None)
            }
            Reply::Text(reply) => {
                let verdict = parse(&reply);
                match verdict {
                    Some(_) => self.cache.put(model, prompt, &reply)?,
                    None => run::say!("the judge's reply to one question has no verdict"),
                }
                Ok(verdict)
            }
        }
    }
}

/// The answered turns by question. A line without turns is ignored.
fn by_question(answers: &[Answer]) -> BTreeMap<QuestionId, &[String]> {
    let given = answers.iter().filter(|a| !a.turns().is_empty());
    given.map(|a| (a.question_id.clone(), a.turns())).collect()
}
