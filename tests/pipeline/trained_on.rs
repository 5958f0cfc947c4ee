//! Which prompts of a comparison its runs were trained on, and which policy stands for a run.

use super::world::{World, tiny};
use crate::common::again_in_a_child;
use data::{Prompt, ReadOptions};
use evaluate::{CompareConfig, compare};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

/// The keys that a run recorded.
fn keys(world: &World, run: &str) -> BTreeSet<u64> {
    let keys = policy::trained_prompts(&world.path(run)).unwrap();
    keys.unwrap().into_iter().collect()
}

fn prompts(file: &str) -> Vec<Prompt> {
    let read = data::prompts(Path::new(&tiny(file)), ReadOptions::default());
    read.unwrap().items
}

#[test]
fn compared_prompts_that_a_run_was_trained_on_are_counted() {
    let world = World::with_reward();
    world.rl("rl", "algorithm.name=rloo train.steps=1").unwrap();
    let (sft, rm, rl) = (keys(&world, "sft"), keys(&world, "rm"), keys(&world, "rl"));
    // 30 rows, of which a share is held out
    assert!(sft.len() < 30 && rm.len() < 30 && rl.len() < 30 && rl.len() > 20);
    let (first, second) = (prompts("demonstrations.json"), prompts("prompts.json"));
    let find = |from: &[Prompt], wanted: &dyn Fn(u64) -> bool| {
        let found = from.iter().find(|prompt| wanted(prompt.key()));
        found.unwrap().ask.text()
    };
    let texts = [
        find(&first, &|key| sft.contains(&key) && !rl.contains(&key)),
        find(&first[..30], &|key| {
            !sft.contains(&key) && !rl.contains(&key)
        }), // held out
        find(&second, &|key| rl.contains(&key) && !sft.contains(&key)),
        find(&second, &|key| !rl.contains(&key) && !sft.contains(&key)),
    ];
    let rows = texts.map(|text| json!({"instruction": text, "input": "", "output": "x"}));
    let file = world.write("asked.json", &json!(rows).to_string());
    let runs = ["base", "sft", "rl"].map(|run| world.text(run));
    let runs: Vec<&str> = runs.iter().map(String::as_str).collect();
    let config = CompareConfig {
        prompts: Some(file.into()),
        max_new_tokens: Some(3),
        ..CompareConfig::new(&runs, &world.path("compared"))
    };
    let report = compare(&config).unwrap();
    let counts: Vec<_> = report.rows.iter().map(|row| row.trained_prompts).collect();
    assert_eq!(counts, [None, Some(1), Some(2)], "rl began with sft's");
    let text = report.markdown();
    for line in [
        "sft has 1 of the prompts in its training data.",
        "rl has 2 of the prompts in its training data.",
    ] {
        assert!(text.contains(line), "{text}");
    }
    let stored = std::fs::read(world.path("compared/compare.json")).unwrap();
    let stored: Value = serde_json::from_slice(&stored).unwrap();
    assert_eq!(stored["rows"][2]["trained_prompts"], 2);
}

/// A run whose last policy is worse than its best, which is above the start: the next command takes
/// the best, and a command that is given the run says which it takes.
#[test]
fn a_better_policy_in_best_is_named() {
    const CHILD: &str = "BETTER_BEST_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        let world = World::with_reward();
        for seed in 1..=8 {
            let run = format!("rl-{seed}");
            let sets = format!("algorithm.name=rloo train.eval_every=1 train.seed={seed}");
            world.rl(&run, &sets).unwrap();
            let rewards = world.curve(&run, "eval/reward");
            let after = &rewards[1..];
            let best = after.iter().copied().fold(f64::MIN, f64::max);
            let worse = *after.last().unwrap() < best;
            let named = worse && best > rewards[0];
            run::say!("BEST {named}");
            let notes = &world.info(&run)["notes"];
            let said = notes["best"].is_string() || notes["worse"].is_string();
            assert!(said == worse || rewards[0] > best, "{rewards:?} {notes}");
            if named {
                let out = world.path("out.jsonl");
                let questions = world.write("q.json", r#"[{"instruction": "Go.", "output": ""}]"#);
                let questions = questions.as_ref();
                let mut config = evaluate::AnswersConfig::new(&world.text(&run), questions, &out);
                config.max_new_tokens = 2;
                evaluate::answers(&config).unwrap();
                return;
            }
        }
        panic!("no run ended below its best");
    }
    let output = again_in_a_child([(CHILD, "1")]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}");
    // best/ that is no better than the start is not taken
    let mut next = "";
    for line in text.lines() {
        match line {
            "BEST true" => assert!(next.ends_with("/best"), "{text}"),
            "BEST false" => assert!(!next.ends_with("/best"), "{text}"),
            line if line.starts_with("next: ") => next = line,
            _ => {}
        }
    }
    assert!(text.contains("BEST true"), "{text}");
    let used = "using the policy of the last step, with a held-out reward of ";
    assert!(
        text.contains(used) && text.contains("/best is that of step "),
        "{text}"
    );
}
