//! A run's config.toml tells what it used: the template and adapter that an earlier run brings, and
//! cadences of 0.

use super::world::World;

#[test]
fn a_run_records_the_settings_that_it_used() {
    let world = World::with_reward(); // sft: Alpaca's template, r = 4, alpha = 8
    world.sft("again", "model.source=~/sft lora.r=4").unwrap();
    world.rl("rl", "algorithm.name=rloo").unwrap();
    for run in ["again", "rm", "rl"] {
        let settings = world.settings(run);
        assert_eq!(
            settings["model"]["template"].as_str(),
            Some("alpaca"),
            "{run}"
        );
        assert_eq!(settings["lora"]["r"].as_integer(), Some(4), "{run}");
        assert_eq!(settings["lora"]["alpha"].as_float(), Some(8.0), "{run}");
    }
    for (stage, sets, expected) in [
        (
            "sft",
            "model.source=~/sft lora.r=6",
            "lora.r = 6 would not be used: the adapter of",
        ),
        (
            "sft",
            "model.source=~/sft model.template=raw",
            "brings its own template, \"alpaca\"",
        ),
        ("rm", "lora.alpha=5", "lora.alpha = 5.0 would not be used"),
        (
            "rm",
            "model.template=raw",
            "model.template = \"raw\" would not be used",
        ),
        (
            "rl",
            "algorithm.name=rloo lora.targets=[\"q_proj\"]",
            "lora.targets",
        ),
        (
            "rl",
            "algorithm.name=rloo model.template=raw",
            "model.template",
        ),
    ] {
        let result = match stage {
            "sft" => world.sft("refused", sets),
            "rm" => world.reward("refused", sets),
            _ => world.rl("refused", sets),
        };
        let error = run::one_line(&result.expect_err(sets));
        assert!(error.contains(expected), "{sets}: {error}");
    }
    // resuming compares what is used
    world
        .sft(
            "again",
            "resume model.source=~/sft lora.r=4 train.max_steps=6",
        )
        .unwrap();
    world
        .rl("rl", "resume algorithm.name=rloo train.steps=5")
        .unwrap();
    // a run of a version that recorded what was given
    let mut settings = world.settings("rl");
    settings["lora"]["r"] = 8.into();
    settings["model"]["template"] = "auto".into();
    std::fs::write(world.path("rl/config.toml"), settings.to_string()).unwrap();
    world.forget_sums("rl");
    world
        .rl("rl", "resume algorithm.name=rloo train.steps=6")
        .unwrap();
    assert_eq!(world.settings("rl")["lora"]["r"].as_integer(), Some(4));
}

#[test]
fn a_cadence_of_0_means_only_at_the_end() {
    let world = World::with_reward();
    let zero = "train.eval_every=0 train.sample_every=0 train.save_every=0";
    world.sft("sft0", zero).unwrap();
    world.reward("rm0", zero).unwrap();
    world
        .rl("rl0", &format!("algorithm.name=rloo {zero}"))
        .unwrap();
    for (run, metric) in [
        ("sft0", "eval/loss"),
        ("rm0", "eval/loss"),
        ("rl0", "eval/reward"),
    ] {
        let rows = world.metrics(run).into_iter();
        let steps: Vec<u64> = rows
            .filter(|r| r.metrics.contains_key(metric))
            .map(|r| r.step)
            .collect();
        assert_eq!(steps, [0, 4], "{run}");
        for folder in ["samples", "checkpoints"] {
            let entries = std::fs::read_dir(world.path(run).join(folder)).unwrap();
            let names: Vec<String> = entries
                .map(|e| e.unwrap().file_name().into_string().unwrap())
                .collect();
            assert_eq!(names.len(), 1, "{run}/{folder}: {names:?}");
            assert!(
                names[0].starts_with("step-000004"),
                "{run}/{folder}: {names:?}"
            );
        }
    }
    let plan = world
        .plan("esrl-rlhf", &format!("algorithm.name=rloo {zero}"))
        .unwrap();
    assert_eq!(plan["steps"]["steps"], 4);
}
