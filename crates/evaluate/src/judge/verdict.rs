//! Parses a judge's reply, strictly: a reply without a clear verdict is a failure, never a score.

use serde::{Deserialize, Serialize};

/// Which of two shown answers is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Better {
    A,
    B,
    /// Neither.
    C,
}

/// The content of the first `[[ ]]`.
fn bracketed(reply: &str) -> Option<&str> {
    let (_, rest) = reply.split_once("[[")?;
    let (inside, _) = rest.split_once("]]")?;
    Some(inside.trim())
}

/// The rating in the first `[[ ]]`: a plain decimal number from 1 to 10.
///
/// ```
/// assert_eq!(evaluate::judge::rating("Good. Rating: [[8.5]]"), Some(8.5));
/// assert_eq!(evaluate::judge::rating("I would say 8 of 10."), None);
/// ```
pub fn rating(reply: &str) -> Option<f64> {
    let text = bracketed(reply)?;
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let rating: f64 = text.parse().ok().filter(|_| plain)?;
    (1.0..=10.0).contains(&rating).then_some(rating)
}

/// The choice in the first `[[ ]]`: A, B or C.
pub fn better(reply: &str) -> Option<Better> {
    match bracketed(reply)? {
        "A" => Some(Better::A),
        "B" => Some(Better::B),
        "C" => Some(Better::C),
        _ => None,
    }
}
