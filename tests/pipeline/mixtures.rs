//! Several data sets in one run, and rows that are kept on disk: results do not depend on where a
//! run was interrupted, nor on where its rows are.

use super::same::{Stage, assert_same, check_resume};
use super::world::{World, tiny};
use std::process::Command;

/// The sets of two data sets. The first is visited in part, so that its rows differ by epoch.
fn sources(first: &str, second: &str) -> String {
    format!(
        "data.path= data.max_rows= data.sources=[{{path=\"{}\",weight=0.5,max_rows=12}},\
         {{path=\"{}\",weight=2.0,max_rows=5}}]",
        tiny(first),
        tiny(second)
    )
}

#[test]
fn a_mixture_resumes_in_the_middle_of_an_epoch() {
    let world = World::with_reward();
    let rows = [
        (
            World::sft as Stage,
            "train.max_steps",
            "demonstrations.json",
            "translation.json",
        ),
        (
            World::reward,
            "train.max_steps",
            "comparisons.json",
            "comparisons-clean.json",
        ),
    ];
    for (stage, steps, first, second) in rows {
        let sets = format!("{} train.epochs=9", sources(first, second));
        for run in ["whole", "parts", "killed"] {
            let _ = std::fs::remove_dir_all(world.path(run));
        }
        check_resume(&world, stage, steps, &sets);
        let files = world.info("whole")["data"]["files"].clone();
        assert_eq!(files.as_object().unwrap().len(), 2, "{files}");
    }
    for (first, second, algorithm) in [
        (
            "prompts.json",
            "demonstrations.json",
            "algorithm.name=rloo algorithm.samples=2",
        ),
        (
            "comparisons.json",
            "comparisons-clean.json",
            "algorithm.name=dpo",
        ),
    ] {
        let sets = format!("{} {algorithm}", sources(first, second));
        for run in ["whole", "parts", "killed"] {
            let _ = std::fs::remove_dir_all(world.path(run));
        }
        check_resume(
            &world,
            World::rl_by,
            "train.steps",
            &format!("{sets} {}", reward_of(algorithm)),
        );
    }
}

fn reward_of(algorithm: &str) -> &'static str {
    match algorithm.contains("dpo") {
        true => "",
        false => "model.reward=~/rm",
    }
}

/// A method that draws from stored responses has no place for weights.
#[test]
fn weights_are_refused_where_each_row_counts_once() {
    let world = World::with_reward();
    let sets = sources("demonstrations.json", "translation.json");
    let error = world
        .rl("x", &format!("{sets} algorithm.name=a_lol"))
        .unwrap_err();
    let expected = "data.sources[0].weight = 0.5: this algorithm draws from stored responses, of \
                    which each counts once; leave the weight out";
    assert_eq!(run::one_line(&error), expected);
}

const CACHE: &str = "TEST_OF_ROWS_ON_DISK";

/// Runs in a process with a cache of its own.
#[test]
fn rows_on_disk_are_learnt_as_those_in_memory() {
    let Some(world) = std::env::var_os(CACHE) else {
        let dir = tempfile::tempdir().unwrap();
        let name = "pipeline::mixtures::rows_on_disk_are_learnt_as_those_in_memory";
        let output = Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact", "--nocapture"])
            .env("WICK_CACHE", dir.path())
            .env(CACHE, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let n = |what: &str| said.matches(what).count();
        assert_eq!(n("they are tokenised into"), 5, "{said}");
        assert_eq!(n("the rows were tokenised before"), 10, "{said}");
        return;
    };
    assert_eq!(world, "1");
    let world = World::new();
    for (stage, name) in [(World::sft as Stage, "sft"), (World::reward, "rm")] {
        let (disk, again) = (format!("{name}-disk"), format!("{name}-again"));
        stage(&world, name, "").unwrap();
        stage(&world, &disk, "data.memory_mb=0").unwrap();
        stage(&world, &again, "data.memory_mb=0 train.max_steps=2").unwrap();
        stage(&world, &again, "resume data.memory_mb=0 train.max_steps=4").unwrap();
        assert_same(&world, name, &disk);
        assert_same(&world, name, &again);
    }
    // prompts with and without references that are learnt from, and pairs
    let demonstrations = format!("data.path={}", tiny("demonstrations.json"));
    let pairs = format!("data.path={}", tiny("comparisons.json"));
    for (name, sets) in [
        ("rloo", "algorithm.samples=2 model.reward=~/rm".to_string()),
        (
            "mrt",
            format!("{demonstrations} rewards=[{{kind=\"bleu\"}}]"),
        ),
        ("dpo", pairs),
    ] {
        let (disk, again) = (format!("{name}-disk"), format!("{name}-again"));
        let stage = |run: &str, more: &str| {
            let sets = format!("algorithm.name={name} {sets} {more}");
            world.rl_by(run, &sets).unwrap();
        };
        stage(name, "");
        stage(&disk, "data.memory_mb=0");
        stage(&again, "data.memory_mb=0 train.steps=2");
        stage(&again, "resume data.memory_mb=0 train.steps=4");
        assert_same(&world, name, &disk);
        assert_same(&world, name, &again);
        for other in [disk, again] {
            let file = |run: &str| std::fs::read(world.path(run).join("heldout.json")).unwrap();
            assert_eq!(file(name), file(&other), "{name}");
            assert_eq!(world.info(name)["data"], world.info(&other)["data"]);
        }
    }
}
