//! The rules `length` and `format`, and the text metrics.

use super::{World, check, f64s, item};
use rewards::Item;
use testkit::assert_close_slices;

#[test]
fn the_length_rule_is_a_trapezoid() {
    let long = "x".repeat(30);
    let at = |n: usize| &long[..n];
    check(
        "{ kind = \"length\", target = 10 }",
        &[
            (at(0), 0.0),
            (at(5), 0.5),
            (at(10), 1.0),
            (at(15), 0.5),
            (at(20), 0.0),
            (at(30), 0.0),
        ],
    );
    check(
        "{ kind = \"length\", min = 4, max = 10 }",
        &[
            (at(1), 0.25),
            (at(4), 1.0),
            (at(7), 1.0),
            (at(10), 1.0),
            (at(12), 0.8),
            (at(25), 0.0),
        ],
    );
    check(
        "{ kind = \"length\", min = 20 }",
        &[(at(0), 0.0), (at(15), 0.75), (at(30), 1.0)],
    );
    check(
        "{ kind = \"length\", max = 20 }",
        &[(at(0), 1.0), (at(20), 1.0), (at(30), 0.5)],
    );
    check(
        "{ kind = \"length\", unit = \"words\", target = 2 }",
        &[
            ("", 0.0),
            (" one\n", 0.5),
            ("a  b", 1.0),
            ("a b\tc", 0.5),
            ("a b c d e", 0.0),
        ],
    );
}

#[test]
fn the_format_rule_scores_0_or_1() {
    let pass = 1.0;
    check(
        "{ kind = \"format\", must_match = '^\\d+$' }",
        &[("12", pass), (" 12\n", pass), ("12 a", 0.0), ("", 0.0)],
    );
    check(
        "{ kind = \"format\", must_not_match = '(?i)sorry' }",
        &[("Fine.", pass), ("I am SORRY.", 0.0), ("", pass)],
    );
    check(
        "{ kind = \"format\", starts_with = \"Dear\", ends_with = \".\" }",
        &[(" Dear all.\n", pass), ("Dear all", 0.0), ("My dear.", 0.0)],
    );
    check(
        "{ kind = \"format\", json = true }",
        &[
            ("{\"a\": [1, null]}\n", pass),
            ("3", pass),
            ("{'a': 1}", 0.0),
            ("{} {}", 0.0),
            ("", 0.0),
        ],
    );
    check(
        "{ kind = \"format\", json = true, must_match = '\"a\"' }",
        &[("{\"a\": 1}", pass), ("{\"b\": 1}", 0.0), ("\"a\" 1", 0.0)],
    );
}

#[test]
fn text_metrics_compare_response_and_reference() {
    let (response, reference) = ("the dog bit the man.", "The dogs had bit\nthe man.");
    let item = Item {
        reference: Some(reference),
        ..item(response)
    };
    for (source, expected) in [
        (
            "{ kind = \"bleu\" }",
            rewards::sentence_bleu(response, &[reference], true) / 100.0,
        ),
        (
            "{ kind = \"rouge_1\" }",
            rewards::rouge_n(1, reference, response, false),
        ),
        (
            "{ kind = \"rouge_2\" }",
            rewards::rouge_n(2, reference, response, false),
        ),
        (
            "{ kind = \"rouge_l\", stem = true }",
            rewards::rouge_l(reference, response, true),
        ),
        (
            "{ kind = \"rouge_lsum\" }",
            rewards::rouge_lsum(reference, response, false),
        ),
    ] {
        assert!(expected > 0.1 && expected < 1.0, "{source} {expected}");
        let found = World::new(source, false).score(&[item]).total;
        assert_close_slices(source, &f64s(&found), &[expected], 1e-6);
    }
    let short = Item {
        reference: Some("cat"),
        ..self::item("cat")
    };
    let strict = "{ kind = \"bleu\", effective_order = false }";
    assert_eq!(World::new(strict, false).score(&[short]).total, [0.0]);
    assert_eq!(
        World::new("{ kind = \"bleu\" }", false)
            .score(&[short])
            .total,
        [1.0]
    );

    let mut world = World::new("{ kind = \"bleu\" }", false);
    let error = world
        .mixture
        .score(&world.llama, &[self::item("a")])
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("reward bleu: a prompt has no reference answer"),
        "{error}"
    );
}
