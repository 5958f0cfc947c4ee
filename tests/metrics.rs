//! BLEU and ROUGE against sacreBLEU and rouge-score: literals of their papers and tests, and
//! random pairs of scripts/golden/metrics.py.

use rewards::{corpus_bleu, rouge_l, rouge_lsum, rouge_n, sentence_bleu, stem, tokenize_13a};
use serde_json::Value;
use testkit::{assert_close_slices, golden_json};

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

/// ROUGE-1, 2, L, Lsum.
fn rouges(target: &str, prediction: &str, stem: bool) -> [f64; 4] {
    [
        rouge_n(1, target, prediction, stem),
        rouge_n(2, target, prediction, stem),
        rouge_l(target, prediction, stem),
        rouge_lsum(target, prediction, stem),
    ]
}

fn rows(value: &Value) -> impl Iterator<Item = &Vec<Value>> {
    value
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| row.as_array().expect("a row"))
}

#[test]
fn tokens_equal_sacrebleus_13a() {
    #[track_caller]
    fn check(text: &str, tokens: &str) {
        assert_eq!(tokenize_13a(text).join(" "), tokens);
    }
    check(
        "Hello, world! It's 3.14 -- ok",
        "Hello , world ! It's 3.14 -- ok",
    );
    check("U.S.A. vs. e.g. 3, 4", "U . S . A . vs . e . g . 3 , 4");
    check("x.5 5.x .5 5.", "x . 5 5 . x . 5 5 .");
    check("end-of-line 5-6", "end-of-line 5 - 6");
    check("(foo)[bar]{baz}~^_`", "( foo ) [ bar ] { baz } ~ ^ _ `");
    check("line-\nbreak and\nnewline", "linebreak and newline");
    check(
        "I paid $1,000.50 (approx.) for 20-30 items &amp; more.",
        "I paid $ 1,000.50 ( approx . ) for 20 - 30 items & more .",
    );
    let golden = golden_json("metrics.json");
    assert!(rows(&golden["tokens"]).count() > 0);
    for row in rows(&golden["tokens"]) {
        let tokens: Vec<&str> = row[1].as_array().unwrap().iter().map(text).collect();
        assert_eq!(tokenize_13a(text(&row[0])), tokens, "{:?}", row[0]);
    }
}

#[test]
fn bleu_equals_sacrebleus_on_known_pairs() {
    #[track_caller]
    fn check(hypothesis: &str, reference: &str, effective: f64, whole: f64) {
        let found = [true, false].map(|e| sentence_bleu(hypothesis, &[reference], e));
        assert_close_slices(hypothesis, &found, &[effective, whole], 1e-7);
    }
    let six = "the cat sat on the mat";
    check(six, six, 100.0, 100.0);
    check("the cat", six, 13.533528323661276, 0.0);
    check(
        "The dog bit the man.",
        "The dog had bit the man.",
        51.15078115793242,
        51.15078115793242,
    );
    check(
        "It wasn't surprising.",
        "It was not unexpected.",
        14.794015674776452,
        14.794015674776452,
    );
    check(
        "a b c d e",
        "a b x d e",
        30.213753973567677,
        30.213753973567677,
    );
    check(
        "the the the the the the the",
        "the cat is on the mat",
        7.809849842300637,
        7.809849842300637,
    );
    check("x y z", "a b c", 0.0, 0.0);
    check("", "a b c", 0.0, 0.0);
    check("cat", "cat", 100.0, 0.0);
    check("cat", "the cat", 36.787944117144235, 0.0);
    check(
        "Hello, world! It's 3.14 -- ok",
        "Hello, world! It's 3.14 ok",
        70.71067811865478,
        70.71067811865478,
    );
    // a pair of sacreBLEU's tests
    let found = sentence_bleu(
        "Producția de zahăr primă va fi exprimată în ceea ce privește zahărul alb;",
        &["producţia de zahăr brut se exprimă în zahăr alb;"],
        true,
    );
    assert!((found - 8.493).abs() < 5e-4, "{found}");
    check(
        "to be or not to be",
        "to be or to be not",
        39.76353643835253,
        39.76353643835253,
    );
}

#[test]
fn bleu_of_no_reference_is_zero() {
    assert_eq!(sentence_bleu("a b", &[], true), 0.0);
    assert_eq!(sentence_bleu("a b", &[""], true), 0.0);
    assert_eq!(sentence_bleu("", &[""], true), 0.0);
}

#[test]
fn bleu_and_rouge_equal_the_references_on_random_pairs() {
    let golden = golden_json("metrics.json");
    assert_eq!(rows(&golden["pairs"]).count(), 200);
    for row in rows(&golden["pairs"]) {
        let (hypothesis, reference) = (text(&row[0]), text(&row[1]));
        let mut found = [true, false]
            .map(|effective| sentence_bleu(hypothesis, &[reference], effective))
            .to_vec();
        for stem in [false, true] {
            found.extend(rouges(reference, hypothesis, stem));
        }
        let wanted: Vec<f64> = row[2..].iter().map(|v| v.as_f64().unwrap()).collect();
        assert_close_slices(hypothesis, &found, &wanted, 1e-9);
    }
}

#[test]
fn bleu_of_several_references_equals_sacrebleus() {
    let golden = golden_json("metrics.json");
    assert!(rows(&golden["several"]).count() > 0);
    for row in rows(&golden["several"]) {
        let references: Vec<&str> = row[1].as_array().unwrap().iter().map(text).collect();
        let found = sentence_bleu(text(&row[0]), &references, true);
        assert_close_slices(text(&row[0]), &[found], &[row[2].as_f64().unwrap()], 1e-9);
    }
}

#[test]
fn rouge_l_equals_known_values() {
    #[track_caller]
    fn check(target: &str, prediction: &str, f1: f64) {
        assert_close_slices(
            prediction,
            &[rouge_l(target, prediction, false)],
            &[f1],
            1e-6,
        );
    }
    check(
        "The quick brown fox jumps over the lazy dog",
        "The quick brown dog jumps on the log.",
        0.588235,
    );
    check("police killed the gunman", "police kill the gunman", 0.75);
    check("police killed the gunman", "the gunman kill police", 0.5);
    check("It's 3.14", "its 3 14", 0.571429);
    check("a b", "", 0.0);
    check("", "a b", 0.0);
    assert_eq!(
        rouge_l("police killed the gunman", "police kill the gunman", true),
        1.0
    );
}

#[test]
fn rouge_equals_values_computed_by_hand() {
    #[track_caller]
    fn check(target: &str, prediction: &str, f1: [f64; 4]) {
        assert_close_slices(prediction, &rouges(target, prediction, false), &f1, 1e-12);
    }
    check("a b c d", "a b x d", [0.75, 1.0 / 3.0, 0.75, 0.75]);
    // all words, no two in order; with lines, each line's words are in order
    check("a b", "b a", [1.0, 0.0, 0.5, 0.5]);
    check("a b\nc d", "c d\na b", [1.0, 2.0 / 3.0, 0.5, 1.0]);
    // a word counts at most as often as it occurs in the other text
    check("a a a", "a", [0.5, 0.0, 0.5, 0.5]);
    check("a\na", "a", [2.0 / 3.0, 0.0, 2.0 / 3.0, 2.0 / 3.0]);
    // the union over the prediction's lines (Lin 2004, section 3.2): w1 w2 and w1 w3 w5 of five
    // words, 4/5 and 4/8
    check(
        "w1 w2 w3 w4 w5",
        "w1 w2 w6 w7\nw1 w3 w8 w5",
        [8.0 / 13.0, 2.0 / 11.0, 8.0 / 13.0, 8.0 / 13.0],
    );
    // one word has no pair
    check("a", "a", [1.0, 0.0, 1.0, 1.0]);
    for empty in ["", " ", "\n", "東京 é"] {
        check("a b", empty, [0.0; 4]);
        check(empty, "a b", [0.0; 4]);
        check(empty, empty, [0.0; 4]);
    }
}

#[test]
fn stems_equal_porters() {
    let golden = golden_json("metrics.json");
    assert!(rows(&golden["stems"]).count() > 500);
    for row in rows(&golden["stems"]) {
        assert_eq!(stem(text(&row[0])), text(&row[1]), "{}", row[0]);
    }
}

#[test]
fn corpus_bleu_equals_sacrebleus() {
    let golden = golden_json("metrics.json");
    let mut n_above_zero = 0;
    for row in rows(&golden["corpora"]) {
        let texts = |v: &'_ Value| -> Vec<String> {
            let texts = v.as_array().expect("texts").iter();
            texts.map(|t| text(t).to_string()).collect()
        };
        let hypotheses = texts(&row[0]);
        let references: Vec<Vec<String>> = row[1].as_array().unwrap().iter().map(texts).collect();
        let references: Vec<Vec<&str>> = references
            .iter()
            .map(|r| r.iter().map(String::as_str).collect())
            .collect();
        let corpus: Vec<(&str, &[&str])> = hypotheses
            .iter()
            .zip(&references)
            .map(|(h, r)| (h.as_str(), r.as_slice()))
            .collect();
        let wanted = row[2].as_f64().unwrap();
        n_above_zero += usize::from(wanted > 0.0);
        let found = corpus_bleu(&corpus);
        assert_close_slices(&format!("{corpus:?}"), &[found], &[wanted], 1e-9);
        // the order of the sentences does not matter, and one sentence is a corpus
        let reversed: Vec<_> = corpus.iter().rev().copied().collect();
        assert_close_slices("reversed", &[corpus_bleu(&reversed)], &[found], 1e-12);
        for (hypothesis, references) in corpus {
            let alone = sentence_bleu(hypothesis, references, false);
            assert_eq!(corpus_bleu(&[(hypothesis, references)]), alone);
        }
    }
    assert!(
        n_above_zero >= 5,
        "{n_above_zero} corpora have a BLEU above 0"
    );
    assert_eq!(corpus_bleu(&[]), 0.0);
}
