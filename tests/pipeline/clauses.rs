//! Clauses for MA-PPO from the splitter, a file or a program.

use super::bad_input::refused;
use super::world::World;
use serde_json::{Value, json};

const PARSING: &str =
    "algorithm.name=ma_ppo algorithm.termination=parsing train.keep_checkpoints=9";

/// Logs its requests to a file. Answers that each text has clauses at its start and at offset 9.
const PROGRAM: &str = r#"while read -r line; do
  printf '%s\n' "$line" >> LOG
  printf '%s\n' "$line" | awk '{ id = $0; sub(/^{"id":/, "", id); sub(/,.*/, "", id); sub(/.*"texts":/, "")
    n = gsub(/","/, "") + 1; s = ""; for (i = 0; i < n; i++) s = s (i ? "," : "") "[0,9]"
    print "{\"id\":" id ",\"starts\":[" s "]}" }'
done"#;

#[test]
fn clauses_come_from_the_splitter_a_file_or_a_program() {
    let world = World::with_reward();
    world.rl("split", PARSING).unwrap();
    let log = world.text("asked.jsonl");
    let program = world.write("parse.sh", &PROGRAM.replace("LOG", &log));
    let asks =
        format!("rollout.clauses.source=program rollout.clauses.command=[\"sh\",\"{program}\"]");
    world.rl("asked", &format!("{PARSING} {asks}")).unwrap();
    let per_response = |run: &str, step: u64| world.at(run, step)["macro/per_response"];
    for step in 1..=4 {
        let cut = per_response("asked", step);
        assert!(cut > 1.0 && cut <= 2.0, "two clauses at most, found {cut}");
        assert!(
            !world
                .at("split", step)
                .contains_key("rollout/clauses_missing")
        );
    }

    // with a file that knows none of the answers, the splitter is used
    let file = world.write(
        "none.jsonl",
        "\n{\"text\": \"no such text\", \"starts\": [0, 3]}\n",
    );
    let reads =
        |file: &str| format!("{PARSING} rollout.clauses.source=file rollout.clauses.path={file}");
    world.rl("none", &reads(&file)).unwrap();
    for step in 1..=4 {
        let mut at = world.at("none", step);
        assert_eq!(at.remove("rollout/clauses_missing"), Some(1.0));
        assert_eq!(at, world.at("split", step));
    }
    // a file with those of the first step
    let asked = std::fs::read_to_string(log).unwrap();
    let first: Value = serde_json::from_str(asked.lines().next().unwrap()).unwrap();
    let texts = first["texts"].as_array().unwrap().iter();
    let line = |text: &Value| format!("{}\n", json!({"text": text, "starts": [0]}));
    let lines: String = texts.map(line).collect();
    world
        .rl("known", &reads(&world.write("known.jsonl", &lines)))
        .unwrap();
    assert_eq!(world.at("known", 1)["rollout/clauses_missing"], 0.0);
    assert_eq!(per_response("known", 1), 1.0);
}

#[test]
fn invalid_clause_sources_are_refused_before_loading() {
    let world = World::with_reward();
    let run = |sets: &str| {
        let sets = sets.replace("clauses.", "rollout.clauses.");
        world.rl("out", &format!("{PARSING} {sets}"))
    };
    let bad = world.write(
        "bad.jsonl",
        "{\"text\": \"a\", \"starts\": [0]}\n{\"text\": \"b\"}\n",
    );
    let twice = world.write(
        "twice.jsonl",
        "{\"text\": \"a b\", \"starts\": [0]}\n{\"text\": \"a b\", \"starts\": [0, 2]}\n",
    );
    for (sets, words) in [
        ("clauses.source=words", ["clauses.source", "splitter"]),
        (
            "clauses.source=file",
            ["rollout.clauses.path is missing", "file"],
        ),
        (
            "clauses.source=program",
            ["rollout.clauses.command is missing", "program"],
        ),
        (
            "clauses.source=program clauses.command=[]",
            ["rollout.clauses.command is missing", "program"],
        ),
        (
            "clauses.timeout_secs=0",
            ["rollout.clauses.timeout_secs = 0", "above 0"],
        ),
        (
            "clauses.timeout_secs=1e300",
            ["rollout.clauses.timeout_secs = 1", "at most"],
        ),
    ] {
        refused(&world, run(sets), &words);
    }
    for (sets, words) in [
        (
            "clauses.source=file clauses.path=/no/such",
            vec!["cannot read /no/such"],
        ),
        (
            &format!("clauses.source=file clauses.path={bad}"),
            vec!["bad.jsonl", "line 2", "starts"],
        ),
        (
            &format!("clauses.source=file clauses.path={twice}"),
            vec!["twice.jsonl, line 2", "splits the same text in another way"],
        ),
        (
            "clauses.source=program clauses.command=[\"/no/such\"]",
            vec!["/no/such", "cannot be started"],
        ),
    ] {
        refused(&world, run(sets), &words);
    }
}
