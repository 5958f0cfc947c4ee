//! ROUGE-L of one pair of texts as Google's rouge-score computes it (Lin 2004): longest common subsequence of ASCII words,
//! precision and recall weighed alike.
//!
//! Limits: no ROUGE-Lsum, one reference; letters outside a-z do not count.

use crate::porter;

/// F1, 0..1; 0 where either has no words. `stem`: compare Porter stems of words longer than three letters.
pub fn rouge_l(target: &str, prediction: &str, stem: bool) -> f64 {
    let (target, prediction) = (words(target, stem), words(prediction, stem));
    let common = longest_common_subsequence(&target, &prediction) as f64;
    if common == 0.0 {
        return 0.0;
    }
    let precision = common / prediction.len() as f64;
    let recall = common / target.len() as f64;
    2.0 * precision * recall / (precision + recall)
}

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

fn longest_common_subsequence(a: &[String], b: &[String]) -> usize {
    // row[j]: of what was seen of `a` and the first j of `b`
    let mut row = vec![0; b.len() + 1];
    for x in a {
        let mut diagonal = 0;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if x == y {
                diagonal + 1
            } else {
                above.max(row[j])
            };
            diagonal = above;
        }
    }
    row[b.len()]
}
