//! FastChat's file formats, files that survive a kill, intervals and win rates.

use evaluate::fastchat::{self, Answer, Choice, QuestionId, category_temperature};
use evaluate::jsonl::{self, Appender};
use evaluate::stats::{Wins, correlation, estimate, mean, paired_difference, quantile, share, std};
use serde_json::{Value, json};
use std::path::PathBuf;

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file.jsonl");
    std::fs::write(&path, text).unwrap();
    (dir, path)
}

#[test]
fn questions_are_read_in_both_fastchat_forms() {
    let (_dir, path) = file(
        "{\"question_id\": 1, \"text\": \"How?\", \"category\": \"generic\"}\n\n\
         {\"question_id\": \"b\", \"turns\": [\"One\", \"Two\"]}\n",
    );
    let questions = fastchat::questions(&path).unwrap();
    assert_eq!(questions.len(), 2);
    assert_eq!(questions[0].id, QuestionId::Number(1));
    assert_eq!(
        (questions[0].category.as_str(), &questions[0].turns[..]),
        ("generic", &["How?".to_string()][..])
    );
    assert_eq!(questions[1].id, QuestionId::Text("b".into()));
    assert_eq!(questions[1].turns, ["One", "Two"]);
}

#[test]
fn a_wrong_question_file_is_named_with_its_row() {
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let (_dir, path) = file(text);
        let error = format!("{:#}", fastchat::questions(&path).unwrap_err());
        assert!(error.contains(expected), "{error}");
        assert!(error.contains("file.jsonl"), "{error}");
    }
    check("", "no questions");
    check(
        "{\"instruction\": \"x\", \"output\": \"y\"}",
        "row 1: no field question_id; expected a FastChat question file",
    );
    check(
        "{\"question_id\": 1, \"text\": \"a\"}\n{\"question_id\": 2}",
        "row 2: no field text or turns",
    );
    check(
        "{\"question_id\": 1, \"text\": \" \"}",
        "row 1: text is empty",
    );
    check(
        "{\"question_id\": 1, \"text\": 5}",
        "row 1: text must be a text",
    );
    check(
        "{\"question_id\": 1, \"turns\": []}",
        "row 1: turns must be a non-empty list",
    );
    check(
        "{\"question_id\": 1.5, \"text\": \"a\"}",
        "row 1: question_id must be",
    );
    check(
        "{\"question_id\": 1, \"text\": \"a\"}\n{\"question_id\": 1, \"text\": \"b\"}",
        "row 2: question_id 1 appears twice",
    );
    check("{\"question_id\": 1, \"te", "line 1: is not JSON: EOF");
    check("[1, 2]", "row 1: no field question_id");
}

#[test]
fn answers_round_trip_in_fastchats_form() {
    let (_dir, path) = file("");
    let answer = |model: &str| Answer {
        question_id: QuestionId::Number(7),
        answer_id: "x".into(),
        model_id: model.into(),
        choices: vec![Choice {
            index: 0,
            turns: vec!["Line\nbreak".into()],
        }],
        tstamp: 12.5,
    };
    std::fs::write(&path, jsonl::to_text(&[answer("m")]).unwrap()).unwrap();
    let line: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let expected = json!({"question_id": 7, "answer_id": "x", "model_id": "m",
        "choices": [{"index": 0, "turns": ["Line\nbreak"]}], "tstamp": 12.5});
    assert_eq!(line, expected);
    assert_eq!(fastchat::answers(&path).unwrap(), [answer("m")]);
    assert_eq!(answer("m").turns(), ["Line\nbreak"]);
    std::fs::write(&path, jsonl::to_text(&[answer("m"), answer("n")]).unwrap()).unwrap();
    let error = fastchat::answers(&path).unwrap_err().to_string();
    assert!(error.contains("two models, m and n"), "{error}");
}

#[test]
fn temperatures_are_fastchats() {
    let by_category = [
        "writing",
        "roleplay",
        "math",
        "coding",
        "reasoning",
        "extraction",
        "stem",
        "humanities",
        "fermi",
        "",
    ];
    let expected = [0.7, 0.7, 0.0, 0.0, 0.0, 0.0, 0.1, 0.1, 0.7, 0.7];
    assert_eq!(by_category.map(category_temperature), expected);
}

#[test]
fn an_incomplete_last_line_is_removed_and_other_damage_refused() {
    #[track_caller]
    fn check(text: &str, rows: usize, kept: &str) {
        let (_dir, path) = file(text);
        assert_eq!(jsonl::read_appended::<Value>(&path).unwrap().len(), rows);
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            text,
            "reading changes nothing"
        );
        let (mut appender, read) = Appender::open::<Value>(&path).unwrap();
        assert_eq!(read.len(), rows);
        appender.push(&json!({"new": 1})).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            format!("{kept}{{\"new\":1}}\n")
        );
    }
    check("", 0, "");
    check("{\"a\":1}\n", 1, "{\"a\":1}\n");
    check("{\"a\":1}\n{\"b\":", 1, "{\"a\":1}\n");
    check("{\"a\":1}\n{\"b\":2}", 2, "{\"a\":1}\n{\"b\":2}\n");
    check("{\"b", 0, "");
    let (_dir, path) = file("{\"a\":\n{\"b\":2}\n");
    let error = Appender::open::<Value>(&path).err().unwrap().to_string();
    assert!(error.contains("line 1"), "{error}");
    for not_ours in [
        "notes without an end of line",
        "{\"question_id\": 1}",
        "[1, 2]",
    ] {
        let (_dir, path) = file(not_ours);
        assert!(Appender::open::<Answer>(&path).is_err(), "{not_ours}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), not_ours, "kept");
    }
    let error = Appender::open::<Value>(path.parent().unwrap())
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("is a directory"), "{error}");
}

#[test]
fn a_key_that_is_there_twice_is_refused_with_the_line() {
    let (_dir, path) = file("{\"question_id\":1,\"text\":\"a\"}\n{\"x\":{\"k\":1,\"k\":2}}\n");
    let expected = format!(
        "{} line 2: has the key \"k\" twice at column 15; remove one of them",
        path.display()
    );
    let error = Appender::open::<Value>(&path).err().unwrap();
    assert_eq!(error.to_string(), expected);
    let error = jsonl::read_appended::<Value>(&path).unwrap_err();
    assert_eq!(error.to_string(), expected);
    let error = fastchat::questions(&path).unwrap_err();
    assert_eq!(error.to_string(), expected);
}

/// Of a line the place is the column, whatever is wrong with it.
#[test]
fn what_is_wrong_with_a_line_has_its_column() {
    for (line, expected) in [
        ("{\"a\": nope}", "is not JSON: expected ident at column 8"),
        (
            "{\"a\": \"\\ud83d\"}",
            "has an unpaired surrogate at column 14 (an escape from \\ud800 to \\udfff is half a \
             character); write the whole character, or remove the half",
        ),
    ] {
        let (_dir, path) = file(&format!("{{\"question_id\":1,\"text\":\"a\"}}\n{line}\n"));
        let expected = format!("{} line 2: {expected}", path.display());
        let error = Appender::open::<Value>(&path).err().unwrap();
        assert_eq!(error.to_string(), expected);
        let error = jsonl::read_appended::<Value>(&path).unwrap_err();
        assert_eq!(error.to_string(), expected);
        let error = fastchat::questions(&path).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn one_process_writes_a_file_at_a_time() {
    let (_dir, path) = file("{\"a\":1}\n");
    let (mut first, _) = Appender::open::<Value>(&path).unwrap();
    let error = Appender::open::<Value>(&path).err().unwrap().to_string();
    assert!(
        error.contains("is being written by another process"),
        "{error}"
    );
    first.push(&json!({"b": 2})).unwrap();
    drop(first);
    assert_eq!(Appender::open::<Value>(&path).unwrap().1.len(), 2);
}

#[test]
fn an_answer_file_counts_each_question_once() {
    let line = |id: u64, text: &str| {
        json!({"question_id": id, "answer_id": text, "model_id": "m", "tstamp": 0.0,
            "choices": [{"index": 0, "turns": [text]}]})
    };
    let rows = [line(1, "old"), line(2, "two"), line(1, "new")];
    let torn = "{\"question_id\": 3, \"answer";
    let (_dir, path) = file(&(jsonl::to_text(&rows).unwrap() + torn));
    let answers = fastchat::answers(&path).unwrap();
    let texts: Vec<&str> = answers.iter().map(|a| a.turns()[0].as_str()).collect();
    assert_eq!(texts, ["new", "two"], "the last of each, as for FastChat");
    let error = fastchat::answers(&path.with_file_name("none")).unwrap_err();
    assert!(error.to_string().contains("none does not exist"), "{error}");
}

#[test]
fn shares_have_wilsons_interval_where_all_agree() {
    #[track_caller]
    fn check(outcome: f64, n: u64, low: f64, high: f64) {
        let prompts: Vec<u64> = (0..n).collect();
        let e = share(&vec![outcome; n as usize], &prompts, 1).unwrap();
        assert_eq!((e.mean, e.n), (outcome, n as usize));
        assert!(
            (e.low - low).abs() < 1e-4 && (e.high - high).abs() < 1e-4,
            "{e:?}"
        );
    }
    // By hand: z²/(n + z²) is the width at the edge, with z² = 3.8415.
    check(1.0, 10, 0.7225, 1.0);
    check(0.0, 10, 0.0, 0.2775);
    check(1.0, 1, 0.2065, 1.0);
    check(0.5, 4, 0.1500, 0.8500);
    let wins = Wins::from_scores([(2.0, 1.0), (3.0, 1.0)], 1).unwrap();
    assert!(wins.rate.low < 0.4 && wins.rate.high == 1.0, "{wins:?}");
    assert_eq!(share(&[], &[], 1), None);
}

#[test]
fn rows_of_one_prompt_are_resampled_together() {
    // 20 prompts with 20 rows each; all rows of a prompt agree, so there are 20 trials, not 400.
    let prompts: Vec<u64> = (0..400).map(|i| i / 20).collect();
    let outcomes: Vec<f64> = prompts.iter().map(|p| (p % 2) as f64).collect();
    let e = share(&outcomes, &prompts, 1).unwrap();
    assert_eq!((e.mean, e.n), (0.5, 400));
    // 0.5 ± 1.96 · 0.5 / √20 = 0.5 ± 0.219
    assert!(
        (e.low - 0.281).abs() < 0.04 && (e.high - 0.719).abs() < 0.04,
        "{e:?}"
    );
    let rows: Vec<u64> = (0..400).collect();
    let alone = share(&outcomes, &rows, 1).unwrap();
    assert!(alone.high - alone.low < 0.11, "{alone:?}");
    // Each row a prompt of its own: the interval is that of the mean.
    assert_eq!(Some(alone), estimate(&outcomes, 1));
    // At the edge prompts are counted, too: Wilson's with n = 20.
    let right = share(&[1.0; 400], &prompts, 1).unwrap();
    assert!((right.low - 0.8389).abs() < 1e-4, "{right:?}");
    // Prompts of different sizes: the mean is over rows.
    let uneven = share(&[1.0, 1.0, 1.0, 0.0], &[1, 1, 1, 2], 1).unwrap();
    assert_eq!(uneven.mean, 0.75);
}

#[test]
fn a_paired_difference_cancels_what_the_prompts_share() {
    let hard: Vec<f64> = (0..50).map(|i| f64::from(i * 7 % 50)).collect();
    let pairs = hard
        .iter()
        .enumerate()
        .map(|(i, h)| (h + 1.0 + 0.1 * (i % 2) as f64, *h));
    let e = paired_difference(pairs, 1).unwrap();
    assert!(
        (e.mean - 1.05).abs() < 1e-9 && e.low > 1.0 && e.high < 1.1,
        "{e:?}"
    );
    assert_eq!(paired_difference([], 1), None);
}

#[test]
fn means_and_quantiles_by_hand() {
    assert_eq!(mean(&[1.0, 2.0, 6.0]), 3.0);
    assert_eq!(std(&[2.0, 4.0, 6.0]), 2.0);
    assert_eq!(std(&[5.0]), 0.0);
    assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.5), 2.0);
    assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.75), 3.0);
    assert_eq!(quantile(&[3.0], 0.1), 3.0);
    assert!((correlation(&[1.0, 2.0, 3.0], &[5.0, 7.0, 9.0]) - 1.0).abs() < 1e-12);
    assert!((correlation(&[1.0, 2.0, 3.0], &[1.0, -1.0, 1.0])).abs() < 1e-12);
    assert_eq!(correlation(&[1.0, 1.0], &[1.0, 2.0]), 0.0);
}

#[test]
fn the_bootstrap_interval_is_seeded_and_has_its_theoretical_width() {
    assert_eq!(estimate(&[], 1), None);
    let constant = estimate(&[2.5; 9], 1).unwrap();
    assert_eq!(
        (constant.mean, constant.low, constant.high, constant.n),
        (2.5, 2.5, 2.5, 9)
    );
    let one = estimate(&[4.0], 1).unwrap();
    assert_eq!((one.low, one.high), (4.0, 4.0));

    // 400 values, half 0 and half 1: the standard error of the mean is 0.5 / 20, the 95 % interval
    // 0.5 ± 0.049.
    let coin: Vec<f64> = (0..400).map(|i| f64::from(i % 2)).collect();
    let e = estimate(&coin, 1).unwrap();
    assert_eq!(e.mean, 0.5);
    assert!(
        (e.low - 0.451).abs() < 0.006 && (e.high - 0.549).abs() < 0.006,
        "{e:?}"
    );
    assert_eq!(estimate(&coin, 1).unwrap(), e);
    let other = estimate(&coin, 2).unwrap();
    assert!((other.low, other.high) != (e.low, e.high) || other.mean == e.mean);
    // Shifting and scaling the values shifts and scales the interval.
    let scaled: Vec<f64> = coin.iter().map(|v| 3.0 + 2.0 * v).collect();
    let s = estimate(&scaled, 1).unwrap();
    assert!(
        (s.low - (3.0 + 2.0 * e.low)).abs() < 1e-9 && (s.high - (3.0 + 2.0 * e.high)).abs() < 1e-9
    );
}

#[test]
fn wins_count_ties_half() {
    let wins = Wins::from_scores([(2.0, 1.0), (1.0, 1.0), (0.0, 5.0), (3.0, -1.0)], 1).unwrap();
    assert_eq!((wins.wins, wins.ties, wins.losses), (2, 1, 1));
    assert_eq!(wins.rate.mean, 0.625);
    assert!(wins.rate.low >= 0.0 && wins.rate.high <= 1.0 && wins.rate.low < wins.rate.high);
    assert_eq!(Wins::from_outcomes(&[], 1), None);
}

/// A command may still be refused after it has opened its file.
#[test]
fn an_appender_changes_nothing_before_its_first_line() {
    for text in ["{\"a\":1}\n{\"b\":", "{\"a\":1}\n{\"b\":2}"] {
        let (_dir, path) = file(text);
        drop(Appender::open::<Value>(&path).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
}
