//! Shapes of preferences: LLaMA-Factory's, UltraFeedback, Nectar, PKU-SafeRLHF, SHP and the arena.

use super::file;
use crate::common::{chat, instruction};
use data::{Ask, Format, ReadOptions};

type Pair = (Ask, String, String);

/// The pairs of the rows and why rows were dropped, or the error after the file's name.
fn read(rows: &str) -> Result<(Vec<Pair>, String), String> {
    let (_dir, path) = file("x.jsonl", rows);
    let shown = format!("{}: ", path.display());
    let loaded = data::preferences(&path, Format::Auto);
    let loaded = loaded.map_err(|e| e.to_string().replace(&shown, ""))?;
    assert_eq!(loaded.counts.notes, [""; 0], "{rows}");
    let items = loaded.items.into_iter();
    let pairs = items
        .map(|p| (p.prompt.ask, p.chosen, p.rejected))
        .collect();
    Ok((pairs, format!("{:?}", loaded.counts.dropped)))
}

/// The rows hold these pairs and none is dropped.
#[track_caller]
fn check(rows: &str, expected: &[(Ask, &str, &str)]) {
    let expected = expected.iter();
    let expected = expected.map(|(ask, a, b)| (ask.clone(), a.to_string(), b.to_string()));
    assert_eq!(read(rows), Ok((expected.collect(), "{}".to_string())));
}

/// Reading the rows fails with a message that begins so.
#[track_caller]
fn refused(rows: &str, start: &str) {
    let error = read(rows).unwrap_err();
    assert!(error.starts_with(start), "{error}");
}

#[test]
fn llama_factory_pairs_are_read_in_both_shapes() {
    let ask = instruction("Add.", "1 + 1");
    check(
        r#"{"instruction": "Add.", "input": "1 + 1", "chosen": "2", "rejected": "3"}"#,
        &[(ask, "2", "3")],
    );
    let turns = [
        ("system", "Be kind."),
        ("user", "a"),
        ("assistant", "b"),
        ("user", "c"),
    ];
    check(
        r#"{"instruction": "c", "system": "Be kind.", "history": [["a", "b"]], "chosen": "d", "rejected": "e"}"#,
        &[(chat(&turns), "d", "e")],
    );
    for (chosen, rejected) in [
        (
            r#"{"from": "gpt", "value": "d"}"#,
            r#"{"from": "gpt", "value": "e"}"#,
        ),
        (
            r#"{"role": "assistant", "content": "d"}"#,
            r#"{"Role": "Assistant", "Content": "e"}"#,
        ),
        (r#""d""#, r#""e""#),
    ] {
        let row = format!(
            r#"{{"system": "Be kind.", "conversations": [{{"from": "human", "value": "a"}}, {{"from": "gpt", "value": "b"}}, {{"from": "human", "value": "c"}}], "chosen": {chosen}, "rejected": {rejected}}}"#
        );
        check(&row, &[(chat(&turns), "d", "e")]);
    }
    refused(
        r#"{"conversations": [{"from": "human", "value": "a"}], "chosen": {"from": "human", "value": "d"}, "rejected": {"from": "gpt", "value": "e"}}"#,
        "row 1: field \"chosen\" does not end with an assistant turn",
    );
    check(
        r#"{"system": "", "question": "a", "chosen": "b", "rejected": "c"}"#,
        &[(instruction("a", ""), "b", "c")],
    );
    refused(
        r#"{"chosen": "b", "rejected": "c"}"#,
        "row 1: field \"chosen\" does not begin with \"\\n\\nHuman:\", and answers alone need a",
    );
    // an answer of its own makes it a demonstration
    let row = r#"{"instruction": "a", "output": "b", "chosen": "c", "rejected": "d"}"#;
    refused(row, "holds demonstrations (Alpaca rows)");
}

const USER: &str = r#"{"role": "user", "content": "a"}"#;

fn answer(text: &str) -> String {
    format!(r#"{{"role": "assistant", "content": "{text}"}}"#)
}

#[test]
fn binarised_ultrafeedback_is_read_whole() {
    let row = |messages: &str, better: &str| {
        format!(
            r#"{{"prompt": "a", "prompt_id": "7", "chosen": [{USER}, {}], "rejected": [{USER}, {}], "messages": [{USER}, {}], "score_chosen": {better}, "score_rejected": 3.5}}"#,
            answer("b"),
            answer("c"),
            answer(messages)
        )
    };
    check(&row("b", "8.0"), &[(chat(&[("user", "a")]), "b", "c")]);
    refused(
        &row("c", "8.0"),
        "row 1: field \"messages\" is not the conversation of \"chosen\"",
    );
    refused(&row("b", "1.0"), "row 1: \"score_chosen\" is 1, less than");
}

#[test]
fn every_pair_of_different_scores_is_one() {
    let ultrafeedback = r#"{"source": "x", "instruction": "q", "models": ["m"], "correct_answers": ["None"], "completions": [
        {"response": "a", "overall_score": 5}, {"response": "b", "overall_score": "8.5"},
        {"response": "c", "overall_score": 5.0}]}"#;
    let nectar = r#"{"prompt": "q", "num_responses": 3, "answers": [
        {"answer": "a", "rank": 2.0}, {"answer": "b", "rank": 1}, {"answer": "c", "rank": 2}]}"#;
    for row in [ultrafeedback, nectar] {
        let row = row.replace('\n', "");
        let q = || instruction("q", "");
        let pair = |a: &str, b: &str| (q(), a.to_string(), b.to_string());
        let dropped = r#"{"pair with equal scores": 1}"#.to_string();
        assert_eq!(
            read(&row),
            Ok((vec![pair("b", "a"), pair("b", "c")], dropped))
        );
        let (_dir, path) = file("x.jsonl", &row);
        let prompts = data::prompts(&path, Format::Auto).unwrap();
        assert_eq!(prompts.items.len(), 1);
        assert_eq!(
            (&prompts.items[0].ask, &prompts.items[0].reference),
            (&q(), &None)
        );
    }
    let many = |n: usize| {
        let answers = (0..n).map(|i| format!(r#"{{"answer": "{i}", "rank": {i}}}"#));
        let answers: Vec<String> = answers.collect();
        format!(r#"{{"prompt": "q", "answers": [{}]}}"#, answers.join(", "))
    };
    assert_eq!(read(&many(256)).unwrap().0.len(), 256 * 255 / 2);
    refused(
        &many(257),
        "none of its rows can be used: more than 256 responses (1)",
    );
    refused(
        r#"{"instruction": "q", "completions": [{"response": "a"}]}"#,
        "row 1: field \"completions[0].overall_score\" is missing",
    );
    refused(
        r#"{"prompt": "q", "answers": [{"answer": "a", "rank": "best"}]}"#,
        "row 1: field \"answers[0].rank\" is \"best\", not a number",
    );
}

/// An overall score is from 1 to 10, the mean of the ratings from 1 to 5.
#[test]
fn scores_of_two_scales_are_not_compared() {
    let row = |completions: &str| {
        let list = completions.replace("all", "overall_score");
        let list = list.replace("fine", "fine-grained_score");
        format!(r#"{{"instruction": "q", "completions": [{list}]}}"#)
    };
    let pair = |a: &str, b: &str| (instruction("q", ""), a.to_string(), b.to_string());
    let a = r#"{"response": "a", "all": 6, "fine": 2}"#;
    let b = r#"{"response": "b", "all": 8, "fine": "1.5"}"#;
    let c = r#"{"response": "c", "all": null, "fine": 4.5}"#;
    let d = r#"{"response": "d", "all": 3}"#;
    for (rows, pairs, dropped) in [
        // a and b by the overall score, the others by the mean that all have
        (
            vec![a, b, c],
            vec![pair("b", "a"), pair("c", "a"), pair("c", "b")],
            "{}",
        ),
        // d has none
        (
            vec![b, c, d],
            vec![pair("c", "b"), pair("b", "d")],
            r#"{"pair with scores on two scales": 1}"#,
        ),
    ] {
        assert_eq!(
            read(&row(&rows.join(", "))),
            Ok((pairs, dropped.to_string()))
        );
    }
    let two_scales = row(&[c, d].join(", "));
    refused(
        &two_scales,
        "none of its rows can be used: pair with scores on two scales (1)",
    );
    // a run that began before this was known goes on with the pairs that it has
    let (_dir, path) = file("x.jsonl", &two_scales);
    let options = ReadOptions {
        drops_tools: true,
        ..ReadOptions::default()
    };
    let old = data::preferences(&path, options).unwrap().items.remove(0);
    assert_eq!((&*old.chosen, &*old.rejected), ("c", "d"));
}

#[test]
fn a_label_decides_which_answer_is_the_better() {
    let safe = |better: &str| {
        format!(
            r#"{{"prompt": "q", "response_0": "a", "response_1": "b", "better_response_id": {better}}}"#
        )
    };
    let q = instruction("q", "");
    check(&safe("0"), &[(q.clone(), "a", "b")]);
    check(&safe("\"1\""), &[(q, "b", "a")]);
    for wrong in ["2", "null", "\"b\"", "true"] {
        let start = format!("row 1: field \"better_response_id\" is {wrong}, not 0 or 1");
        refused(&safe(wrong), &start);
    }
    let shp = |label: &str, a: u32, b: u32| {
        format!(
            r#"{{"post_id": "x", "history": "q", "human_ref_A": "a", "human_ref_B": "b", "labels": {label}, "score_A": {a}, "score_B": {b}}}"#
        )
    };
    let q = chat(&[("user", "q")]);
    check(&shp("1", 9, 2), &[(q.clone(), "a", "b")]);
    check(&shp("0", 2, 9), &[(q, "b", "a")]);
    refused(
        &shp("0", 9, 2),
        "row 1: \"labels\" is 0, but \"score_A\" is 9 and \"score_B\" 2; SHP rows have",
    );
    refused(
        &shp("\"A\"", 9, 2),
        "row 1: field \"labels\" is \"A\", not 0 or 1",
    );
}

#[test]
fn arena_battles_are_pairs_and_ties_are_dropped() {
    let battle = |winner: &str, question: &str| {
        format!(
            r#"{{"question_id": "7", "model_a": "m", "model_b": "n", "winner": "{winner}", "turn": 1, "conversation_a": [{USER}, {}], "conversation_b": [{}, {}]}}"#,
            answer("b"),
            USER.replace("\"a\"", &format!("\"{question}\"")),
            answer("c")
        )
    };
    let a = || chat(&[("user", "a")]);
    check(&battle("model_a", "a"), &[(a(), "b", "c")]);
    check(&battle("model_b", "a"), &[(a(), "c", "b")]);
    let rows = ["model_a", "tie", "tie (bothbad)", "model_b"].map(|winner| battle(winner, "a"));
    let rows = format!("{}\n{}", rows.join("\n"), battle("model_a", "other"));
    let (pairs, dropped) = read(&rows).unwrap();
    assert_eq!(pairs.len(), 2);
    let expected = r#"{"conversations that differ before their last answers": 1, "tie": 2}"#;
    assert_eq!(dropped, expected);
    let start = "row 1: field \"winner\" is \"gpt-4\", not \"model_a\", \"model_b\" or \"tie\"";
    refused(&battle("gpt-4", "a"), start);
}
