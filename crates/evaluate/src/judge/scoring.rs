//! Rates the answers of one model, and compares those of two, question by question.

use super::cache::Cache;
use super::client::{Client, JudgeConfig, Reply};
use super::prompt::{self, JudgePrompt};
use super::verdict::{Better, NoVerdict, read_better, read_rating};
use crate::fastchat::{Answer, Question, QuestionId};
use crate::stats::Wins;
use anyhow::{Result, bail};
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
    /// Verdicts that the judge did not give, by reason.
    pub failures: BTreeMap<String, usize>,
}

/// Reasons of failures that are shown.
const MAX_REASONS: usize = 3;

/// Reads a reply's verdict, knowing what the judge was shown.
type Parse<T> = fn(&str, &str) -> std::result::Result<T, NoVerdict>;

/// The ratings of one model's answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Total {
    /// Sum of the ratings given.
    pub sum: f64,
    /// The highest possible sum over all questions (80 questions: 800).
    pub out_of: f64,
    pub judged: usize,
    pub failed: usize,
    /// Questions without a whole answer.
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

impl std::fmt::Display for Total {
    /// Without a rating there is no sum. A sum of fewer ratings than questions says so.
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        if self.judged == 0 {
            return f.write_str("–");
        }
        write!(f, "{} / {}", self.sum, self.out_of)?;
        match self.failed + self.missing {
            0 => Ok(()),
            n => write!(f, " ({n} not judged)"),
        }
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
            failures: BTreeMap::new(),
        })
    }

    /// Rates the answer to each question. `progress` is called after each.
    pub fn rate(
        &mut self,
        questions: &[Question],
        answers: &[Answer],
        progress: &mut dyn FnMut(),
    ) -> Result<Total> {
        say_incomplete(questions, answers);
        let answers = by_question(questions, answers);
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
                    let prompt = prompt::single(question, answer);
                    match self.verdict(&prompt, read_rating)? {
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

    /// Compares `mine` with `theirs` on each question that both answered whole, in both orders.
    pub fn compare(
        &mut self,
        questions: &[Question],
        mine: &[Answer],
        theirs: &[Answer],
        seed: u64,
        progress: &mut dyn FnMut(),
    ) -> Result<Pairs> {
        let mine = by_question(questions, mine);
        let theirs = by_question(questions, theirs);
        let (mut outcomes, mut failed, mut order_decided) = (Vec::new(), 0, 0);
        for question in questions {
            if let (Some(mine), Some(theirs)) = (mine.get(&question.id), theirs.get(&question.id)) {
                let first = prompt::pair(question, mine, theirs);
                let second = prompt::pair(question, theirs, mine);
                let verdicts = (
                    self.verdict(&first, read_better)?,
                    self.verdict(&second, read_better)?,
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
    ///
    /// A reply without a verdict is asked for once more: a judge at its own temperature may do
    /// better.
    fn verdict<T>(&mut self, prompt: &JudgePrompt, parse: Parse<T>) -> Result<Option<T>> {
        let model = self.client.config.model.clone();
        let read = |reply: &str| parse(reply, &prompt.user);
        if let Some(Ok(verdict)) = self.cache.get(&model, prompt).map(read) {
            self.cached += 1;
            return Ok(Some(verdict));
        }
        let mut why = String::new();
        for _ in 0..2 {
            self.asked += 1;
            let (reply, cut) = match self.client.ask(prompt)? {
                Reply::Text { text, cut } => (text, cut),
                Reply::Failed(reason) => {
                    why = reason;
                    break; // the endpoint has retried what is worth it
                }
            };
            match read(&reply) {
                Ok(verdict) => {
                    self.cache.put(&model, prompt, &reply)?;
                    return Ok(Some(verdict));
                }
                Err(_) if cut => why = "the reply was cut off before its verdict".to_string(),
                Err(reason) => why = reason.to_string(),
            }
        }
        *self.failures.entry(why).or_default() += 1;
        Ok(None)
    }

    /// Says how many verdicts are missing and why.
    ///
    /// # Errors
    /// If there is no verdict at all: a total would be of nothing.
    pub fn report_failures(&self, n_verdicts: usize) -> Result<()> {
        let n_failed: usize = self.failures.values().sum();
        if n_failed == 0 {
            return Ok(());
        }
        let mut reasons: Vec<(&String, &usize)> = self.failures.iter().collect();
        reasons.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
        let more = reasons.len().saturating_sub(MAX_REASONS);
        let shown = reasons.iter().take(MAX_REASONS);
        let mut shown: Vec<String> = shown.map(|(why, n)| format!("{n} x {why}")).collect();
        if more > 0 {
            shown.push(format!("{more} other reasons"));
        }
        let reasons = shown.join("; ");
        if n_verdicts == 0 {
            bail!("the judge gave no verdict at all on {n_failed} requests: {reasons}");
        }
        let n_all = n_verdicts + n_failed;
        run::say!("the judge gave no verdict on {n_failed} of {n_all} requests: {reasons}");
        Ok(())
    }
}

/// The answers with as many turns as their question, by question. An incomplete answer is left out:
/// its rating could not be compared with those of complete ones.
fn by_question<'a>(
    questions: &[Question],
    answers: &'a [Answer],
) -> BTreeMap<QuestionId, &'a [String]> {
    let n_turns = n_turns(questions);
    let whole = |a: &&Answer| n_turns.get(&a.question_id) == Some(&a.turns().len());
    let answers = answers.iter().filter(whole);
    answers
        .map(|a| (a.question_id.clone(), a.turns()))
        .collect()
}

fn n_turns(questions: &[Question]) -> BTreeMap<QuestionId, usize> {
    let turns = questions.iter().map(|q| (q.id.clone(), q.turns.len()));
    turns.collect()
}

/// Why none of the answers counts, and what to do; `None` if one does.
pub(super) fn why_none_counts(questions: &[Question], answers: &[Answer]) -> Option<String> {
    if !by_question(questions, answers).is_empty() {
        return None;
    }
    let n_turns = n_turns(questions);
    let is_asked = |a: &&Answer| n_turns.contains_key(&a.question_id);
    let Some(first) = answers.iter().find(is_asked) else {
        return Some("answers none of the questions; is it the right question file?".to_string());
    };
    let turns = |n: usize| match n {
        1 => "1 turn".to_string(),
        n => format!("{n} turns"),
    };
    Some(format!(
        "has no answer with as many turns as its question (the first: question {} has {}, its answer \
         {}); give the question file that was answered, or answer these questions with `wick answers`",
        first.question_id,
        turns(n_turns[&first.question_id]),
        turns(first.turns().len())
    ))
}

/// Says which answers have another number of turns than their question.
fn say_incomplete(questions: &[Question], answers: &[Answer]) {
    let n_turns = n_turns(questions);
    let differs = |a: &&Answer| {
        let asked = n_turns.get(&a.question_id);
        asked.is_some_and(|n| *n != a.turns().len())
    };
    let found: Vec<&Answer> = answers.iter().filter(differs).collect();
    if let Some(first) = found.first() {
        run::say!(
            "{}: {} of {} answers have another number of turns than their question (the first: \
             question {}, {} instead of {}); they count as missing",
            first.model_id,
            found.len(),
            answers.len(),
            first.question_id,
            first.turns().len(),
            n_turns[&first.question_id]
        );
    }
}
