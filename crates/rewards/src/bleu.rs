//! BLEU of a sentence and of a corpus as sacreBLEU 2 computes it: 13a tokens, case kept,
//! exponential smoothing. Papineni et al. 2002; Post 2018; smoothing: Chen & Cherry 2014, method 3.
//!
//! Limits: no other tokenizer, smoothing or order.

use regex::Regex;
use std::collections::HashMap;
use std::sync::LazyLock;

const MAX_ORDER: usize = 4;

/// sacreBLEU's `sentence_bleu`, 0..100. With several references a match in any counts, and the
/// closest length is the reference length (of two equally close, the shorter).
///
/// `effective_order` is sacreBLEU's default for sentences: a hypothesis of fewer than 4 tokens is
/// scored by the orders it has. Without it such a hypothesis scores 0.
///
/// ```
/// let reference = ["the cat is on the mat"];
/// assert!((rewards::sentence_bleu(reference[0], &reference, true) - 100.0).abs() < 1e-9);
/// assert_eq!(rewards::sentence_bleu("no word matches here", &reference, true), 0.0);
/// ```
pub fn sentence_bleu(hypothesis: &str, references: &[&str], effective_order: bool) -> f64 {
    Counts::of(hypothesis, references).bleu(effective_order)
}

/// sacreBLEU's `corpus_bleu`, 0..100. Matches, n-grams and lengths are summed over all (hypothesis,
/// references) before the precisions are computed, so it is not the mean of sentence scores. 0 for
/// an empty corpus.
pub fn corpus_bleu(corpus: &[(&str, &[&str])]) -> f64 {
    let counts = corpus
        .iter()
        .map(|(h, references)| Counts::of(h, references));
    counts.fold(Counts::default(), Counts::plus).bleu(false)
}

/// The counts that BLEU is computed from, of one sentence or summed over many.
#[derive(Default)]
struct Counts {
    /// n-grams of the hypothesis found in a reference, for n = 1..
    correct: [usize; MAX_ORDER],
    /// All n-grams of the hypothesis
    total: [usize; MAX_ORDER],
    /// Tokens of the hypothesis
    len: usize,
    ref_len: usize,
}

impl Counts {
    fn of(hypothesis: &str, references: &[&str]) -> Self {
        let hypothesis = tokenize_13a(hypothesis);
        let references: Vec<Vec<String>> = references.iter().map(|r| tokenize_13a(r)).collect();
        let closeness = |len: &usize| (len.abs_diff(hypothesis.len()), *len);
        let lens = references.iter().map(Vec::len);
        let mut counts = Self {
            len: hypothesis.len(),
            ref_len: lens.min_by_key(closeness).unwrap_or(0),
            ..Self::default()
        };
        for i in 0..MAX_ORDER {
            (counts.correct[i], counts.total[i]) = matches(&hypothesis, &references, i + 1);
        }
        counts
    }

    fn plus(mut self, other: Self) -> Self {
        for i in 0..MAX_ORDER {
            self.correct[i] += other.correct[i];
            self.total[i] += other.total[i];
        }
        self.len += other.len;
        self.ref_len += other.ref_len;
        self
    }

    /// Brevity penalty times the geometric mean of the precisions.
    fn bleu(&self, effective_order: bool) -> f64 {
        if self.correct.iter().all(|correct| *correct == 0) {
            return 0.0;
        }
        let (mut order, mut log_sum, mut smoothing) = (MAX_ORDER, 0.0, 1.0);
        for (n, (correct, total)) in (1..).zip(self.correct.into_iter().zip(self.total)) {
            if total == 0 {
                // Without effective_order the missing precisions are zero, and so is their
                // geometric mean.
                if !effective_order {
                    return 0.0;
                }
                break;
            }
            if effective_order {
                order = n;
            }
            let precision = match correct {
                0 => {
                    smoothing *= 2.0;
                    100.0 / (smoothing * total as f64)
                }
                correct => 100.0 * correct as f64 / total as f64,
            };
            log_sum += precision.ln();
        }
        let brevity = match self.len < self.ref_len {
            true => (1.0 - self.ref_len as f64 / self.len as f64).exp(),
            false => 1.0,
        };
        brevity * (log_sum / order as f64).exp()
    }
}

/// n-grams of the hypothesis found in a reference, each at most as often as in the reference that
/// has it most often, and all.
fn matches(hypothesis: &[String], references: &[Vec<String>], n: usize) -> (usize, usize) {
    let mut allowed: HashMap<&[String], usize> = HashMap::new();
    for reference in references {
        for (gram, count) in ngrams(reference, n) {
            let most = allowed.entry(gram).or_default();
            *most = count.max(*most);
        }
    }
    let found = ngrams(hypothesis, n);
    let clipped =
        |(gram, count): (&&[String], &usize)| *count.min(allowed.get(*gram).unwrap_or(&0));
    (found.iter().map(clipped).sum(), found.values().sum())
}

fn ngrams(tokens: &[String], n: usize) -> HashMap<&[String], usize> {
    let mut counts = HashMap::new();
    for gram in tokens.windows(n) {
        *counts.entry(gram).or_default() += 1;
    }
    counts
}

/// The tokens of mteval-v13a: ASCII punctuation is split off, except periods, commas and hyphens
/// inside numbers and words.
pub fn tokenize_13a(text: &str) -> Vec<String> {
    static RULES: LazyLock<[(Regex, &str); 4]> = LazyLock::new(|| {
        let rule = |pattern| Regex::new(pattern).expect("a valid pattern");
        [
            (
                rule(r"([\x7B-\x7E\x5B-\x60\x20-\x26\x28-\x2B\x3A-\x40\x2F])"),
                " $1 ",
            ),
            (rule(r"([^0-9])([.,])"), "$1 $2 "),
            (rule(r"([.,])([^0-9])"), " $1 $2"),
            (rule(r"([0-9])(-)"), "$1 $2 "),
        ]
    });
    let text = text.trim_end_matches(is_space);
    let mut text = text
        .replace("<skipped>", "")
        .replace("-\n", "")
        .replace('\n', " ");
    for (entity, character) in [
        ("&quot;", "\""),
        ("&amp;", "&"),
        ("&lt;", "<"),
        ("&gt;", ">"),
    ] {
        text = text.replace(entity, character);
    }
    let mut text = format!(" {text} ");
    for (pattern, spaced) in RULES.iter() {
        text = pattern.replace_all(&text, *spaced).into_owned();
    }
    text.split(is_space)
        .filter(|t| !t.is_empty())
        .map(str::to_string)
        .collect()
}

/// Python's `str.isspace`, which includes the four ASCII separators.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}
