//! The arrows between crates are those of ARCHITECTURE.md, and every shipped config is one its binary accepts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Crates by layer, lowest first, as ARCHITECTURE.md lists them.
const LAYERS: [&[&str]; 5] = [
    &["ops", "run", "tiny-world"],
    &["llama", "data"],
    &["generation", "stage", "train", "rewards"],
    &["algorithms"],
    &["sft", "reward-model", "esrl-rlhf", "evaluate"],
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

fn manifest(name: &str) -> toml::Table {
    let file = root().join("crates").join(name).join("Cargo.toml");
    std::fs::read_to_string(&file)
        .unwrap_or_else(|e| panic!("{}: {e}", file.display()))
        .parse()
        .unwrap()
}

#[test]
fn crates_depend_downwards_only() {
    let layer: BTreeMap<&str, usize> = LAYERS
        .iter()
        .enumerate()
        .flat_map(|(i, names)| names.iter().map(move |n| (*n, i)))
        .collect();
    let on_disk: Vec<String> = std::fs::read_dir(root().join("crates"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "testkit" && name != "bench")
        .collect();
    for name in &on_disk {
        let own = layer
            .get(name.as_str())
            .unwrap_or_else(|| panic!("crate {name} is not in the table"));
        let manifest = manifest(name);
        for dependency in manifest["dependencies"].as_table().unwrap().keys() {
            let Some(below) = layer.get(dependency.as_str()) else {
                continue;
            };
            assert!(
                below < own,
                "{name} (layer {own}) uses {dependency} (layer {below})"
            );
        }
    }
    assert_eq!(on_disk.len(), layer.len());
    let testkit = manifest("testkit");
    assert!(
        testkit["dependencies"]
            .as_table()
            .unwrap()
            .keys()
            .all(|d| !layer.contains_key(d.as_str()))
    );
}

#[test]
fn mains_are_short() {
    for name in LAYERS[4] {
        let file = root().join("crates").join(name).join("src/main.rs");
        let lines = std::fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= 40, "{}: {lines} lines", file.display());
    }
}

#[test]
fn shipped_configs_are_accepted() {
    let mut n_checked = 0;
    for world in std::fs::read_dir(root().join("configs")).unwrap() {
        for file in std::fs::read_dir(world.unwrap().path()).unwrap() {
            let file = file.unwrap().path();
            let result = match file.file_stem().unwrap().to_str().unwrap() {
                "sft" | "pretrain" => {
                    run::load_config::<sft::Config>(Some(&file), &[]).and_then(|c| c.check())
                }
                "rm" => run::load_config::<reward_model::Config>(Some(&file), &[])
                    .and_then(|c| c.check()),
                _ => {
                    run::load_config::<esrl_rlhf::Config>(Some(&file), &[]).and_then(|c| c.check())
                }
            };
            result.unwrap_or_else(|e| panic!("{}: {e:#}", file.display()));
            n_checked += 1;
        }
    }
    assert!(n_checked >= 8, "only {n_checked} configs found");
}

#[test]
fn every_run_of_the_experiments_has_settings_that_are_accepted() {
    let mut n_runs = 0;
    for list in std::fs::read_dir(root().join("scripts/experiments")).unwrap() {
        let list = list.unwrap().path();
        let text = std::fs::read_to_string(&list).unwrap();
        let mut names = std::collections::BTreeSet::new();
        for line in text
            .lines()
            .filter(|l| !l.is_empty() && !l.starts_with('#'))
        {
            let mut parts = line.split(' ').map(String::from);
            let (name, config) = (parts.next().unwrap(), parts.next().unwrap());
            let sets: Vec<String> = parts.collect();
            run::load_config::<esrl_rlhf::Config>(Some(&root().join(config)), &sets)
                .and_then(|c| c.check())
                .unwrap_or_else(|e| panic!("{}, {line}: {e:#}", list.display()));
            assert!(
                names.insert(name),
                "{}: {line} is a name again",
                list.display()
            );
            n_runs += 1;
        }
    }
    assert!(n_runs > 50, "only {n_runs} runs found");
}
