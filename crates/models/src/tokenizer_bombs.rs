//! Refuses tokenizers that would take all memory or time: nested without end, with a normaliser or
//! decoder that multiplies a text, or with a regular expression that never finishes.

use serde_json::Value;
use std::sync::mpsc;
use std::time::Duration;
use tokenizers::Tokenizer;

/// Levels of lists and objects in a part. Real ones have six.
const MAX_DEPTH: usize = 16;
/// Steps in a part. Real ones have ten.
const MAX_STEPS: usize = 256;
/// How many times longer a normaliser or decoder may make a text. Unicode's own forms reach 18.
const MAX_GROWTH: f64 = 1024.0;
/// A probe of two thousand characters takes a millisecond.
const MAX_TIME: Duration = Duration::from_secs(10);

/// What is wrong with the parts of a tokenizer.json, if anything.
pub(crate) fn bomb(tokenizer: &Value) -> Option<String> {
    for name in ["normalizer", "pre_tokenizer", "post_processor", "decoder"] {
        let part = &tokenizer[name];
        if depth(part, 0) > MAX_DEPTH {
            return Some(format!(
                "its {name} is nested deeper than {MAX_DEPTH} levels"
            ));
        }
        if n_steps(part) > MAX_STEPS {
            return Some(format!("its {name} has more than {MAX_STEPS} steps"));
        }
        let growth = growth(part);
        if growth > MAX_GROWTH {
            return Some(format!(
                "its {name} can make a text {growth:.0} times longer, more than {MAX_GROWTH} times"
            ));
        }
    }
    None
}

/// Levels; it looks no deeper than the limit.
fn depth(value: &Value, above: usize) -> usize {
    let within = |inner: &Value| depth(inner, above + 1);
    match value {
        _ if above > MAX_DEPTH => above,
        Value::Array(list) => list.iter().map(within).max().unwrap_or(above),
        Value::Object(map) => map.values().map(within).max().unwrap_or(above),
        _ => above,
    }
}

/// Objects with a type.
fn n_steps(value: &Value) -> usize {
    match value {
        Value::Array(list) => list.iter().map(n_steps).sum(),
        Value::Object(map) => {
            usize::from(map.contains_key("type")) + map.values().map(n_steps).sum::<usize>()
        }
        _ => 0,
    }
}

/// How many times longer a text of bytes can become.
fn growth(part: &Value) -> f64 {
    let steps = ["normalizers", "decoders", "pretokenizers"];
    let inner = steps
        .iter()
        .filter_map(|key| part[key].as_array())
        .flatten();
    let within: f64 = inner.map(growth).product();
    let longest = |key: &str| part[key].as_str().map_or(0, str::len) as f64;
    let own = match part["type"].as_str() {
        Some("Replace") => {
            let found = part["pattern"]["String"].as_str().map_or(0, str::len) as f64;
            match found {
                // An expression may match one byte, or none between any two.
                0.0 => 1.0 + longest("content"),
                found => (longest("content") / found).max(1.0),
            }
        }
        Some("Prepend") => 1.0 + longest("prepend"),
        Some("NFD" | "NFKD" | "NFC" | "NFKC" | "Precompiled") => 18.0,
        Some("BertNormalizer" | "Lowercase" | "Nmt") => 3.0,
        _ => 1.0,
    };
    // Unicode's forms applied twice are applied once.
    match part["type"].as_str() {
        Some("Sequence") => within,
        _ => own * within,
    }
}

/// Encodes and decodes a text of many kinds of characters in a thread of its own, which is
/// abandoned where it does not finish: the error ends the process soon.
pub(crate) fn probe(tokenizer: &Tokenizer) -> Option<String> {
    let tokenizer = tokenizer.clone();
    let (sender, receiver) = mpsc::sync_channel(1);
    let work = move || {
        let text = probe_text();
        let ids = tokenizer.encode(text.as_str(), false);
        let decoded = ids.and_then(|ids| tokenizer.decode(ids.get_ids(), true));
        let _ = sender.send(decoded.err().map(|e| e.to_string()));
    };
    if let Err(e) = std::thread::Builder::new().spawn(work) {
        return Some(format!("cannot start a thread: {e}"));
    }
    match receiver.recv_timeout(MAX_TIME) {
        Ok(error) => error,
        Err(mpsc::RecvTimeoutError::Timeout) => Some(format!(
            "does not tokenise a text of two thousand characters within {} s",
            MAX_TIME.as_secs()
        )),
        Err(mpsc::RecvTimeoutError::Disconnected) => Some("the tokenizer crashed".into()),
    }
}

/// Long runs of one character, on which an expression that backtracks takes for ever, then words.
fn probe_text() -> String {
    let runs = ["a", " ", "\n", "1", "ab ", "é", "!"].map(|piece| piece.repeat(256));
    format!("{}x", runs.join("x"))
}
