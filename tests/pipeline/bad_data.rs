//! Data that cannot be used: each stage fails with one line and writes nothing.

use super::bad_input::{STAGES, ppo, refused};
use super::world::{World, tiny};
use std::fs;

#[test]
fn broken_data_is_refused_by_every_stage() {
    let world = World::with_reward();
    let files = [
        ("empty.json", "", "is empty"),
        ("none.json", "[]", "has no rows"),
        ("text.json", "hello", "is not JSON"),
        (
            "fields.json",
            r#"[{"foo": "a", "bar": "b"}]"#,
            "fit no known format",
        ),
    ];
    let settings: [(&str, &[&str]); 10] = [
        (
            "data.path=nowhere.json",
            &["nowhere.json", "cannot be read"],
        ),
        ("data.path=~/base", &["base", "is a directory"]),
        (
            "data.format=alpacca",
            &["data.format", "did you mean \"alpaca\""],
        ),
        ("data.held_out=1.0", &["data.held_out = 1 is not in [0, 1)"]),
        ("data.max_rows=0", &["data.max_rows = 0"]),
        ("device=gpu", &["device \"gpu\"", "cpu, cuda"]),
        (
            "device=cuda",
            &[
                "device \"cuda\": this binary was built without CUDA",
                "--features cuda",
                "\"cpu\"",
            ],
        ),
        ("model.template=chatml", &["template \"chatml\"", "alpaca"]),
        (
            "train.seeds=1",
            &["unknown key \"train.seeds\"", "did you mean \"train.seed\""],
        ),
        ("train.seed", &["--set train.seed", "expected KEY=VALUE"]),
    ];
    for stage in STAGES {
        for (name, text, says) in files {
            let data = world.write(name, text);
            let result = stage(&world, "out", &format!("data.path={data}"));
            refused(&world, result, &[name, says]);
        }
        for (sets, says) in settings {
            refused(&world, stage(&world, "out", sets), says);
        }
    }
}

#[test]
fn data_of_the_wrong_kind_is_named_with_its_row() {
    let world = World::with_reward();
    let whole = fs::read_to_string(tiny("demonstrations.json")).unwrap();
    let data = world.write("cut.json", &whole[..5000]);
    refused(
        &world,
        world.sft("out", &format!("data.path={data}")),
        &["cut.json: row 34", "truncated"],
    );
    let data = world.write(
        "field.json",
        r#"[{"instruction":"a","output":"b"},{"instruction":"a"}]"#,
    );
    refused(
        &world,
        world.sft("out", &format!("data.path={data}")),
        &["field.json: row 2: field \"output\" is missing"],
    );
    let data = tiny("comparisons.json");
    refused(
        &world,
        world.sft("out", &format!("data.path={data}")),
        &["comparisons.json", "prompts with one answer"],
    );
    let data = tiny("demonstrations.json");
    refused(
        &world,
        world.reward("out", &format!("data.path={data}")),
        &["demonstrations.json", "pairs of answers"],
    );
}

#[test]
fn rows_beyond_the_context_are_refused_before_anything_is_written() {
    let world = World::with_reward();
    for stage in [World::sft, World::reward] {
        refused(
            &world,
            stage(&world, "out", "data.max_len=1000"),
            &["data.max_len = 1000", "context of 128"],
        );
        refused(
            &world,
            stage(&world, "out", "data.max_len=4"),
            &["left to train on", "raise data.max_len"],
        );
        refused(
            &world,
            stage(&world, "out", "data.max_len=20 data.too_long=error"),
            &["more than data.max_len = 20"],
        );
    }
    refused(
        &world,
        world.sft("out", "samples.max_new_tokens=500"),
        &["samples.max_new_tokens = 500", "context of 128"],
    );
    refused(
        &world,
        world.sft("out", "samples.max_new_tokens=0"),
        &["samples.max_new_tokens = 0"],
    );
    for (room, says) in [
        ("500", "= 500 fills the model's context of 128; lower it"),
        ("126", "lower reward.normalisation_max_new_tokens"),
        ("0", "= 0; it must be at least 1"),
    ] {
        let sets = format!("reward.normalisation_max_new_tokens={room}");
        let says = ["reward.normalisation_max_new_tokens", says];
        refused(&world, world.reward("out", &sets), &says);
    }
    refused(
        &world,
        world.reward("out", "data.held_out=0"),
        &["no pair is held out", "data.eval_path"],
    );
    refused(
        &world,
        ppo(&world, "out", "rollout.max_new_tokens=500"),
        &["rollout.max_new_tokens = 500", "context of 128"],
    );
    refused(
        &world,
        ppo(&world, "out", "data.max_prompt_len=3"),
        &["no row is left", "raise data.max_prompt_len"],
    );
}

#[test]
fn data_only_is_checked_before_the_model_is_loaded() {
    let world = World::with_reward();
    for stage in STAGES {
        let result = stage(&world, "out", "data.only=(a");
        let says = ["data.only", "is not a regular expression: unclosed group"];
        refused(&world, result, &says);
        let result = stage(&world, "out", "data.only=zebra.crossing");
        refused(
            &world,
            result,
            &["data.only = \"zebra.crossing\" matches none of its"],
        );
    }
}
