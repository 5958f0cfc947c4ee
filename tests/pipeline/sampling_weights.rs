//! Rollouts sampled with narrower weights than those trained.

use super::bad_input::refused;
use super::same::check_resume;
use super::world::World;

#[test]
fn the_gap_of_narrower_weights_is_logged_and_small() {
    let world = World::with_reward();
    for (weights, least, most) in [("int8", 1e-6, 0.05), ("bf16", 1e-7, 0.02)] {
        let sets = format!("algorithm.name=ppo train.steps=2 rollout.weights={weights}");
        world.rl(weights, &sets).unwrap();
        for (gap, ratio) in world
            .curve(weights, "policy/sampler_gap")
            .into_iter()
            .zip(world.curve(weights, "sampling/importance_ratio"))
        {
            assert!((least..most).contains(&gap), "{weights}: {gap}");
            assert!((ratio - 1.0).abs() < most, "{weights}: {ratio}");
        }
        // the policy itself is scored, so the ratio is 1 before the first update
        assert!(world.curve(weights, "first/policy/approxkl")[0] < 1e-9);
        assert_eq!(world.curve(weights, "sampling/truncated"), [0.0, 0.0]);
    }
    // about half of the tokens exceed a cap of 1
    let capped = "algorithm.name=ppo train.steps=1 rollout.weights=int8 rollout.importance_cap=1.0";
    world.rl("capped", capped).unwrap();
    let truncated = world.curve("capped", "sampling/truncated")[0];
    assert!((0.2..0.8).contains(&truncated), "{truncated}");
    let plain = "algorithm.name=ppo train.steps=1";
    world.rl("plain", plain).unwrap();
    assert!(
        !world.metrics("plain")[0]
            .metrics
            .contains_key("sampling/truncated")
    );
}

#[test]
fn a_run_that_samples_from_8_bits_resumes_exactly() {
    let sets = "algorithm.name=rloo rollout.weights=int8";
    check_resume(&World::with_reward(), World::rl, "train.steps", sets);
}

#[test]
fn settings_that_contradict_narrower_weights_are_refused() {
    let world = World::with_reward();
    for (sets, says) in [
        ("weights=int4", "int4"),
        (
            "weights=int8 rollout.rescore=false",
            "rollout.rescore = false",
        ),
        (
            "weights=int8 algorithm={name=\"dpo\"}",
            "rollout.weights is for methods that sample",
        ),
        (
            "weights=int8 algorithm={name=\"esrl\",loss_temperature=false}",
            "algorithm.loss_temperature = false",
        ),
        ("importance_cap=0.5", "rollout.importance_cap = 0.5"),
        ("importance_cap=nan", "rollout.importance_cap = NaN"),
    ] {
        let result = world.rl("out", &format!("algorithm.name=ppo rollout.{sets}"));
        refused(&world, result, &[says]);
    }
}
