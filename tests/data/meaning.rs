//! What fields with a meaning turn into: system prompts, history, roles, the prompts of pairs.

use super::file;
use crate::common::{chat, instruction};
use data::{Ask, Format, Prompt};

/// The prompt of the only row, or the error after the file's name.
fn ask(read: fn(&std::path::Path) -> data::Result<Prompt>, row: &str) -> Result<Ask, String> {
    let (_dir, path) = file("x.jsonl", row);
    let shown = format!("{}: ", path.display());
    let prompt = read(&path).map_err(|e| e.to_string().replace(&shown, ""))?;
    Ok(prompt.ask)
}

fn first<T: Clone>(loaded: data::Result<data::Loaded<T>>) -> data::Result<T> {
    loaded.map(|loaded| loaded.items[0].clone())
}

fn of_demonstration(row: &str) -> Result<Ask, String> {
    ask(
        |path| first(data::demonstrations(path, Format::Auto)).map(|d| d.prompt),
        row,
    )
}

fn of_prompt(row: &str) -> Result<Ask, String> {
    ask(|path| first(data::prompts(path, Format::Auto)), row)
}

fn of_pair(row: &str) -> Result<Ask, String> {
    ask(
        |path| first(data::preferences(path, Format::Auto)).map(|p| p.prompt),
        row,
    )
}

#[test]
fn dolly_rows_are_alpaca_rows_by_other_names() {
    let row =
        r#"{"instruction": "Who?", "context": "Ann sings.", "response": "Ann.", "category": "qa"}"#;
    assert_eq!(of_demonstration(row), Ok(instruction("Who?", "Ann sings.")));
    assert_eq!(of_prompt(row), Ok(instruction("Who?", "Ann sings.")));
    let both = r#"{"instruction": "Who?", "input": "a", "context": "b", "output": "c"}"#;
    let error = of_demonstration(both).unwrap_err();
    assert!(
        error.starts_with("row 1: fields \"input\" and \"context\" mean the same; remove one"),
        "{error}"
    );
}

#[test]
fn history_and_system_come_before_the_question() {
    let turns = [
        ("system", "Be kind."),
        ("user", "a"),
        ("assistant", "b"),
        ("user", "c\n\nd"),
    ];
    let alpaca = r#"{"instruction": "c", "input": "d", "output": "e", "system": "Be kind.", "history": [["a", "b"]]}"#;
    assert_eq!(of_demonstration(alpaca), Ok(chat(&turns)));
    assert_eq!(of_prompt(alpaca), Ok(chat(&turns)));
    let share_gpt = r#"{"system": "Be kind.", "conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}, {"from": "Human", "value": "c\n\nd"}, {"from": "chatgpt", "value": "e"}]}"#;
    assert_eq!(of_demonstration(share_gpt), Ok(chat(&turns)));
    let two = r#"{"system": "Be kind.", "messages": [{"role": "system", "content": "Be rude."}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}"#;
    let error = of_demonstration(two).unwrap_err();
    assert!(
        error.starts_with("row 1: has two different system prompts; remove one"),
        "{error}"
    );
    let odd = r#"{"instruction": "c", "output": "e", "history": ["a", "b"]}"#;
    let error = of_demonstration(odd).unwrap_err();
    assert!(
        error.starts_with("row 1: field \"history\" is neither"),
        "{error}"
    );
}

#[test]
fn an_unknown_role_is_the_reason_why_a_row_is_dropped() {
    let row = r#"{"conversations": [{"from": "human", "value": "a"}, {"from": "judge", "value": "b"}, {"from": "gpt", "value": "c"}]}"#;
    let reason = "none of its rows can be used: conversation with a turn of the role \"judge\" (1)";
    assert_eq!(of_demonstration(row), Err(reason.to_string()));
    assert_eq!(of_prompt(row), Err(reason.to_string()));
}

const SONG: &str = r#"{"role": "user", "content": "Sing."}, {"role": "assistant", "content": "La."}, {"role": "user", "content": "Louder."}"#;

fn answer(text: &str) -> String {
    format!(r#"{{"role": "assistant", "content": "{text}"}}"#)
}

/// A pair with a field `prompt` (nothing if empty) and these turns before its answers.
fn pair(prompt: &str, before_chosen: &str, before_rejected: &str) -> String {
    let list = |before: &str, last: &str| match before {
        "" => format!("[{}]", answer(last)),
        before => format!("[{before}, {}]", answer(last)),
    };
    let prompt = match prompt {
        "" => String::new(),
        prompt => format!(r#""prompt": {prompt}, "#),
    };
    format!(
        r#"{{{prompt}"chosen": {}, "rejected": {}}}"#,
        list(before_chosen, "LA!"),
        list(before_rejected, "no")
    )
}

#[test]
fn the_prompt_of_a_pair_is_all_that_comes_before_its_answers() {
    let song = chat(&[("user", "Sing."), ("assistant", "La."), ("user", "Louder.")]);
    let list = format!("[{SONG}]");
    let rest = SONG.split_once("}, ").unwrap().1;
    for (prompt, before) in [
        ("", SONG),
        (r#""Sing.""#, SONG),
        (r#""Louder. ""#, SONG),
        ("null", SONG),
        (&list, ""),
        (&list, SONG),
        (r#"[{"role": "user", "content": "Sing."}]"#, SONG),
        (r#"[{"role": "user", "content": "Sing."}]"#, rest),
    ] {
        let row = pair(prompt, before, before);
        assert_eq!(of_pair(&row), Ok(song.clone()), "{row}");
        assert_eq!(of_prompt(&row), Ok(song.clone()), "{row}");
    }
    let differ = "row 1: the turns before the answers of \"chosen\" and \"rejected\" differ";
    let contradicts = "row 1: field \"prompt\" is not what \"chosen\" and \"rejected\" begin with";
    let other = r#"{"role": "user", "content": "Dance."}"#;
    let system = format!(r#"{{"role": "system", "content": "s"}}, {SONG}"#);
    for (prompt, chosen, rejected, start) in [
        ("", SONG, other, differ),
        ("", SONG, system.as_str(), differ),
        ("", SONG, "", differ),
        (r#""Sing.""#, SONG, other, differ),
        (r#""Dance.""#, SONG, SONG, contradicts),
        (
            r#"[{"role": "user", "content": "Dance."}]"#,
            SONG,
            SONG,
            contradicts,
        ),
    ] {
        let error = of_pair(&pair(prompt, chosen, rejected)).unwrap_err();
        assert!(error.starts_with(start), "{error}");
    }
    let whole = r#"{"prompt": "Sing.", "chosen": "\n\nHuman: Sing.\n\nAssistant: La.", "rejected": "\n\nHuman: Sing.\n\nAssistant: No."}"#;
    let error = of_pair(whole).unwrap_err();
    assert!(error.contains("set data.format = \"hh\""), "{error}");
}

#[test]
fn scores_of_a_pair_must_agree_with_its_order() {
    let row = |names: [&str; 2], chosen: &str, rejected: &str| {
        let [one, other] = names;
        of_pair(&format!(
            r#"{{"prompt": "q", "chosen": "a", "rejected": "b", "{one}": {chosen}, "{other}": {rejected}}}"#
        ))
    };
    for names in [
        ["score_chosen", "score_rejected"],
        ["chosen_score", "rejected_score"],
        ["chosen_rating", "rejected_rating"],
        ["chosen-rating", "rejected-rating"],
        ["reward_of_chosen", "reward_of_rejected"],
    ] {
        assert_eq!(row(names, "8.5", "\"3\""), Ok(instruction("q", "")));
        let swapped = row(names, "3", "8.5").unwrap_err();
        assert!(swapped.contains("row 1:") && swapped.contains("swap the answers"));
        let equal = row(names, "3", "3.0").unwrap_err();
        assert!(equal.ends_with("pair with equal scores (1)"), "{equal}");
        assert!(
            row(names, "\"good\"", "1")
                .unwrap_err()
                .contains("not a number")
        );
    }
}

#[test]
fn what_is_only_context_is_counted() {
    let notes = |name: &str, rows: &str| {
        let (_dir, path) = file(name, rows);
        data::demonstrations(&path, Format::Auto).map(|loaded| loaded.counts.notes)
    };
    let turns = format!("{SONG}, {}", answer("LA!"));
    let chat = format!("{{\"messages\": [{turns}]}}\n{{\"messages\": [{turns}]}}\n");
    let expected = "2 earlier assistant turns are context only: of a conversation the last answer \
                    is learnt";
    assert_eq!(notes("x.jsonl", &chat).unwrap(), [expected]);
    let (_dir, path) = file(
        "q.jsonl",
        r#"{"question_id": 1, "turns": ["a", "b", "c"], "category": "x"}"#,
    );
    let questions = data::prompts(&path, Format::Auto).unwrap();
    let expected = "2 later turns of questions are not used: the first one is the prompt";
    assert_eq!(questions.counts.notes, [expected]);
}
