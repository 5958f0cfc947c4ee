//! The oracle: grades any answer to any question of the language on a scale of 1 to 10. Pure code, no model.
//!
//! | part | points | full marks when |
//! |---|---|---|
//! | correct | 4 | the first sentence that holds an answer at all holds the right one (`Judge`); part marks for part of a list |
//! | complete | 1 | every part asked for is there (all items of a list, the reason beside the yes or no) |
//! | form | 1 | begins with a capital, ends with `.`, `!` or `?`, only words of the language (half for the ending alone) |
//! | brevity | 1.5 | at most four words more than the plain answer (half up to twelve more, then none) |
//! | manners | 1.5 | no rude word |
//!
//! `score = 1 + correct + complete + k·(form + brevity + manners)`, where k goes from 1/2 for an answer in which nothing
//! is right to 1 for a right one: tidiness without content is worth little. An empty answer scores 1.

use crate::generator::vocabulary;
use crate::language::{RUDE_WORDS, is_noun, is_quality, kind_named, kind_of, words};
use crate::task::{Judge, Sort, Task};
use serde::Serialize;

/// An answer's marks. `score` is in [1, 10]; the parts are shares in [0, 1].
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Grade {
    pub score: f64,
    pub correct: f64,
    pub complete: f64,
    pub form: f64,
    pub brevity: f64,
    pub manners: f64,
}

/// Grades `answer`; `None` when the question is not of this language. `input` is empty where a question has none.
pub fn grade(instruction: &str, input: &str, answer: &str) -> Option<Grade> {
    Some(grade_task(&Task::parse(instruction, input)?, answer))
}

/// The same for a question that has been understood already.
pub fn grade_task(task: &Task, answer: &str) -> Grade {
    let answer = answer.trim();
    let said = words(answer);
    if said.is_empty() {
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
        && said.iter().all(|w| Sort::Number.holds(w) || vocabulary(w));
    let form = match (ends, proper) {
        (true, true) => 1.0,
        (true, false) => 0.5,
        (false, _) => 0.0,
    };
    let brevity = match said.len().saturating_sub(task.word_budget()) {
        0 => 1.0,
        1..=8 => 0.5,
        _ => 0.0,
    };
    let manners = if said.iter().any(|w| RUDE_WORDS.contains(&w.as_str())) {
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

/// How right and how complete a sentence is; `None` when it holds no answer at all (a courtesy, an insult, filler).
fn judge(judge: &Judge, said: &[String]) -> Option<(f64, f64)> {
    match judge {
        Judge::Items { sort, want } => {
            let found: Vec<&String> = said.iter().filter(|w| sort.holds(w)).collect();
            let last = found.last()?;
            if let [only] = &want[..] {
                let right = share(usize::from(*last == only), 1);
                return Some((right, right));
            }
            let there = share(
                want.iter().filter(|w| found.contains(w)).count(),
                want.len(),
            );
            let in_place = want.iter().zip(&found).filter(|(w, f)| w == *f).count();
            let exact = in_place == want.len() && found.len() == want.len();
            Some((
                if exact {
                    1.0
                } else {
                    0.5 * share(in_place, want.len().max(found.len()))
                },
                there,
            ))
        }
        Judge::Members { kind, n } => {
            let found: Vec<&String> = said.iter().filter(|w| is_noun(w)).collect();
            if found.is_empty() {
                return None;
            }
            let mut members: Vec<_> = found
                .iter()
                .filter(|w| kind_of(w).is_some_and(|k| k.name == *kind))
                .collect();
            members.sort();
            members.dedup();
            let there = members.len().min(*n);
            let exact = members.len() == *n && found.len() == *n;
            let correct = if exact {
                1.0
            } else {
                0.5 * share(there, (*n).max(found.len()))
            };
            Some((correct, share(there, *n)))
        }
        Judge::Sentence { about, n } => {
            let at = said.iter().position(|w| w == about)?;
            let mut qualities: Vec<_> = said[at..].iter().filter(|w| is_quality(w)).collect();
            let named = qualities.len();
            qualities.sort();
            qualities.dedup();
            let says =
                said[at..].iter().any(|w| w == "is") && named > 0 && qualities.len() == named;
            let correct = match (says, said.len().abs_diff(*n)) {
                (false, _) => 0.0,
                (true, 0) => 1.0,
                (true, 1) => 0.25,
                (true, _) => 0.0,
            };
            Some((correct, if says && correct > 0.0 { 1.0 } else { 0.0 }))
        }
        Judge::Polite { request } => {
            let thing = request.last()?;
            let whole = said.windows(request.len()).any(|w| w == request);
            let please = said.iter().any(|w| w == "please");
            if !said.contains(thing) && !said.contains(&request[0]) {
                return None;
            }
            Some(match (whole, please) {
                (true, true) => (1.0, 1.0),
                (true, false) => (0.0, 0.5),
                (false, true) => (
                    0.25,
                    share(
                        request.iter().filter(|w| said.contains(w)).count(),
                        request.len(),
                    ),
                ),
                (false, false) => (0.0, 0.0),
            })
        }
        Judge::Because { yes, thing } => {
            let verdict = said.iter().find(|w| *w == "yes" || *w == "no")?;
            let reason = said
                .iter()
                .position(|w| w == "because")
                .map(|at| &said[at..])
                .unwrap_or(&[]);
            let given = reason
                .contains(thing)
                .then(|| reason.iter().rfind(|w| kind_named(w).is_some()))
                .flatten();
            let verdict_right = (verdict == "yes") == *yes;
            let reason_right =
                given.is_some_and(|k| kind_of(thing).is_some_and(|own| own.name == k));
            Some((
                if verdict_right {
                    if reason_right { 1.0 } else { 0.5 }
                } else {
                    0.0
                },
                if verdict_right && given.is_some() {
                    1.0
                } else {
                    0.0
                },
            ))
        }
    }
}

fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}
