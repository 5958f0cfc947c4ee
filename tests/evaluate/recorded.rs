//! Runs that recorded relative paths, opened from another directory than the one they were started
//! in: the tests' current directory is never the world's.

use super::world::{World, refused};
use evaluate::{CompareConfig, MergeConfig, ScoreConfig, compare, merge, score};
use serde_json::json;

#[test]
fn relative_paths_of_a_run_are_found_above_it() {
    let world = World::new();
    world.policy_run("sft", "sft", 1, &[("base", json!("base"))]);
    world.reward("rm");
    let facts = [
        ("base", json!("base")),
        ("reference", json!("sft")),
        ("reward", json!("rm")),
    ];
    world.policy_run("esrl", "esrl-rlhf", 2, &facts);
    let row = json!([{"instruction": "Copy this list: pine shirt.", "output": "Pine."}]);
    let data = world.write("data.json", &row.to_string());
    score(&ScoreConfig::new(&world.text("esrl"), &data)).unwrap();
    merge(&MergeConfig::new(
        &world.text("esrl"),
        &world.path("merged"),
    ))
    .unwrap();
    let config = CompareConfig {
        prompts: Some(data),
        max_new_tokens: Some(4),
        ..CompareConfig::new(&[&world.text("esrl")], &world.path("out"))
    };
    let report = compare(&config).unwrap();
    assert_eq!(report.reward.unwrap().name, "rm");
    assert!(report.rows[0].kl_exact.is_some(), "the reference was found");
}

#[test]
fn a_base_that_is_gone_is_named_with_its_place() {
    let world = World::new();
    let data = world.write("data.json", "[{\"instruction\": \"x\", \"output\": \"y\"}]");
    for (base, expected) in [
        (
            "some/base/here",
            "was trained on the base \"some/base/here\", and there is none at /",
        ),
        ("some/base/here", "/some/base/here nor at "),
        ("some/base/here", "name its place with model.base (--base"),
        (
            "/gone/base",
            "was trained on the base \"/gone/base\", and there is none;",
        ),
    ] {
        let name = format!("run{}", expected.len());
        world.policy_run(&name, "sft", 1, &[("base", json!(base))]);
        let run = world.text(&name);
        refused(score(&ScoreConfig::new(&run, &data)), expected);
        refused(merge(&MergeConfig::new(&run, &world.path("m"))), expected);
    }
    let missing = world.text("runs/nothing");
    refused(
        score(&ScoreConfig::new(&missing, &data)),
        "runs/nothing does not exist; give a run directory",
    );
}
