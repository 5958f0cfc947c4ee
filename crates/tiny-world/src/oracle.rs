//! The oracle: grades any answer to any question of the language from 1 to 10, without a model.
//!
//! | part | points | full marks if |
//! |---|---|---|
//! | correct | 4 | the first sentence that holds an answer holds the right one; part of a list gives part of the points |
//! | complete | 1 | every part asked for is there: all items of a list, the reason beside the yes or no |
//! | form | 1 | begins with a capital, ends with `.`, `!` or `?`, only words of the language (half for the end alone) |
//! | brevity | 1.5 | at most four words more than the plain answer (half up to twelve more, then none) |
//! | manners | 1.5 | no rude word |
//!
//! `score = 1 + correct + complete + k·(form + brevity + manners)`, where k rises from 1/2 for an
//! answer with nothing right to 1 for a right one: form without content is worth little. An empty
//! answer scores 1.

use crate::family::{Judge, Sort};
use crate::generator::vocabulary;
use crate::language::{RUDE_WORDS, is_noun, is_quality, kind_named, kind_of, words};
use crate::task::Task;
use serde::Serialize;

/// The grade of an answer. The parts are shares in [0, 1].
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Grade {
    /// In [1, 10].
    pub score: f64,
    /// Right.
    pub correct: f64,
    /// Every part is there.
    pub complete: f64,
    /// A sentence of the language.
    pub form: f64,
    /// Short.
    pub brevity: f64,
    /// Polite.
    pub manners: f64,
}

/// Grades `answer`. `None` if the question is not of this language. `input` is empty for a question
/// without one.
///
/// ```
/// let grade = tiny_world::grade("What is 4 plus 7?", "", "The sum is 11.").unwrap();
/// assert_eq!(grade.score, 10.0);
/// assert!(tiny_world::grade("What is love?", "", "Yes.").is_none());
/// ```
pub fn grade(instruction: &str, input: &str, answer: &str) -> Option<Grade> {
    Some(grade_task(&Task::parse(instruction, input)?, answer))
}

/// Grades an answer to a parsed question.
pub fn grade_task(task: &Task, answer: &str) -> Grade {
    let answer = answer.trim();
    let all_words = words(answer);
    if all_words.is_empty() {
        return Grade {
            score: 1.0,
            correct: 0.0,
            complete: 0.0,
            form: 0.0,
            brevity: 0.0,
            manners: 0.0,
        };
    }
    let (correct, complete) = answer
        .split(['.', '!', '?'])
        .find_map(|s| judge(&task.judge, &words(s)))
        .unwrap_or((0.0, 0.0));
    let ends = answer.ends_with(['.', '!', '?']);
    let proper = answer.starts_with(char::is_uppercase)
        && all_words
            .iter()
            .all(|w| Sort::Number.holds(w) || vocabulary(w));
    let form = match (ends, proper) {
        (true, true) => 1.0,
        (true, false) => 0.5,
        (false, _) => 0.0,
    };
    let brevity = match all_words.len().saturating_sub(task.word_budget()) {
        0 => 1.0,
        1..=8 => 0.5,
        _ => 0.0,
    };
    let manners = if all_words.iter().any(|w| RUDE_WORDS.contains(&w.as_str())) {
        0.0
    } else {
        1.0
    };
    let k = 0.5 + 0.5 * f64::max(correct, complete);
    let score = 1.0 + 4.0 * correct + complete + k * (form + 1.5 * brevity + 1.5 * manners);
    Grade {
        score,
        correct,
        complete,
        form,
        brevity,
        manners,
    }
}

/// Correctness and completeness of a sentence in [0, 1]. `None` if it holds no answer at all, as a
/// courtesy, an insult or filler.
fn judge(judge: &Judge, sentence: &[String]) -> Option<(f64, f64)> {
    match judge {
        Judge::Items { sort, want } => judge_items(*sort, want, sentence),
        Judge::Members { kind, n } => judge_members(kind, *n, sentence),
        Judge::Sentence { about, n } => judge_sentence(about, *n, sentence),
        Judge::Polite { request } => judge_request(request, sentence),
        Judge::Because { yes, thing } => judge_reason(*yes, thing, sentence),
    }
}

fn judge_items(sort: Sort, want: &[String], sentence: &[String]) -> Option<(f64, f64)> {
    let found: Vec<&String> = sentence.iter().filter(|w| sort.holds(w)).collect();
    let last = found.last()?;
    if let [only] = want {
        let right = share(usize::from(*last == only), 1);
        return Some((right, right));
    }
    let n_there = want.iter().filter(|w| found.contains(w)).count();
    let n_in_place = want.iter().zip(&found).filter(|(w, f)| w == *f).count();
    let exact = n_in_place == want.len() && found.len() == want.len();
    let correct = if exact {
        1.0
    } else {
        0.5 * share(n_in_place, want.len().max(found.len()))
    };
    Some((correct, share(n_there, want.len())))
}

fn judge_members(kind: &str, n: usize, sentence: &[String]) -> Option<(f64, f64)> {
    let found: Vec<&String> = sentence.iter().filter(|w| is_noun(w)).collect();
    if found.is_empty() {
        return None;
    }
    let mut members: Vec<_> = found
        .iter()
        .filter(|w| kind_of(w).is_some_and(|k| k.name == kind))
        .collect();
    members.sort();
    members.dedup();
    let n_there = members.len().min(n);
    let exact = members.len() == n && found.len() == n;
    let correct = if exact {
        1.0
    } else {
        0.5 * share(n_there, n.max(found.len()))
    };
    Some((correct, share(n_there, n)))
}

fn judge_sentence(about: &str, n: usize, sentence: &[String]) -> Option<(f64, f64)> {
    let at = sentence.iter().position(|w| w == about)?;
    let rest = &sentence[at..];
    let mut qualities: Vec<_> = rest.iter().filter(|w| is_quality(w)).collect();
    let n_qualities = qualities.len();
    qualities.sort();
    qualities.dedup();
    let says = rest.iter().any(|w| w == "is") && n_qualities > 0 && qualities.len() == n_qualities;
    let correct = match (says, sentence.len().abs_diff(n)) {
        (true, 0) => 1.0,
        (true, 1) => 0.25,
        _ => 0.0,
    };
    Some((correct, if correct > 0.0 { 1.0 } else { 0.0 }))
}

fn judge_request(request: &[String], sentence: &[String]) -> Option<(f64, f64)> {
    let thing = request.last()?;
    if !sentence.contains(thing) && !sentence.contains(&request[0]) {
        return None;
    }
    let whole = sentence.windows(request.len()).any(|w| w == request);
    let please = sentence.iter().any(|w| w == "please");
    let n_there = request.iter().filter(|w| sentence.contains(w)).count();
    Some(match (whole, please) {
        (true, true) => (1.0, 1.0),
        (true, false) => (0.0, 0.5),
        (false, true) => (0.25, share(n_there, request.len())),
        (false, false) => (0.0, 0.0),
    })
}

fn judge_reason(yes: bool, thing: &String, sentence: &[String]) -> Option<(f64, f64)> {
    let verdict = sentence.iter().find(|w| *w == "yes" || *w == "no")?;
    if (verdict == "yes") != yes {
        return Some((0.0, 0.0));
    }
    let because = sentence.iter().position(|w| w == "because");
    let reason = because.map_or(&[][..], |at| &sentence[at..]);
    if !reason.contains(thing) {
        return Some((0.5, 0.0));
    }
    Some(match reason.iter().rfind(|w| kind_named(w).is_some()) {
        Some(kind) if kind_of(thing).is_some_and(|own| own.name == kind) => (1.0, 1.0),
        Some(_) => (0.5, 1.0),
        None => (0.5, 0.0),
    })
}

fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}
