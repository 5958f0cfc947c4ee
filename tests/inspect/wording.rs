//! What a report says of records, in the words of each stage.

use super::{file, inspected, shape};
use crate::pipeline::world::World;
use inspect::Stage;

/// The page with its line breaks as blanks.
fn squeezed(line: &str) -> String {
    let page = inspected(line).unwrap().text(false);
    page.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn says(line: &str, expected: &str) {
    let page = squeezed(line);
    assert!(page.contains(expected), "{expected}\n{page}");
}

#[test]
fn a_stage_for_other_records_is_one_short_line() {
    let demonstrations = shape("alpaca.json");
    let short = "rm no: these are demonstrations; wick rm needs pairs rlhf";
    says(&demonstrations, short);
    let pairs = shape("preference.jsonl");
    says(
        &pairs,
        "sft no: these are pairs; wick sft needs demonstrations rm",
    );
    let prompts = shape("prompts.jsonl");
    says(
        &prompts,
        "sft no: field \"completion\" is missing (--stage sft says more) rm no: fields prompt fit no \
         format of pairs: they look like prompts alone, which esrl-rlhf samples answers to \
         (--stage rm says more)",
    );
    says(
        &shape("text.txt"),
        "rlhf no: these are texts without prompts; wick rlhf needs prompts",
    );
    assert!(!squeezed(&demonstrations).contains("but this stage needs"));
    let n = inspected(&demonstrations).unwrap().rows;
    let long =
        format!("refused {n}: holds demonstrations (Alpaca rows), but this stage needs pairs");
    says(&format!("{demonstrations} --stage rm"), &long);
}

#[test]
fn too_long_records_are_counted_where_the_stage_takes_the_others() {
    let row = |n: usize| {
        let prompt = "a ".repeat(n);
        format!("{{\"prompt\": \"{prompt}\", \"completion\": \"b\"}}\n")
    };
    let (_dir, path) = file("rows.jsonl", [row(1), row(90), row(2), row(95)].concat());
    let world = World::new();
    let line = format!("{path} --template raw --model {}", world.text("base"));
    let some = "takes it: 4 demonstrations, of which 2 are dropped: longer than data.max_len = 60 \
                (data.too_long)";
    says(&format!("{line} --max-len 60"), some);
    says(
        &format!("{line} --max-len 120"),
        "takes it: 4 demonstrations rm",
    );
    let rlhf = "takes it: 4 prompts, of which 2 are dropped: longer than data.max_prompt_len = 60";
    says(&format!("{line} --max-len 60 --stage rlhf"), rlhf);
    let report = inspected(&format!("{line} --max-len 2")).unwrap();
    let sft = &report.stages[Stage::Sft as usize];
    assert_eq!((sft.takes, sft.records), (false, 4));
    says(
        &format!("{line} --max-len 2"),
        "sft stops: 4 demonstrations, of which 4 are dropped: longer than data.max_len = 2",
    );
    // of a conversation whose answers are sequences of their own, some may be short enough
    let conversation = shape("messages.jsonl");
    let line = format!("{conversation} --model {} --max-len 70", world.text("base"));
    let lengths = inspected(&line).unwrap().lengths.unwrap();
    assert_eq!(lengths.records_partly_longer, Some(2));
    says(&line, "and a part of 2 more: longer than data.max_len = 70");
}

#[test]
fn notes_do_not_depend_on_the_examples() {
    let world = World::new();
    let line = format!("{} --model {}", shape("messages.jsonl"), world.text("base"));
    // rows are encoded by several threads, so which of them is named first may differ
    let findings = |n: usize| -> Vec<String> {
        let report = inspected(&format!("{line} --examples {n}")).unwrap();
        let notes = report.findings.iter();
        notes
            .map(|note| note.split(" (first").next().unwrap().to_string())
            .collect()
    };
    assert!(findings(0)[0].starts_with("these rows: 2 answers inside conversations"));
    assert_eq!(findings(0), findings(5));
}

#[test]
fn sequences_of_a_record_are_numbered_and_pairs_are_compared() {
    let world = World::new();
    let base = world.text("base");
    let line = format!("{} --model {base} --examples 2", shape("messages.jsonl"));
    says(
        &line,
        "messages.jsonl: row 1, answer 1 of 2: 60 tokens, 28 learnt",
    );
    says(
        &line,
        "messages.jsonl: row 1, answer 2 of 2: 98 tokens, 17 learnt",
    );
    says(&line, "messages.jsonl: row 2: 29 tokens, 7 learnt");
    let page = squeezed(&format!("{} --model {base}", shape("preference.jsonl")));
    assert!(
        page.contains("row 1, chosen: ") && page.contains(" compared "),
        "{page}"
    );
    assert!(!page.contains(" learnt"), "{page}");
    let page = squeezed(&format!(
        "{} --model {base} --stage rlhf",
        shape("messages.jsonl")
    ));
    assert!(!page.contains(" learnt"), "{page}");
}

#[test]
fn questions_are_counted_and_greetings_are_none() {
    let turn = |role: &str, text: &str, more: &str| {
        format!("{{\"role\": \"{role}\", \"content\": \"{text}\"{more}}}")
    };
    let row = |turns: &[String]| format!("{{\"messages\": [{}]}}\n", turns.join(","));
    let system = turn("system", "Be kind.", "");
    let [q, a] = [turn("user", "q", ""), turn("assistant", "a", "")];
    let greeting = turn("assistant", "Welcome", "");
    let weightless = turn("assistant", "w", ", \"weight\": 0");
    let rows = [
        row(&[system.clone(), greeting, q.clone(), a.clone()]),
        row(&[system, q.clone(), weightless, q.clone(), a.clone()]),
        row(&[q, a]),
    ];
    let (_dir, path) = file("rows.jsonl", rows.concat());
    let facts = inspected(&path).unwrap().conversations.unwrap();
    assert_eq!((facts.multi_turn, facts.assistant_first), (1, 1));
    assert_eq!((facts.earlier_learnt, facts.earlier_context), (1, 1));
    says(
        &path,
        "1 with several questions; 1 with an assistant turn before the first question",
    );
    says(
        &path,
        "2 earlier assistant turns: 1 learnt, too, and 1 context (of weight 0, or \
         without text)",
    );
    says(
        &path,
        "system 2 records with a system prompt, 1 distinct text",
    );
    let last = format!("{path} --train-on last");
    says(&last, "2 earlier assistant turns: context, not learnt");
}

#[test]
fn a_prompt_is_shown_with_its_reference_answer() {
    let row = "{\"question\": \"1 + 1?\", \"answer\": \"One and one.\\n#### 2\"}\n";
    let (_dir, path) = file("rows.jsonl", row);
    let report = inspected(&format!("{path} --stage rlhf")).unwrap();
    assert_eq!(
        report.examples[0].reference.as_deref(),
        Some("One and one.\n#### 2")
    );
    says(
        &format!("{path} --stage rlhf"),
        "user: 1 + 1? reference answer: One and one. #### 2 verdict",
    );
    assert_eq!(inspected(&path).unwrap().examples[0].reference, None);
}
