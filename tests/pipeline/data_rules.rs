//! What the stages do with data that reads well but would teach something else.

use super::bad_input::{STAGES, refused};
use super::world::{World, tiny};
use serde_json::{Value, json};
use std::fs;

/// The first rows of a shipped file, as JSON lines, each changed by `change`.
fn rows(name: &str, n: usize, change: impl Fn(usize, &mut Value)) -> String {
    let rows: Vec<Value> = serde_json::from_str(&fs::read_to_string(tiny(name)).unwrap()).unwrap();
    let lines = rows.into_iter().take(n).enumerate().map(|(i, mut row)| {
        change(i, &mut row);
        format!("{row}\n")
    });
    lines.collect()
}

#[test]
fn a_field_that_grades_rows_is_refused_by_every_stage_until_it_is_ignored() {
    let world = World::with_reward();
    let grade = |i: usize, row: &mut Value| {
        if i == 2 {
            row["label"] = json!(false);
        }
    };
    for (stage, name) in
        STAGES
            .into_iter()
            .zip(["demonstrations.json", "comparisons.json", "prompts.json"])
    {
        let data = world.write("graded.jsonl", &rows(name, 30, grade));
        let result = stage(&world, "out", &format!("data.path={data}"));
        let says = [
            "graded.jsonl: row 3: field \"label\"",
            "keep only the rows whose answers are to be learnt, without the field",
        ];
        refused(&world, result, &says);
        let sets = format!("data.path={data} data.ignore=[\"label\"]");
        stage(&world, name, &sets).unwrap();
    }
}

#[test]
fn data_from_a_pipe_is_recorded_by_the_bytes_that_were_read() {
    let world = World::new();
    let (pipe, text) = (
        world.path("pipe"),
        rows("demonstrations.json", 30, |_, _| ()),
    );
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let sft = |text: &str, more: &str| {
        let (to, text) = (pipe.clone(), text.to_string());
        let writer = std::thread::spawn(move || fs::write(to, text));
        let result = world.sft("sft", &format!("data.path=~/pipe {more}"));
        writer.join().unwrap().unwrap();
        result
    };
    sft(&text, "").unwrap();
    let recorded = &world.info("sft")["data"]["sha256"];
    assert_eq!(*recorded, run::hash(text.as_bytes()));
    sft(&text, "resume train.max_steps=5").unwrap();
    let error = sft(
        &text.replacen("cherry", "walnut", 1),
        "resume train.max_steps=6",
    )
    .unwrap_err();
    assert!(
        error.to_string().contains("pipe has changed since"),
        "{error}"
    );
}

#[test]
fn a_held_out_prompt_counts_once_however_often_it_occurs() {
    let world = World::with_reward();
    let mut text = String::new();
    for i in 0..4 {
        for word in ["oak", "hat", "elm", "fox", "dog", "axe"] {
            let (chosen, rejected) = (format!("The words are {word} {i}."), format!("No {i}."));
            let prompt = format!("Copy this list: {word}.");
            let row = json!({"prompt": prompt, "chosen": chosen, "rejected": rejected});
            text += &format!("{row}\n");
        }
    }
    let data = world.write("many.jsonl", &text);
    let sets = format!("algorithm.name=dpo data.path={data} data.held_out=0.5");
    world.rl_by("dpo", &sets).unwrap();
    assert_eq!(world.info("dpo")["data"]["held_out_prompts"], 3);
    let held_out = fs::read(world.path("dpo/heldout.json")).unwrap();
    let held_out: Vec<data::Prompt> = serde_json::from_slice(&held_out).unwrap();
    let (once, n_repeated) = data::each_prompt_once(held_out);
    assert_eq!((once.len(), n_repeated), (3, 0));
    // rows of one prompt that is on both sides count once, too
    let sets = format!("data.path={data} data.eval_path={data}");
    world.reward("other", &sets).unwrap();
    assert_eq!(world.info("other")["data"]["held_out_in_training"], 6);
}

#[test]
fn an_empty_reference_is_refused_where_a_reward_compares_with_it() {
    let world = World::with_reward();
    let empty = |i: usize, row: &mut Value| {
        if i % 10 == 4 {
            row["output"] = json!(" ");
        }
    };
    let whole = tiny("prompts.json");
    let data = world.write("empty.jsonl", &rows("prompts.json", 30, empty));
    let rl = |sets: &str| {
        world.rl_by(
            "out",
            &format!("algorithm.name=reinforce rewards=[{{kind=\"bleu\"}}] {sets}"),
        )
    };
    for (sets, which) in [
        (
            format!("data.path={data} data.eval_path={whole}"),
            "training prompts",
        ),
        (
            format!("data.path={whole} data.eval_path={data}"),
            "prompts held out for evaluation",
        ),
    ] {
        let says = format!("3 of 30 {which} have none or an empty one (first: ");
        refused(&world, rl(&sets), &[&says, "empty.jsonl: row 5)"]);
    }
    // of large data, before it is tokenised
    let result = rl(&format!("data.path={data} data.memory_mb=0"));
    let says =
        "the rewards compare with reference answers, and 3 of 30 prompts have none or an empty";
    refused(&world, result, &[says, "empty.jsonl: row 5)"]);
}

#[test]
fn pairs_that_are_equal_after_truncation_are_dropped() {
    let world = World::with_reward();
    let long = "The words are oak hammer hat. ".repeat(30);
    let pair = |word: &str, long: &str| {
        let prompt = format!("Copy this list: {word}.");
        format!(
            "{}\n",
            json!({"prompt": prompt, "chosen": format!("{long} good"), "rejected": format!("{long} bad")})
        )
    };
    let words = ["oak", "hat", "elm", "fox", "dog", "axe"];
    let twins: String = words.iter().map(|word| pair(word, &long)).collect();
    let sets = "data.too_long=truncate_response";
    let data = world.write("twins.jsonl", &twins);
    let result = world.reward("out", &format!("{sets} data.held_out=0.5 data.path={data}"));
    refused(
        &world,
        result,
        &["twins.jsonl: no pair is left to train on"],
    );
    // one pair that stays different is trained on
    let words = ["boat", "coat", "goat", "moat"].iter();
    let mixed: String = words.map(|word| pair(word, "Maybe")).collect();
    let data = world.write("mixed.jsonl", &(twins + &mixed));
    world
        .reward(
            "rm2",
            &format!("{sets} data.path={data} data.eval_path={data}"),
        )
        .unwrap();
    assert_eq!(world.info("rm2")["data"]["train_pairs"], 4);
}

#[test]
fn a_missing_data_file_is_reported_with_the_one_that_is_like_it() {
    let world = World::new();
    world.write("train-rows.jsonl", "{}");
    for wrong in ["train_rows.jsonl", "train-rows.json"] {
        let error = world
            .sft("out", &format!("data.path=~/{wrong}"))
            .unwrap_err();
        let line = run::one_line(&error);
        assert!(line.contains("cannot be read"), "{line}");
        assert!(line.contains("train-rows.jsonl?"), "{line}");
    }
}
