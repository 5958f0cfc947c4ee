//! `model.weights`: every stage on a quantised base, and settings that are refused.

use super::bad_input::refused;
use super::same::check_resume;
use super::world::World;

/// A world whose sft and reward-model runs have a base in these weights.
fn trained_on(weights: &str) -> World {
    let world = World::new();
    world
        .sft("sft", &format!("model.weights={weights}"))
        .unwrap();
    world.reward("rm", "").unwrap();
    world
}

#[test]
fn runs_on_a_quantised_base_resume_exactly_and_pass_it_on() {
    let sets = "model.weights=q4_0 lora.dropout=0.1";
    check_resume(&World::new(), World::sft, "train.max_steps", sets);
    for weights in ["q8_0", "q4_0"] {
        let world = trained_on(weights);
        check_resume(&world, World::rl, "train.steps", "algorithm.name=esrl");
        for run in ["sft", "rm", "whole"] {
            assert_eq!(world.info(run)["base_weights"], weights);
        }
    }
    let world = World::new();
    world.sft("sft", "model.weights=q4_k").unwrap();
    check_resume(&world, World::reward, "train.max_steps", "");
}

#[test]
fn narrower_sampling_weights_keep_quantised_matrices() {
    let world = trained_on("q4_0");
    let sets = "algorithm.name=ppo train.steps=1 rollout.weights=int8";
    world.rl("int8", sets).unwrap();
    // down_proj is 48 wide and so not quantised; int8 narrows only it and the head
    let gap = world.curve("int8", "policy/sampler_gap")[0];
    assert!(gap > 1e-6 && gap < 0.05, "{gap}");
}

#[test]
fn invalid_base_weights_are_refused() {
    let world = trained_on("q8_0");
    let refuse = |result, parts: &[&str]| refused(&world, result, parts);
    refuse(
        world.sft("out", "model.weights=q3"),
        &["model.weights", "q3", "q8_0", "q4_k"],
    );
    refuse(
        world.sft("out", "method=full model.weights=q4_k"),
        &["model.weights", "method = \"full\""],
    );
    refuse(
        world.reward("out", "model.weights=q4_0"),
        &[
            "model.weights = \"q4_0\"",
            "trained on its base in \"q8_0\"",
            "leave it out",
        ],
    );
    refuse(
        world.rl("out", "algorithm.name=ppo model.weights=stored"),
        &["model.weights = \"stored\"", "in \"q8_0\""],
    );
    world.sft("wide", "").unwrap();
    refuse(
        world.rl("out", "algorithm.name=ppo model.policy=~/wide"),
        &[
            "reward model",
            "in \"q8_0\"",
            "in \"stored\"",
            "same model.weights",
        ],
    );
}
