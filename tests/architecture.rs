//! The crates use each other as listed here, and every shipped config is accepted by its stage.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The local crates that each crate may use, in any section of its Cargo.toml. A new entry is a
/// change of the design: docs/architecture.md says what each crate must not know.
const MAY_USE: &[(&str, &str)] = &[
    ("ops", ""),
    ("run", ""),
    ("strict-json", ""),
    ("tiny-world", ""),
    ("testkit", ""),
    ("row-files", "run strict-json"),
    ("hub", "row-files"),
    ("models", "hub ops strict-json"),
    ("data", "hub run row-files strict-json"),
    ("generation", "ops run models"),
    ("policy", "ops run models data"),
    ("train", "ops run data"),
    ("planning", "ops run models data policy train"),
    ("rewards", "ops run strict-json models data"),
    ("algorithms", "ops run"),
    (
        "sft",
        "ops run models data generation policy planning train",
    ),
    (
        "reward-model",
        "ops run models data generation policy planning train rewards",
    ),
    (
        "esrl-rlhf",
        "ops run models data generation policy planning train rewards algorithms",
    ),
    (
        "evaluate",
        "ops run strict-json tiny-world models data generation policy rewards",
    ),
    ("inspect", "run row-files models data policy"),
    // its examples use data, generation, policy and algorithms
    (
        "wick",
        "ops run models data generation policy algorithms sft reward-model esrl-rlhf evaluate inspect",
    ),
    ("bench", "ops run models data generation policy evaluate"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

/// The directories of all crates, by name.
fn crates_on_disk() -> BTreeMap<String, PathBuf> {
    std::fs::read_dir(root().join("crates"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.path()))
        .collect()
}

fn manifest(dir: &Path) -> toml::Table {
    let file = dir.join("Cargo.toml");
    std::fs::read_to_string(&file)
        .unwrap_or_else(|e| panic!("{}: {e}", file.display()))
        .parse()
        .unwrap()
}

/// The local crates that a manifest names, in whatever section.
fn declared(manifest: &toml::Table, local: &BTreeMap<String, PathBuf>) -> BTreeSet<String> {
    let mut tables = vec![manifest];
    if let Some(targets) = manifest.get("target") {
        let targets = targets.as_table().unwrap().values();
        tables.extend(targets.map(|target| target.as_table().unwrap()));
    }
    let sections = ["dependencies", "dev-dependencies", "build-dependencies"];
    tables
        .iter()
        .flat_map(|table| sections.iter().filter_map(|name| table.get(*name)))
        .flat_map(|section| section.as_table().unwrap().keys())
        .filter(|name| local.contains_key(*name))
        .cloned()
        .collect()
}

#[test]
fn crates_use_each_other_as_listed() {
    let on_disk = crates_on_disk();
    let names: Vec<&str> = on_disk.keys().map(String::as_str).collect();
    let listed: BTreeMap<&str, &str> = MAY_USE.iter().copied().collect();
    assert_eq!(
        listed.keys().copied().collect::<Vec<_>>(),
        names,
        "every crate has one entry in MAY_USE"
    );
    for (name, dir) in &on_disk {
        let allowed = listed[name.as_str()].split_whitespace();
        let allowed: BTreeSet<String> = allowed.map(String::from).collect();
        let declared = declared(&manifest(dir), &on_disk);
        let forbidden: Vec<_> = declared.difference(&allowed).collect();
        assert!(forbidden.is_empty(), "{name} may not use {forbidden:?}");
        let unused: Vec<_> = allowed.difference(&declared).collect();
        assert!(
            unused.is_empty(),
            "{name} no longer uses {unused:?}: remove it from MAY_USE"
        );
    }
}

#[test]
fn declared_dependencies_are_used_by_code_or_features() {
    let on_disk = crates_on_disk();
    for (name, dir) in &on_disk {
        let mut files = rust_files(dir);
        if name == "wick" {
            // its examples are those of the repository
            files.extend(rust_files(&root().join("examples")));
        }
        let code: String = files
            .iter()
            .map(|file| std::fs::read_to_string(file).unwrap())
            .collect();
        let manifest = manifest(dir);
        let features = manifest.get("features").map(|f| f.to_string());
        let features = features.unwrap_or_default();
        for dependency in declared(&manifest, &on_disk) {
            let path = format!("{}::", dependency.replace('-', "_"));
            let is_used = code.contains(&path) || features.contains(&format!("{dependency}/"));
            assert!(is_used, "{name} declares {dependency} and never names it");
        }
    }
}

/// Every Rust file below a directory.
fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files
}

/// The form of an operation is chosen by device inside `ops`. `DeviceChoice`, a setting, is no
/// tensor's device and may be asked anywhere.
#[test]
fn no_crate_above_ops_asks_where_a_tensor_is() {
    let questions = [".is_cuda()", ".device().is_cpu()", "ops::cuda::"];
    for (name, dir) in crates_on_disk().iter().filter(|(name, _)| *name != "ops") {
        for file in rust_files(dir) {
            let text = std::fs::read_to_string(&file).unwrap();
            let asked = questions.iter().find(|question| text.contains(**question));
            assert_eq!(asked, None, "{name}: {}", file.display());
        }
    }
}

/// A main.rs parses the command line and calls its library.
#[test]
fn mains_are_short() {
    let mut n_mains = 0;
    let on_disk = crates_on_disk();
    for dir in on_disk.values() {
        let Ok(text) = std::fs::read_to_string(dir.join("src/main.rs")) else {
            continue;
        };
        let n_lines = text.lines().count();
        assert!(
            n_lines <= 40,
            "{}/src/main.rs: {n_lines} lines",
            dir.display()
        );
        n_mains += 1;
    }
    assert!(n_mains >= 5, "only {n_mains} main.rs files found");
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
fn experiment_settings_are_accepted() {
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
                "{}: {line}: this name is used twice",
                list.display()
            );
            n_runs += 1;
        }
    }
    assert!(n_runs > 50, "only {n_runs} runs found");
}
