//! Which fields of a row may be ignored.
//!
//! A field that no reader uses is counted and named. One that would change what a row means (a
//! label, a score, a weight) or what its prompt is (tools, images) is an error. `data.ignore`
//! leaves any of them out of the row. Of those that say whether an answer is good no error
//! recommends it, and the bad answers that are then learnt are counted.

use super::scalar::{number, truth};
use serde_json::{Map, Value};

/// What a field would do if it were read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Effect {
    /// Nothing that is known
    Unknown,
    /// It grades, weighs or reverses the row
    Label,
    /// It is a part of the prompt
    Context,
}

/// Words in the name of a field that grades, weighs or reverses its row.
const LABELS: [&str; 38] = [
    "kto",
    "label",
    "labels",
    "score",
    "scores",
    "weight",
    "weights",
    "margin",
    "margins",
    "rating",
    "ratings",
    "reward",
    "rewards",
    "rank",
    "ranks",
    "ranking",
    "preference",
    "preferred",
    "winner",
    "better",
    "best",
    "vote",
    "votes",
    "upvotes",
    "downvotes",
    "mask",
    "masked",
    "train",
    "desirable",
    "grade",
    "correct",
    "good",
    "bad",
    "verdict",
    "trainable",
    "loss",
    "choice",
    "flipped",
];

/// HelpSteer's grades of the one response of a row.
pub(super) const RATINGS: [&str; 5] = [
    "helpfulness",
    "correctness",
    "coherence",
    "complexity",
    "verbosity",
];

/// Words of [`LABELS`] whose numbers grade an answer: 0 is not the same as false.
const GRADES: [&str; 14] = [
    "score", "scores", "margin", "margins", "rating", "ratings", "reward", "rewards", "rank",
    "ranks", "ranking", "votes", "upvotes", "grade",
];

/// What a field says of the answer of its row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is bad: what the field says
    Bad(String),
    /// A grade
    Grade,
}

/// Whether a field, or one inside a list, says how good an answer is or what it weighs.
pub(super) fn is_verdict(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    RATINGS.contains(&last) || effect(last) == Effect::Label
}

/// What a field says of the answer, unless it says that it is good or nothing at all.
pub(super) fn verdict(name: &str, value: &Value) -> Option<Verdict> {
    const BAD: [&str; 8] = [
        "bad",
        "negative",
        "rejected",
        "dislike",
        "disliked",
        "down",
        "thumbs_down",
        "incorrect",
    ];
    if !is_verdict(name) {
        return None;
    }
    let last = name.rsplit('.').next().unwrap_or(name);
    let words = words(last);
    let is_grade =
        RATINGS.contains(&last) || words.iter().any(|word| GRADES.contains(&word.as_str()));
    let text = value.as_str().map(|text| text.trim().to_lowercase());
    match (number(value), truth(value)) {
        (Some(_), _) if is_grade => Some(Verdict::Grade),
        (_, Some(true)) => None,
        (Some(n), Some(false)) => Some(Verdict::Bad(n.to_string())),
        (None, Some(false)) => Some(Verdict::Bad("false".to_string())),
        (Some(n), None) if n < 0.0 => Some(Verdict::Bad(n.to_string())),
        (Some(_), None) => Some(Verdict::Grade),
        (None, None) => text
            .filter(|text| BAD.contains(&text.as_str()))
            .map(|text| Verdict::Bad(format!("{text:?}"))),
    }
}

/// Parts of a prompt for which there is no place here.
const CONTEXT: [&str; 14] = [
    "tool",
    "tools",
    "function",
    "functions",
    "documents",
    "image",
    "images",
    "audio",
    "audios",
    "video",
    "videos",
    "calls",
    "call",
    "pixel",
];

/// The effect that the name of a field promises: `score_chosen`, `isCorrect`, `tool_calls`.
pub(super) fn effect(name: &str) -> Effect {
    if name == "parallel_tool_calls" {
        return Effect::Unknown; // without tools it says nothing
    }
    let words = words(name);
    let any = |known: &[&str]| words.iter().any(|word| known.contains(&word.as_str()));
    match () {
        () if any(&CONTEXT) => Effect::Context,
        () if any(&LABELS) => Effect::Label,
        () => Effect::Unknown,
    }
}

/// Whether a field only tells the row apart.
pub(super) fn is_identifier(name: &str, value: &Value) -> bool {
    const NAMES: [&str; 6] = [
        "id",
        "idx",
        "uuid",
        "prompt_id",
        "question_id",
        "conversation_id",
    ];
    NAMES.contains(&name) && (value.is_string() || value.is_number())
}

/// The fields of a row beside `known` that say something.
///
/// ```
/// let row = serde_json::json!({ "text": "Hi", "system": "Be kind.", "tools": [] });
/// assert_eq!(data::unused_fields(row.as_object().unwrap(), &["text"]), ["system"]);
/// ```
pub fn unused_fields<'a>(row: &'a Map<String, Value>, known: &[&str]) -> Vec<&'a str> {
    let fields = row.iter().filter(|(_, value)| !is_empty(value));
    let names = fields.map(|(name, _)| name.as_str());
    names.filter(|name| !known.contains(name)).collect()
}

/// The words of a name in lower case: of snake, kebab or camel case.
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut lower = false;
    for c in name.chars() {
        if !c.is_alphanumeric() || (lower && c.is_uppercase()) {
            words.push(String::new());
        }
        if c.is_alphanumeric() {
            let word = words.last_mut().expect("there is a word");
            word.extend(c.to_lowercase());
        }
        lower = c.is_lowercase();
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Whether a value says nothing: null, blank, or lists and objects of such. Some files hold a list
/// as text (`"tools": "[]"`).
pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(_) | Value::Number(_) => false,
        Value::String(text) => matches!(text.trim(), "" | "[]" | "{}" | "null"),
        Value::Array(items) => items.iter().all(is_empty),
        Value::Object(fields) => fields.values().all(is_empty),
    }
}
