//! Faults in whole runs, and the warnings and errors that they give.

use super::same::check_resume;
use super::world::{World, tiny};
use serde_json::Value;
use std::fs;

fn failed_batch(world: &World, run: &str, step: u64) -> Value {
    let file = world.path(&format!("{run}/failed/step-{step:06}.json"));
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

/// A reward for length alone.
const HACKED: &str = "algorithm.name=rloo rewards=[{kind=\"length\",min=48}] watch.window=2";

#[test]
fn a_reward_for_length_warns_and_stops_the_run_with_watch_stop() {
    let world = World::with_reward();
    world.rl_by("noted", HACKED).unwrap(); // all answers soon have all the tokens there are
    assert_eq!(world.info("noted")["status"], "finished");
    assert_eq!(world.info("noted")["warnings"]["length_correlation"], 1);
    assert!(world.curve("noted", "watch/length_correlation")[1] > 0.99);
    assert_eq!(world.curve("noted", "watch/warnings")[0], 0.0);

    world
        .rl_by("stopped", &format!("{HACKED} watch.stop=true"))
        .unwrap();
    assert_eq!(world.info("stopped")["status"], "stopped");
    assert!(world.path("stopped/checkpoints/step-000002").is_dir());
    world
        .rl_by("stopped", &format!("resume {HACKED} watch.stop=false"))
        .unwrap();
    assert_eq!(world.info("stopped")["status"], "finished");
    assert_eq!(world.info("stopped")["warnings"]["length_correlation"], 1);
}

#[test]
fn a_run_with_warnings_resumes_exactly() {
    check_resume(&World::with_reward(), World::rl_by, "train.steps", HACKED);
}

#[test]
fn a_gap_between_sampler_and_scorer_stops_the_run_before_the_update() {
    let world = World::with_reward();
    // With thresholds this small, rounding alone is a gap.
    for (run, sets, expected) in [
        (
            "gap",
            "watch.sampler_gap=1e-12",
            "the log-probs of the sampler and of the training forward differ by",
        ),
        (
            "ratio",
            "rollout.rescore=false watch.first_kl=1e-30",
            "at the first minibatch policy/approxkl is",
        ),
    ] {
        let error = world
            .rl(run, &format!("algorithm.name=ppo {sets}"))
            .unwrap_err();
        let line = run::one_line(&error);
        assert!(
            line.starts_with("step 1: ") && line.contains(expected),
            "{line}"
        );
        assert!(line.contains("no update was made"), "{line}");
        assert!(line.contains("its batch is in"), "{line}");
        let batch = failed_batch(&world, run, 1);
        let row = &batch["rows"][0];
        let n = row["ids"].as_array().unwrap().len() as u64 - row["prompt_len"].as_u64().unwrap();
        for column in [
            "logp_sampled",
            "logp_old",
            "logp_ref",
            "values",
            "advantages",
        ] {
            assert_eq!(row[column].as_array().unwrap().len() as u64, n, "{column}");
        }
        assert!(row["reward"].is_f64(), "{row}");
    }
}

#[test]
fn held_out_prompts_in_the_training_data_are_counted() {
    let world = World::new();
    let rows = fs::read_to_string(tiny("demonstrations.json")).unwrap();
    let rows: Vec<Value> = serde_json::from_str(&rows).unwrap();
    let eval = world.write("eval.json", &serde_json::to_string(&rows[25..35]).unwrap());
    world.sft("sft", &format!("data.eval_path={eval}")).unwrap();
    let keys = |rows: &[Value]| -> Vec<String> {
        rows.iter()
            .map(|r| format!("{}|{}", r["instruction"], r["input"]))
            .collect()
    };
    let train = keys(&rows[..30]);
    let shared = keys(&rows[25..35])
        .iter()
        .filter(|key| train.contains(key))
        .count();
    assert!(shared >= 5);
    assert_eq!(world.info("sft")["data"]["held_out_in_training"], shared);
    world.reward("rm", "").unwrap();
    assert_eq!(world.info("rm")["data"]["held_out_in_training"], 0);
    let prompts = tiny("prompts.json");
    world
        .rl(
            "rl",
            &format!("algorithm.name=rloo data.eval_path={prompts}"),
        )
        .unwrap();
    assert_eq!(world.info("rl")["data"]["held_out_in_training"], 30);
}

/// Lengths are integers beside the ids, so a pad token that is EOS masks nothing.
#[test]
fn a_pad_that_is_eos_changes_nothing() {
    let world = World::new();
    world.sft("plain", "").unwrap();
    let file = world.path("base/tokenizer.json");
    let mut tokenizer = tokenizers::Tokenizer::from_file(&file).unwrap();
    tokenizer.with_padding(Some(tokenizers::PaddingParams {
        strategy: tokenizers::PaddingStrategy::Fixed(96),
        pad_id: 2,
        pad_token: "</s>".into(),
        ..Default::default()
    }));
    tokenizer.save(&file, false).unwrap();
    let file = world.path("base/tokenizer_config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    config["pad_token"] = "</s>".into();
    fs::write(&file, config.to_string()).unwrap();
    world.sft("padded", "").unwrap();
    let weights =
        |run: &str| fs::read(world.path(run).join("adapter/adapter_model.safetensors")).unwrap();
    assert!(weights("plain") == weights("padded"));
    assert_eq!(world.metrics("plain"), world.metrics("padded"));
}
