//! A replayed row, and the columns that are shown of it.

use serde::Serialize;
use std::collections::BTreeMap;

/// A row that the step learnt from.
#[derive(Serialize)]
pub(super) struct Replayed {
    pub prompt: String,
    pub score: Option<f32>,
    pub finished: bool,
    /// Text of each response token
    pub tokens: Vec<String>,
    /// Numbers per token by name; columns that the method does not have are absent
    pub columns: BTreeMap<&'static str, Vec<f32>>,
}

/// The columns and what they are, in the order they are shown.
pub(super) const COLUMNS: [(&str, &str); 9] = [
    ("logp", "log-probability before the step's updates"),
    ("logp_ref", "log-probability under the reference"),
    ("kl", "logp - logp_ref"),
    ("kl_exact", "KL(policy || reference) over the vocabulary"),
    (
        "reward",
        "reward of the token, KL penalty and the response's score included",
    ),
    ("value", "the critic's value before the token"),
    ("advantage", "as in the loss"),
    ("return", "the critic's target"),
    (
        "ratio",
        "probability after the step's updates, divided by that before",
    ),
];
