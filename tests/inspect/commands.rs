//! The command that a report proposes sees what the report saw.

use super::{file, shape, text};
use crate::pipeline::world::World;
use clap::Parser;
use inspect::{InspectCommand, Report, Stage};
use std::process::Command;

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    command: InspectCommand,
}

/// The report of these words, which may hold blanks.
fn inspected(words: &[&str]) -> anyhow::Result<Report> {
    let line = std::iter::once("wick").chain(words.iter().copied());
    Line::try_parse_from(line)?.command.report()
}

/// The values of `--set` as a shell hands them on.
fn sets(command: &str) -> Vec<String> {
    let script = format!("printf '%s\\n' {command}");
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "{command}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let words: Vec<&str> = lines.lines().collect();
    let pairs = words.windows(2).filter(|pair| pair[0] == "--set");
    pairs.map(|pair| pair[1].to_string()).collect()
}

fn proposed(report: &Report, stage: Stage) -> Vec<String> {
    let facts = &report.stages[stage as usize];
    sets(facts.command.as_deref().expect("it is taken"))
}

#[test]
fn a_shell_hands_every_setting_to_the_stage() {
    let (dir, path) = file(
        "my 'own' rows.jsonl",
        "{\"prompt\": \"12\", \"completion\": \"b\", \"an id\": 1}\n",
    );
    let other = text(&dir.path().join("2.jsonl"));
    std::fs::copy(&path, &other).unwrap();
    for only in ["12", "[0-9]+", "true|12", "a|12", "\"?12", "2$"] {
        let report = inspected(&[
            &path,
            &other,
            "--only",
            only,
            "--ignore",
            "an id,x",
            "--max-len",
            "77",
            "--train-on",
            "last",
            "--format",
            "prompt_completion",
        ]);
        let sets = proposed(&report.unwrap(), Stage::Sft);
        let config: sft::Config = run::load_config(None, &sets).unwrap();
        config.check().unwrap();
        let data = &config.data;
        assert_eq!(data.path.to_string(), format!("{path}, {other}"));
        assert_eq!(String::from(data.only.clone().unwrap()), only);
        assert_eq!(data.ignore, ["an id", "x"]);
        assert_eq!(
            (data.max_len, data.train_on),
            (77, Some(data::TrainOn::Last))
        );
        assert_eq!(data.format, data::Format::PromptCompletion);
    }
}

#[test]
fn a_number_as_a_regular_expression_stays_a_text() {
    let (_dir, path) = file("a.jsonl", "{\"prompt\": \"12\", \"completion\": \"b\"}\n");
    let report = inspected(&[&path, "--only", "12"]).unwrap();
    let sets = proposed(&report, Stage::Sft);
    assert!(sets.contains(&"data.only=\"12\"".to_string()), "{sets:?}");
}

#[test]
fn the_longest_sequence_fits_the_model() {
    let world = World::new();
    let base = world.text("base");
    let path = shape("messages.jsonl");
    let report = inspected(&[&path, "--model", &base]).unwrap();
    assert_eq!(report.lengths.as_ref().unwrap().max_len, 128);
    let config: sft::Config = run::load_config(None, &proposed(&report, Stage::Sft)).unwrap();
    config.data.check_context(128).unwrap();
    assert_eq!(config.data.max_len, 128);
    // half of it for the answers, as 128 tokens of them would leave no room
    let rlhf = proposed(&report, Stage::Rlhf);
    let config: esrl_rlhf::Config = run::load_config(None, &rlhf).unwrap();
    assert_eq!(
        (config.data.max_prompt_len, config.rollout.max_new_tokens),
        (64, 64)
    );
    let error = inspected(&[&path, "--model", &base, "--max-len", "129"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "--max-len 129 is more than the model's context of 128; give 128 or less"
    );
    assert!(inspected(&[&path, "--max-len", "1"]).is_err());
    let report = inspected(&[&path]).unwrap();
    let sets = proposed(&report, Stage::Sft);
    assert!(sets.iter().all(|set| !set.contains("max_len")), "{sets:?}");
}

/// A model with a chat template.
fn chat_model(world: &World) -> String {
    let base = world.path("base");
    let template = "{% for m in messages %}<s>{{ m['role'] }}\n{{ m['content'] }}</s>{% endfor %}\
                    {% if add_generation_prompt %}<s>assistant\n{% endif %}";
    let file = base.join("tokenizer_config.json");
    let read = std::fs::read_to_string(&file).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&read).unwrap();
    config["chat_template"] = template.into();
    std::fs::write(&file, config.to_string()).unwrap();
    world.text("base")
}

#[test]
fn the_template_is_named_and_set_where_the_stage_would_take_another() {
    let world = World::new();
    let path = shape("messages.jsonl");
    let base = world.text("base");
    let report = inspected(&[&path, "--model", &base]).unwrap();
    let page = report.text(false);
    assert!(
        page.contains("\ntemplate   alpaca (the model has no chat template)\n"),
        "{page}"
    );
    assert!(page.contains("Alpaca's template has no turns"), "{page}");
    let base = chat_model(&world);
    let template = |words: &[&str], stage: Stage| {
        let words = [&[path.as_str(), "--model", &base], words].concat();
        let report = inspected(&words).unwrap();
        let sets = proposed(&report, stage);
        let set = sets
            .into_iter()
            .find(|set| set.starts_with("model.template"));
        (report.template.unwrap(), set)
    };
    let (facts, set) = template(&[], Stage::Sft);
    assert_eq!(
        (facts.name, facts.of, facts.default),
        ("chat", "model", Some("alpaca"))
    );
    assert_eq!(set.as_deref(), Some("model.template=chat"));
    let (facts, set) = template(&["--template", "alpaca"], Stage::Sft);
    assert_eq!(
        (facts.name, facts.of, facts.default),
        ("alpaca", "given", None)
    );
    assert_eq!(set, None);
    // rm and rlhf take the model's own
    let (facts, set) = template(&["--template", "alpaca", "--stage", "rlhf"], Stage::Rlhf);
    assert_eq!((facts.name, facts.default), ("alpaca", Some("chat")));
    assert_eq!(set.as_deref(), Some("model.template=alpaca"));
    let (_, set) = template(&["--stage", "rlhf"], Stage::Rlhf);
    assert_eq!(set, None);
    let page = inspected(&[&path, "--model", &base]).unwrap().text(false);
    assert!(
        page.contains(
            "\ntemplate   chat (of the model); by itself wick sft takes alpaca, so the command\n"
        ),
        "{page}"
    );
    assert!(!page.contains("Alpaca's template has no turns"), "{page}");
}

#[test]
fn a_file_by_two_names_is_refused_as_by_the_stage() {
    let (dir, path) = file("rows.jsonl", "{\"prompt\": \"a\", \"completion\": \"b\"}\n");
    let link = dir.path().join("link.jsonl");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for words in [vec![&*path, &*text(&link)], vec![&*text(dir.path())]] {
        let error = inspected(&words).unwrap_err().to_string();
        assert!(error.contains("weight in [[data.sources]]"), "{error}");
    }
    let both = format!("{} and {path} are one file; ", text(&link));
    let error = inspected(&[&text(dir.path())]).unwrap_err().to_string();
    assert!(error.starts_with(&both), "{error}");
}

#[test]
fn columns_of_the_command_line_are_those_of_the_stage() {
    let rows = "{\"dialogue\": \"a\", \"the summary\": \"b\"}\n";
    let (dir, path) = file("rows.jsonl", rows);
    let names = "prompt=dialogue,completion=the summary";
    let report = inspected(&[&path, "--columns", names]).unwrap();
    let config: sft::Config = run::load_config(None, &proposed(&report, Stage::Sft)).unwrap();
    let found = config.data.columns.into_iter().collect::<Vec<_>>();
    let expected = [("completion", "the summary"), ("prompt", "dialogue")];
    assert_eq!(found, expected.map(|(a, b)| (a.to_string(), b.to_string())));
    let out = text(&dir.path().join("out.jsonl"));
    let line = format!("{path} --out {out} --columns prompt=dialogue,completion=no");
    let error = super::converted(&line).unwrap_err().to_string();
    assert!(error.contains("but no row has that field"), "{error}");
    let renamed = rows.replace("the summary", "summary");
    std::fs::write(&path, renamed).unwrap();
    let line = format!("{path} --out {out} --columns prompt=dialogue,completion=summary");
    super::converted(&line).unwrap();
    let written = std::fs::read_to_string(&out).unwrap();
    assert!(written.contains("\"content\":\"a\"") && written.contains("\"content\":\"b\""));
    let twice = inspected(&[&path, "--columns", "prompt=a,prompt=b"]).unwrap_err();
    assert!(twice.to_string().starts_with("--columns reads \"prompt\""));
}
