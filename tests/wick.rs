//! The binary `wick` through its library: help, completions, man pages, and stages run by their
//! command lines.

use crate::common::refused;
use crate::pipeline::world::{World, tiny};
use clap_complete::Shell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use wick::{Cli, GROUPS, Stage};

fn names() -> BTreeSet<String> {
    let command = wick::command();
    let names = command.get_subcommands().map(|c| c.get_name().to_string());
    names.collect()
}

/// Runs a command line, words separated by blanks; `~/` at the start of a word is the world's
/// directory.
fn wick(world: &World, line: &str) -> anyhow::Result<()> {
    let home = world.text("");
    let words = line.split_whitespace().map(|word| {
        let word = word.replace("=~/", &format!("={home}"));
        match word.strip_prefix("~/") {
            Some(rest) => format!("{home}{rest}"),
            None => word,
        }
    });
    let words: Vec<String> = std::iter::once("wick".into()).chain(words).collect();
    Cli::try_parse(words)?.execute()
}

#[test]
fn the_help_lists_every_command_once() {
    let grouped: Vec<&str> = GROUPS
        .iter()
        .flat_map(|(_, names)| names.iter().copied())
        .collect();
    assert_eq!(
        grouped
            .iter()
            .map(|n| n.to_string())
            .collect::<BTreeSet<_>>(),
        names()
    );
    assert_eq!(grouped.len(), names().len());
    let help = wick::command().render_help().to_string();
    for line in help.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
    for name in grouped {
        let line = help
            .lines()
            .find(|l| l.trim_start().starts_with(&format!("{name} ")));
        let about = line.unwrap_or_else(|| panic!("{name} is not in the help"));
        assert!(about.trim().len() > name.len() + 10, "{about}");
    }
}

#[test]
fn every_command_has_an_example_that_parses() {
    for command in wick::command().get_subcommands() {
        let name = command.get_name();
        let after = command
            .get_after_help()
            .unwrap_or_else(|| panic!("{name}"))
            .to_string();
        let examples = after
            .lines()
            .map(str::trim)
            .filter(|l| l.starts_with("wick "));
        let mut n_own = 0;
        for example in examples {
            // a shell expands the pattern, and would read what follows > or |
            let end = example.find(['>', '|', '#']).unwrap_or(example.len());
            let words: Vec<&str> = example[..end].split_whitespace().collect();
            n_own += usize::from(words[1] == name);
            if let Err(e) = Cli::try_parse(words) {
                panic!("{example}: {e}");
            }
        }
        assert!(n_own > 0, "{name} has no example of its own");
    }
}

#[test]
fn completions_and_man_pages_know_every_command() {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let script = wick::completions(wick::command(), shell);
        for name in names() {
            assert!(script.contains(&name), "{shell}: {name}");
        }
        assert!(script.contains("verify-resume"), "{shell}");
    }
    let dir = tempfile::tempdir().unwrap();
    wick::man_pages(wick::command(), &dir.path().join("man1")).unwrap();
    for name in names() {
        let page = dir.path().join(format!("man1/wick-{name}.1"));
        let page = std::fs::read_to_string(&page).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(page.contains("wick"), "{name}");
    }
    assert!(dir.path().join("man1/wick.1").is_file());
}

#[test]
fn list_is_the_registry() {
    let list = esrl_rlhf::list();
    for name in algorithms::names() {
        assert!(
            list.lines().any(|l| l.split(' ').next() == Some(name)),
            "{name}"
        );
    }
    Cli::try_parse(["wick", "list"]).unwrap().execute().unwrap();
}

#[test]
fn the_stage_of_every_shipped_config_is_found() {
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
    for world in std::fs::read_dir(configs).unwrap() {
        for file in std::fs::read_dir(world.unwrap().path()).unwrap() {
            let file: PathBuf = file.unwrap().path();
            let expected = match file.file_stem().unwrap().to_str().unwrap() {
                "sft" | "pretrain" => Stage::Sft,
                "rm" => Stage::Rm,
                _ => Stage::Rlhf,
            };
            assert_eq!(
                Stage::of(Some(&file), &[]).unwrap(),
                expected,
                "{}",
                file.display()
            );
        }
    }
}

#[test]
fn a_config_that_leaves_the_stage_open_is_an_error_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("my.toml");
    let shown = file.display();
    std::fs::write(&file, "[model]\nsource = \"x\"\n[data]\npath = \"x\"\n").unwrap();
    refused(
        Stage::of(Some(&file), &[]),
        &format!(
            "{shown} could be for sft or rm; name the stage: `wick plan sft …` or `wick plan rm …`"
        ),
    );
    let sets = ["method=full".to_string(), "reward.max_rows=1".to_string()];
    refused(
        Stage::of(Some(&file), &sets),
        &format!(
            "{shown} has reward (rm) and method (sft); name the stage, such as `wick plan rm …`"
        ),
    );
}

#[test]
fn a_run_is_planned_trained_scored_and_merged_by_command_lines() {
    let world = World::new();
    let data = tiny("demonstrations.json");
    let settings = format!(
        "[model]\nsource = \"{}\"\n[data]\npath = \"{data}\"\nmax_rows = 12\nmax_len = 96\n\
         held_out = 0.5\nmax_eval_rows = 2\n\
         [train]\nmax_steps = 2\nbatch_size = 4\n[samples]\nn = 0\n[train.optimizer]\nlr = 1e-2\n",
        world.text("base")
    );
    world.write("sft.toml", &settings);
    wick(&world, "plan --config ~/sft.toml --json").unwrap();
    wick(&world, "sft plan --config ~/sft.toml").unwrap();
    wick(&world, "sft --config ~/sft.toml --run ~/sft").unwrap();
    let info = world.info("sft");
    assert_eq!(info["status"], "finished");
    assert_eq!(info["data"]["held_out_rows"], 2, "max_eval_rows");
    wick(
        &world,
        &format!("score --run ~/sft --data {data} --max-rows 4"),
    )
    .unwrap();
    wick(&world, "merge --run ~/sft --out ~/merged").unwrap();
    assert!(world.path("merged/model.safetensors").is_file());

    let again = wick(&world, "sft --config ~/sft.toml --run ~/sft").unwrap_err();
    assert!(
        again
            .to_string()
            .contains("exists; continue it with --resume"),
        "{again}"
    );
    assert!(wick(&world, "explain policy/clip_frac").is_err());
    for line in ["train", "sft --config", "plan rl --config x"] {
        assert!(
            Cli::try_parse(format!("wick {line}").split(' ')).is_err(),
            "{line}"
        );
    }
}

#[test]
fn a_wrong_key_of_a_method_names_its_file_or_override() {
    let world = World::new();
    let settings = "[model]\npolicy = \"x\"\nreward = \"y\"\n[data]\npath = \"z\"\n";
    for (in_file, set, expected) in [
        (
            "kl_coeff = 1",
            "",
            "config file FILE: unknown key \"algorithm.kl_coeff\"; did you mean \"algorithm.kl_coef\"?",
        ),
        (
            "kl_coef = true",
            "",
            "config file FILE: \"algorithm.kl_coef\" is the boolean true, expected a number",
        ),
        (
            "",
            "algorithm.cliip=0.1",
            "--set algorithm.cliip=0.1: unknown key \"algorithm.cliip\"; did you mean \"algorithm.clip\"?",
        ),
        (
            "kl_coef = true",
            "algorithm.kl_coef=high",
            "--set algorithm.kl_coef=high: \"algorithm.kl_coef\" is the string \"high\", expected a number",
        ),
    ] {
        let text = format!("{settings}[algorithm]\nname = \"ppo\"\n{in_file}\n");
        let file = world.write("mine.toml", &text);
        let set = if set.is_empty() {
            ""
        } else {
            &format!(" --set {set}")
        };
        for command in ["plan", "rlhf plan", "rlhf"] {
            let line = format!("{command} --config ~/mine.toml{set}");
            refused(wick(&world, &line), &expected.replace("FILE", &file));
        }
    }
    let error = wick(&world, "plan --config ~/mien.toml").unwrap_err();
    let near = format!("; did you mean {}?", world.text("mine.toml"));
    assert!(error.to_string().ends_with(&near), "{error}");
}

#[test]
fn resuming_what_is_no_run_of_the_stage_says_so() {
    let world = World::with_reward();
    for (line, expected) in [
        (
            "sft --run ~/none --resume",
            "~/none: no such run; leave out --resume to begin it",
        ),
        (
            "sft --run ~/rm --resume",
            "~/rm is a run of reward-model, not of sft",
        ),
        (
            "rlhf --run ~/sft --resume",
            "~/sft is a run of sft, not of esrl-rlhf",
        ),
    ] {
        let error = wick(&world, line).unwrap_err();
        let error = run::one_line(&error).replace(&world.text(""), "~/");
        assert_eq!(error, expected);
    }
}
