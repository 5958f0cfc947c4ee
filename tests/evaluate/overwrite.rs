//! No command replaces a result unless it is told to.

use super::world::{World, refused};
use anyhow::Result;
use evaluate::{
    CompareConfig, MergeConfig, PlotConfig, ScoreConfig, TableConfig, compare, merge, plot, score,
    table,
};
use serde_json::json;
use std::path::Path;

type Command<'a> = Box<dyn Fn(bool) -> Result<String> + 'a>;

#[test]
fn no_command_replaces_a_result_unasked() {
    let world = World::new();
    world.sft("sft", 1);
    let (sft, rows) = (
        world.text("sft"),
        json!([{"instruction": "Copy this list: pine shirt.", "input": "", "output": "Owl."}]),
    );
    let prompts = world.write("prompts.json", &rows.to_string());
    let compared = world.path("compared");
    let commands: [(&str, Command); 5] = [
        (
            "compared/responses.jsonl",
            Box::new(|force| {
                let report = compare(&CompareConfig {
                    prompts: Some(prompts.clone()),
                    max_new_tokens: Some(3),
                    force,
                    ..CompareConfig::new(&[&sft], &compared)
                });
                Ok(report?.markdown())
            }),
        ),
        (
            "table.md",
            Box::new(|force| {
                table(&TableConfig {
                    compared: vec![compared.clone()],
                    out: Some(world.path("table.md")),
                    force,
                })
            }),
        ),
        (
            "plot.svg",
            Box::new(|force| {
                plot(&PlotConfig {
                    compared: Vec::new(),
                    runs: vec![world.path("sft")],
                    metric: Some("eval/loss".into()),
                    y: Vec::new(),
                    title: String::new(),
                    x: String::new(),
                    out: world.path("plot.svg"),
                    force,
                })
            }),
        ),
        (
            "scores.jsonl",
            Box::new(|_| {
                let mut config = ScoreConfig::new(&sft, &prompts);
                config.out = Some(world.path("scores.jsonl"));
                Ok(score(&config)?.to_string())
            }),
        ),
        (
            "merged/config.json",
            Box::new(|_| Ok(merge(&MergeConfig::new(&sft, &world.path("merged")))?.to_string())),
        ),
    ];
    let metrics = world.path("sft/metrics.jsonl");
    std::fs::write(&metrics, "{\"step\":1,\"eval/loss\":2.0}\n").unwrap();
    for (name, command) in &commands {
        check(&world.path(name), command);
    }
}

/// Only `score` and `merge` have no `--force`.
#[track_caller]
fn check(file: &Path, command: &Command) {
    command(false).unwrap();
    std::fs::write(file, "the first").unwrap();
    let read = || std::fs::read_to_string(file).unwrap();
    refused(command(false), "exists; choose another --out");
    assert_eq!(read(), "the first");
    match file.ends_with("scores.jsonl") || file.ends_with("merged/config.json") {
        true => refused(command(true), "exists; choose another --out"),
        false => {
            command(true).unwrap();
            assert_ne!(read(), "the first");
        }
    }
}
