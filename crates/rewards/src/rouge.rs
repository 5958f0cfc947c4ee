//! ROUGE of one pair of texts as Google's rouge-score computes it (Lin 2004): n-grams (ROUGE-1,
//! ROUGE-2), longest common subsequence (ROUGE-L) and its union over lines (ROUGE-Lsum), over ASCII
//! words.
//!
//! Each is an F1 in 0..1, and 0 where either text has no words. `stem` is the package's
//! `use_stemmer`: words longer than three letters are compared by their Porter stems.
//!
//! Limits: one reference; a sentence is a line; letters outside a-z separate words.

use crate::porter;
use std::collections::HashMap;

/// ROUGE-N: n-grams in common, each counted at most as often as in either text.
///
/// ```
/// // 3 of 3 words of the target, 3 of 4 of the prediction: F1 = 6/7
/// let f1 = rewards::rouge_n(1, "the cat sat", "the cat sat down", false);
/// assert!((f1 - 6.0 / 7.0).abs() < 1e-12);
/// ```
pub fn rouge_n(n: usize, target: &str, prediction: &str, stem: bool) -> f64 {
    let (target, prediction) = (words(target, stem), words(prediction, stem));
    let mut left: HashMap<&[String], usize> = HashMap::new();
    for gram in target.windows(n) {
        *left.entry(gram).or_default() += 1;
    }
    let found = prediction.windows(n).filter(|gram| take(&mut left, *gram));
    let common = found.count();
    let grams = |words: &[String]| (words.len() + 1).saturating_sub(n);
    f1(common, grams(&target), grams(&prediction))
}

/// ROUGE-L: the longest common subsequence of the whole texts.
pub fn rouge_l(target: &str, prediction: &str, stem: bool) -> f64 {
    let (target, prediction) = (words(target, stem), words(prediction, stem));
    let common = common_lens(&target, &prediction)[target.len()][prediction.len()];
    f1(common, target.len(), prediction.len())
}

/// ROUGE-Lsum: for each line of the target, the words in its longest common subsequence with any
/// line of the prediction. A word counts at most as often as in either text.
pub fn rouge_lsum(target: &str, prediction: &str, stem: bool) -> f64 {
    let lines = |text: &str| -> Vec<Vec<String>> {
        text.split('\n').map(|line| words(line, stem)).collect()
    };
    let (target, prediction) = (lines(target), lines(prediction));
    let mut left: HashMap<&String, usize> = HashMap::new();
    for word in prediction.iter().flatten() {
        *left.entry(word).or_default() += 1;
    }
    let mut common = 0;
    for line in &target {
        let mut shared = vec![false; line.len()];
        for other in &prediction {
            mark_common(line, other, &mut shared);
        }
        let words = line.iter().zip(shared).filter(|(_, shared)| *shared);
        common += words.filter(|(word, _)| take(&mut left, *word)).count();
    }
    let n_words = |lines: &[Vec<String>]| lines.iter().map(Vec::len).sum();
    f1(common, n_words(&target), n_words(&prediction))
}

/// F1 of `common` items among those of target and prediction.
fn f1(common: usize, target: usize, prediction: usize) -> f64 {
    if common == 0 {
        return 0.0;
    }
    let precision = common as f64 / prediction as f64;
    let recall = common as f64 / target as f64;
    2.0 * precision * recall / (precision + recall)
}

/// Takes one `key` away; whether one was left.
fn take<K: std::hash::Hash + Eq>(left: &mut HashMap<K, usize>, key: K) -> bool {
    match left.get_mut(&key) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    }
}

/// Lower-case ASCII words, stemmed on request.
fn words(text: &str, stem: bool) -> Vec<String> {
    let text = text.to_lowercase();
    let ascii = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let words = text.split(|c| !ascii(c)).filter(|word| !word.is_empty());
    let stemmed = |word: &str| match stem && word.len() > 3 {
        true => porter::stem(word),
        false => word.to_string(),
    };
    words.map(stemmed).collect()
}

/// `[i][j]`: length of the longest common subsequence of the first `i` words of `a` and the first
/// `j` of `b`.
fn common_lens(a: &[String], b: &[String]) -> Vec<Vec<usize>> {
    let mut lens = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, x) in a.iter().enumerate() {
        for (j, y) in b.iter().enumerate() {
            lens[i + 1][j + 1] = match x == y {
                true => lens[i][j] + 1,
                false => lens[i][j + 1].max(lens[i + 1][j]),
            };
        }
    }
    lens
}

/// Marks the words of `a` in its longest common subsequence with `b`. Of several, it is the one
/// that the package finds.
fn mark_common(a: &[String], b: &[String], marked: &mut [bool]) {
    let lens = common_lens(a, b);
    let (mut i, mut j) = (a.len(), b.len());
    while i > 0 && j > 0 {
        if a[i - 1] == b[j - 1] {
            (i, j) = (i - 1, j - 1);
            marked[i] = true;
        } else if lens[i][j - 1] > lens[i - 1][j] {
            j -= 1;
        } else {
            i -= 1;
        }
    }
}
