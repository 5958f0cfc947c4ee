//! `--config`: the rows of a stage's config.

use super::{file, inspected, text};
use crate::common::refused;
use inspect::Stage;

const ROW: &str = "{\"prompt\": \"PROMPT\", \"completion\": \"b\", \"score\": 3}\n";

fn rows(prompts: &[&str]) -> String {
    let rows = prompts.iter().map(|prompt| ROW.replace("PROMPT", prompt));
    rows.collect()
}

#[test]
fn a_mixture_is_read_as_the_stage_reads_it() {
    let (dir, a) = file("a.jsonl", rows(&["1", "2", "3"]));
    let chat = "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}, \
                {\"role\": \"assistant\", \"content\": \"y\"}]}\n";
    let b = text(&dir.path().join("b.jsonl"));
    std::fs::write(&b, chat.repeat(4)).unwrap();
    let config = text(&dir.path().join("sft.toml"));
    let toml = format!(
        "[model]\nsource = \"m\"\n[data]\nmax_len = 99\nignore = [\"id\"]\nheld_out = 0.5\n\
         train_on = \"last\"\n[[data.sources]]\npath = \"{a}\"\nweight = 4.0\nmax_rows = 2\n\
         ignore = [\"score\"]\n[[data.sources]]\npath = \"{b}\"\n"
    );
    std::fs::write(&config, toml).unwrap();
    let report = inspected(&format!("--config {config} --set data.max_len=88")).unwrap();
    assert_eq!(report.paths, [a.clone(), b.clone()]);
    let mixture = report.mixture.iter();
    let mixture: Vec<_> = mixture
        .map(|m| (m.path.clone(), m.rows, m.visits))
        .collect();
    assert_eq!(mixture, [(a.clone(), 2, 8), (b.clone(), 4, 4)]);
    assert!((report.mixture[0].share - 8.0 / 12.0).abs() < 1e-12);
    assert_eq!(report.lengths.as_ref().unwrap().max_len, 88);
    assert_eq!(report.held_out.share, 0.5);
    let sft = &report.stages[Stage::Sft as usize];
    assert_eq!((sft.records, sft.takes), (6, true));
    assert_eq!(sft.dropped[0].reason, "after the first data.max_rows");
    assert_eq!(
        sft.command.as_deref(),
        Some(&*format!(
            "wick sft --config {config} --set data.max_len=88 --run runs/sft"
        ))
    );
    // the shapes of both, and an example of each
    let names: Vec<&str> = report.formats.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["prompt/completion", "chat"]);
    let shown: Vec<&str> = report.examples.iter().map(|e| e.place.as_str()).collect();
    let expected = [format!("{a}: row 1"), format!("{a}: row 2")];
    assert_eq!(shown[..2], expected);
    assert_eq!(shown[2..], [format!("{b}: row 1"), format!("{b}: row 2")]);
    let page = report.text(false);
    let squeezed = page.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        squeezed.contains(&format!(
            "mixture {a}: 2 rows, 8 visits in an epoch, 66.7 %"
        )),
        "{page}"
    );
    // the command line counts
    let line = format!("--config {config} --ignore score --max-len 70 --train-on all");
    let report = inspected(&line).unwrap();
    let command = report.stages[0].command.clone().unwrap();
    let expected = "--set 'data.ignore=[\"id\",\"score\"]' --set data.max_len=70 --set \
                    data.train_on=all";
    assert!(command.contains(expected), "{command}");
}

#[test]
fn a_config_of_rlhf_has_its_own_keys() {
    let (dir, a) = file("a.jsonl", rows(&["1", "2"]));
    let config = text(&dir.path().join("rlhf.toml"));
    let toml = format!(
        "[model]\npolicy = \"runs/sft\"\n[data]\npath = \"{a}\"\nmax_prompt_len = 33\n\
         ignore = [\"score\"]\n[algorithm]\nname = \"ppo\"\n"
    );
    std::fs::write(&config, toml).unwrap();
    let report = inspected(&format!("--config {config}")).unwrap();
    assert_eq!((report.stage, report.mixture.len()), (Stage::Rlhf, 0));
    assert_eq!(report.lengths.unwrap().max_len, 33);
}

#[test]
fn a_wrong_config_is_one_line() {
    let (dir, a) = file("a.jsonl", rows(&["1"]));
    let config = text(&dir.path().join("sft.toml"));
    std::fs::write(&config, "[data]\nfiles = \"x\"\n").unwrap();
    let error = inspected(&format!("--config {config}"))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with(&format!("config file {config}: unknown key \"data.files\"")),
        "{error}"
    );
    std::fs::write(&config, "[model]\nsource = \"x\"\n").unwrap();
    refused(
        inspected(&format!("--config {config}")),
        "data.path is missing: a file, a directory, a pattern or hub:org/name, or a list of these",
    );
    assert!(inspected(&format!("{a} --config {config}")).is_err());
    refused(
        inspected(&format!("{a} --set data.max_len=3")),
        "--set overrides a setting of --config FILE, which is not given",
    );
}

#[test]
fn of_several_paths_each_is_shown() {
    let (dir, a) = file(
        "a.jsonl",
        "{\"prompt\": \"1\", \"completion\": \"b\"}\n".repeat(9),
    );
    let b = text(&dir.path().join("b.csv"));
    std::fs::write(&b, "instruction,output\nx,1\ny,2\n").unwrap();
    let report = inspected(&format!("{a} {b} --rows 1 --examples 1")).unwrap();
    assert_eq!((report.rows, report.is_beginning), (2, true));
    let shown: Vec<&str> = report.examples.iter().map(|e| e.place.as_str()).collect();
    assert_eq!(shown, [format!("{a}: row 1"), format!("{b}: row 1")]);
    let formats = report.formats.iter();
    let formats: Vec<_> = formats
        .map(|f| (f.name.as_str(), f.first_file.as_str()))
        .collect();
    assert_eq!(formats, [("prompt/completion", &*a), ("Alpaca", &*b)]);
    // of a directory one of each format at least
    let dir = text(dir.path());
    let report = inspected(&format!("{dir} --examples 2")).unwrap();
    assert_eq!(report.examples.len(), 3);
    assert_eq!(report.examples[2].place, format!("{b}: row 1"));
}

#[test]
fn rows_that_the_stage_does_not_take_are_shown_as_another_takes_them() {
    let (dir, a) = file(
        "a.jsonl",
        "{\"prompt\": \"1\", \"chosen\": \"b\", \"rejected\": \"c\"}\n",
    );
    let b = text(&dir.path().join("b.jsonl"));
    std::fs::write(&b, "{\"prompt\": \"2\", \"completion\": \"b\"}\n").unwrap();
    let report = inspected(&format!("{a} {b}")).unwrap();
    let shown = report.examples.iter();
    let shown: Vec<_> = shown
        .map(|e| (e.place.as_str(), e.sequences.len()))
        .collect();
    let places = [format!("{a}: row 1"), format!("{b}: row 1")];
    assert_eq!(shown, [(&*places[0], 2), (&*places[1], 1)]);
    let page = report.text(false);
    let squeezed = page.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        squeezed.contains(
            "sft no: some rows are pairs; wick sft needs demonstrations rm stops at 1 row, see \
             refused; the rest: 1 pair rlhf"
        ),
        "{page}"
    );
}
