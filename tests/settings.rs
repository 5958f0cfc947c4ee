//! `run::load_config`: overrides, and a one-line error for each mistake in the settings.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    data: Data,
    train: Train,
    rewards: Vec<Reward>,
    targets: Vec<String>,
    algorithm: toml::Table,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Data {
    path: PathBuf,
    max_rows: Option<usize>,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Train {
    lr: f64,
    max_steps: usize,
    schedule: Schedule,
    shuffle: bool,
    note: String,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Schedule {
    #[default]
    Constant,
    Linear,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reward {
    name: String,
    #[serde(default)]
    weight: f32,
}

const FILE: &str = r#"
targets = ["q", "v"]
[data]
path = "a.json"
[train]
lr = 1e-4
max_steps = 100
[[rewards]]
name = "bleu"
"#;

/// Loads `text` as x.toml with the overrides. Errors are returned without the temporary directory.
fn load(text: &str, sets: &[&str]) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.toml");
    std::fs::write(&file, text).unwrap();
    let sets: Vec<String> = sets.iter().map(ToString::to_string).collect();
    let shown = format!("{}/", dir.path().display());
    run::load_config(Some(&file), &sets).map_err(|e| run::one_line(&e).replace(&shown, ""))
}

#[track_caller]
fn check_error(text: &str, sets: &[&str], expected: &str) {
    assert_eq!(
        load(text, sets).expect_err("this should be refused"),
        expected
    );
}

#[test]
fn the_file_is_read_and_defaults_fill_the_rest() {
    let config = load(FILE, &[]).unwrap();
    assert_eq!(
        config.data,
        Data {
            path: "a.json".into(),
            max_rows: None
        }
    );
    assert_eq!(
        config.train,
        Train {
            lr: 1e-4,
            max_steps: 100,
            ..Train::default()
        }
    );
    assert_eq!(
        config.rewards,
        [Reward {
            name: "bleu".into(),
            weight: 0.0
        }]
    );
}

#[test]
fn overrides_are_parsed_as_toml_or_kept_as_text() {
    let sets = [
        "train.lr=3e-5",
        "train.schedule=linear",
        "train.shuffle = true",
        "train.note=a b, \"c\" = d",
        "data.path=../other data/b.json",
        "data.max_rows=7",
        "targets=[\"gate\", 'up']",
        "rewards.0.weight=2",
        "algorithm.name=ppo",
        "algorithm.clip={ ratio = 0.2 }",
        "algorithm.\"odd.key\"='1'",
        "train.max_steps=1",
        "train.max_steps=50",
    ];
    let config = load(FILE, &sets).unwrap();
    let train = Train {
        lr: 3e-5,
        max_steps: 50,
        schedule: Schedule::Linear,
        shuffle: true,
        note: "a b, \"c\" = d".into(),
    };
    assert_eq!(config.train, train);
    assert_eq!(
        config.data,
        Data {
            path: "../other data/b.json".into(),
            max_rows: Some(7)
        }
    );
    assert_eq!(config.targets, ["gate", "up"]);
    assert_eq!(config.rewards[0].weight, 2.0);
    let algorithm = "name = 'ppo'\nclip = { ratio = 0.2 }\n\"odd.key\" = '1'";
    assert_eq!(config.algorithm, algorithm.parse::<toml::Table>().unwrap());
}

#[test]
fn overrides_alone_are_enough() {
    let sets = ["data.path=b.json".to_string(), "train.lr=1".to_string()];
    let config: Config = run::load_config(None, &sets).unwrap();
    assert_eq!((config.data.path, config.train.lr), ("b.json".into(), 1.0));
}

#[test]
fn an_unknown_key_names_its_place_and_the_nearest_known_one() {
    let text = FILE.replace("lr =", "lrr =");
    check_error(
        &text,
        &[],
        r#"config file x.toml: unknown key "train.lrr"; did you mean "train.lr"?"#,
    );
    check_error(
        FILE,
        &["train.step=3"],
        r#"--set train.step=3: unknown key "train.step"; did you mean "train.max_steps"?"#,
    );
    check_error(
        FILE,
        &["trian.lr=3"],
        r#"--set trian.lr=3: unknown key "trian"; did you mean "train"?"#,
    );
    let text = format!("{FILE}wieght = 2\n");
    check_error(
        &text,
        &[],
        r#"config file x.toml: unknown key "rewards[0].wieght"; did you mean "rewards[0].weight"?"#,
    );
}

#[test]
fn a_wrong_type_says_what_was_found_and_what_is_expected() {
    let of = |set: &str, rest: &str| check_error(FILE, &[set], &format!("--set {set}: {rest}"));
    of(
        "train.lr=fast",
        r#""train.lr" is the string "fast", expected a number"#,
    );
    of(
        "train.max_steps=-1",
        r#""train.max_steps" is the integer -1, expected a whole number, 0 or more"#,
    );
    of(
        "train.max_steps=1.5",
        r#""train.max_steps" is the floating point 1.5, expected a whole number, 0 or more"#,
    );
    of(
        "train.shuffle=1",
        r#""train.shuffle" is the integer 1, expected true or false"#,
    );
    of(
        "targets=q",
        r#""targets" is the string "q", expected an array"#,
    );
    of(
        "targets=[1]",
        r#""targets[0]" is the integer 1, expected a string"#,
    );
    of("train=3", r#""train" is the integer 3, expected a table"#);
    of(
        "data.path=3",
        r#""data.path" is the integer 3, expected a path (a string)"#,
    );
    of(
        "train.schedule=lniear",
        r#""train.schedule" is "lniear", expected one of "constant", "linear""#,
    );
    let text = FILE.replace("1e-4", "'x'");
    check_error(
        &text,
        &[],
        r#"config file x.toml: "train.lr" is the string "x", expected a number"#,
    );
}

#[test]
fn a_missing_key_is_named_in_full() {
    check_error(
        &FILE.replace("path = \"a.json\"", ""),
        &[],
        r#"config file x.toml: "data.path" is missing"#,
    );
    check_error(
        "[[rewards]]\nweight = 1\n",
        &[],
        r#"config file x.toml: "rewards[0].name" is missing"#,
    );
}

#[test]
fn an_override_needs_an_existing_place() {
    let of = |set: &str, rest: &str| check_error(FILE, &[set], &format!("--set {set}: {rest}"));
    of("train.lr", "expected KEY=VALUE, such as train.max_steps=50");
    of("train..lr=1", "\"train..lr\" is not a key");
    of("=1", "\"\" is not a key");
    of("train.lr.peak=1", "train.lr is a float, not a table");
    of(
        "rewards.1.weight=1",
        "rewards is an array of 1; \"1\" is not an index into it",
    );
}

#[test]
fn broken_and_missing_files_are_named() {
    check_error(
        "a = 1\nb = [1, \n",
        &[],
        "config file x.toml, line 2: unclosed array, expected `]`",
    );
    let error = run::load_config::<Config>(Some("no/such.toml".as_ref()), &[]).unwrap_err();
    let place = std::path::absolute("no/such.toml").unwrap();
    let expected = format!(
        "config file no/such.toml: No such file or directory (os error 2) (looked for {})",
        place.display()
    );
    assert_eq!(run::one_line(&error), expected);
}

#[test]
fn a_table_parsed_later_gives_the_same_messages() {
    let table: toml::Table = "lrr = 1".parse().unwrap();
    let error = run::from_table::<Train>(&table, "algorithm.optimizer").unwrap_err();
    let expected = r#"settings: unknown key "algorithm.optimizer.lrr"; did you mean "algorithm.optimizer.lr"?"#;
    assert_eq!(run::one_line(&error), expected);
}

#[test]
fn an_error_is_one_line_without_repetition_or_frames() {
    let inner = anyhow::anyhow!("cannot open\n   the file\n   0: core::frame\n  1: main");
    let error = inner
        .context("reading: cannot open the file")
        .context("stage");
    assert_eq!(
        run::one_line(&error),
        "stage: reading: cannot open the file"
    );
}

#[test]
fn an_override_without_a_value_unsets_its_key() {
    let config = load(FILE, &["data.max_rows=5", "data.max_rows=", "train.lr="]).unwrap();
    assert_eq!((config.data.max_rows, config.train.lr), (None, 0.0));
    assert_eq!(load(FILE, &["train.note=\"\""]).unwrap().train.note, "");
    let nothing = "there is nothing to unset (an empty text is \"\")";
    for set in ["data.max_rows=", "data.max_row=", "train.lr.peak="] {
        check_error(FILE, &[set], &format!("--set {set}: {nothing}"));
    }
}

/// Products of such numbers would overflow.
#[test]
fn numbers_that_are_too_large_are_refused() {
    let most = 1_000_000_000;
    let n = i64::MAX;
    check_error(
        FILE,
        &["data.max_rows=9223372036854775807"],
        &format!(
            "--set data.max_rows=9223372036854775807: data.max_rows = {n} is too large; the most is {most}"
        ),
    );
    check_error(
        &FILE.replace("100", "9223372036854775807"),
        &[],
        &format!(
            "config file x.toml: train.max_steps = {n} is too large; the most is 1000000000000000"
        ),
    );
    let config = load(
        FILE,
        &["data.max_rows=1000000000", "train.max_steps=1000000000000"],
    )
    .unwrap();
    assert_eq!(config.data.max_rows, Some(most));
}

/// A run stores its settings.
#[test]
fn a_key_in_a_setting_is_refused_and_not_repeated() {
    for url in [
        "https://me:pass@host/v1",
        "https://host/v1?auth=abcdefgh",
        "https://host/v1#token=abcdefgh",
        "https://host/sk-abcdefgh12345678/v1",
    ] {
        let set = format!("rewards.0.name={url}");
        let error = load(FILE, &[&set]).unwrap_err();
        assert!(
            error.contains("rewards.0.name holds a key or password"),
            "{error}"
        );
        assert!(
            !error.contains("pass@") && !error.contains("abcdefgh"),
            "{error}"
        );
    }
}

#[test]
fn a_message_that_begins_with_a_number_is_no_stack_frame() {
    let error = anyhow::anyhow!("2024: no such file");
    assert_eq!(run::one_line(&error), "2024: no such file");
    assert_eq!(
        run::one_line(&anyhow::anyhow!("")),
        "an error without a message"
    );
}
