//! What commands say on standard error. In processes of their own, whose output is read.

use super::world::World;
use crate::common::again_in_a_child;
use evaluate::{CompareConfig, ScoreConfig, compare, score};
use run::Replace;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// A comparison on the prompts that a run's seed chose says that those of other seeds differ.
#[test]
fn a_comparison_on_prompts_drawn_by_seed_says_so() {
    const CHILD: &str = "DRAWN_PROMPTS_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        let world = World::new();
        world.sft("sft", 1);
        world.reward("rm");
        world.rl("drawn", 2, "sft", "rm");
        world.rl("given", 3, "sft", "rm");
        let file = world.path("given/config.toml");
        let settings = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, settings + "[data]\neval_path = \"heldout.json\"\n").unwrap();
        let json = std::fs::read(world.path("given/run.json")).unwrap();
        let mut info: serde_json::Value = serde_json::from_slice(&json).unwrap();
        for key in ["sha256", "files"] {
            info.as_object_mut().unwrap().remove(key);
        }
        std::fs::write(world.path("given/run.json"), info.to_string()).unwrap();
        for run in ["drawn", "given"] {
            run::say!("COMPARE {run}");
            let config = CompareConfig::new(&[&world.text(run)], &world.path(&format!("of-{run}")));
            compare(&config).unwrap();
        }
        return;
    }
    let output = again_in_a_child([(CHILD, "1")]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}");
    let (_, text) = text.split_once("COMPARE drawn\n").unwrap();
    let (drawn, given) = text.split_once("COMPARE given\n").unwrap();
    let note = "drawn held out, drawn by its train.seed: a `evaluate table` of several seeds needs \
                the same for all; give each comparison the same --prompts FILE";
    assert!(drawn.lines().any(|line| line.ends_with(note)), "{drawn}");
    assert!(!given.contains("train.seed"), "{given}");
}

#[test]
fn score_counts_the_prompts_that_a_run_was_trained_on() {
    const CHILD: &str = "SCORED_PROMPTS_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        use crate::pipeline::world::{World, tiny};
        let world = World::with_reward();
        let text = std::fs::read_to_string(tiny("demonstrations.json")).unwrap();
        let rows: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        // The run saw 30 rows and held out 6 of them; the last rows of the file it did not see.
        let seen = rows[..30].iter().chain(&rows[rows.len() - 3..]);
        let file = world.write(
            "rows.json",
            &serde_json::json!(seen.collect::<Vec<_>>()).to_string(),
        );
        score(&ScoreConfig::new(&world.text("sft"), file.as_ref())).unwrap();
        let keys = policy::trained_prompts(&world.path("sft"))
            .unwrap()
            .unwrap();
        run::say!("TRAINED ON {}", keys.len());
        return;
    }
    let output = again_in_a_child([(CHILD, "1")]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}");
    let n = text
        .lines()
        .find_map(|line| line.strip_prefix("TRAINED ON "))
        .unwrap();
    assert!((20..30).contains(&n.parse::<usize>().unwrap()), "{n}");
    let said = format!("/sft has {n} of the ");
    let line = text.lines().find(|line| line.contains(&said));
    let end = " prompts in its training data; scores on these may show memory, not skill";
    assert!(line.is_some_and(|line| line.ends_with(end)), "{text}");
}

/// The command line is that of a process called wick.
#[test]
fn a_result_that_exists_is_named_with_the_command_that_replaces_it() {
    const CHILD: &str = "FORCE_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        let error = |replace| run::ensure_new("/".as_ref(), "--out", replace).unwrap_err();
        println!("\n{}", error(Replace::WithForce(false)));
        return println!("{}", error(Replace::Never));
    }
    let thread = std::thread::current();
    let name = thread.name().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .arg0("/usr/bin/wick")
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .args(["--skip", "it's other"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let command = format!("wick --exact {name} --nocapture --test-threads=1 --skip");
    let expected = [
        format!(
            "/ exists; choose another --out, or replace it with --force: {command} \
             'it'\\''s other' --force"
        ),
        "/ exists; choose another --out".to_string(),
    ];
    for line in expected {
        assert!(text.lines().any(|said| said == line), "{line}: {text}");
    }
}
