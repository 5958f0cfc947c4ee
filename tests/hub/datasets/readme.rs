//! Subsets and splits that a README declares.

use super::{World, paths, says};

const CARD: &str = "---
license: mit
license: apache-2.0
configs:
- config_name: default
  data_files:
  - split: train
    path: [x/b.json, 'x/a*.json']
  - split: extra
    path: x/e.json
- config_name: 2024
  data_files: y/*.csv
- config_name: dir
  data_dir: z
---
# Text
";

#[test]
fn the_readme_declares_subsets_and_splits() {
    let files = [
        "x/a1.json",
        "x/a2.json",
        "x/b.json",
        "x/e.json",
        "y/test.csv",
        "z/dev.txt",
        "z/train.txt",
    ];
    let mut all: Vec<(&str, &str)> = files.iter().map(|path| (*path, "")).collect();
    all.push(("README.md", CARD));
    for (spec, wanted) in [
        ("hub:org/d", &["x/b.json", "x/a1.json", "x/a2.json"][..]),
        ("hub:org/d:extra", &["x/e.json"]),
        ("hub:org/d/2024", &["y/test.csv"]),
        ("hub:org/d/dir", &["z/train.txt"]),
        ("hub:org/d/dir:validation", &["z/dev.txt"]),
        ("hub:org/d/y", &["y/test.csv"]),
    ] {
        let found = World::with(&all)
            .get(spec)
            .unwrap_or_else(|e| panic!("{spec}: {e}"));
        assert_eq!(paths(&found), wanted, "{spec}");
    }
    let world = World::with(&all);
    let found = world.get("hub:org/d").unwrap();
    let first = format!(
        "revision main (commit {}), subset default, split train: 3 files, 1 MB",
        found.commit
    );
    assert_eq!(
        found.notes,
        [first, "other splits, left out: extra".to_string()]
    );
    says(
        world.get("hub:org/d/no"),
        &["no subset, file or folder no", "default, 2024, dir"],
    );
    says(
        world.get("hub:org/d:dev"),
        &["subset default has no split dev", "extra, train"],
    );
}

#[test]
fn readmes_that_mislead_are_refused() {
    let configs = |yaml: &str| format!("---\nconfigs:\n{yaml}\n---\n");
    let two = "- {config_name: a, data_files: a.csv}\n- {config_name: b, data_files: b.csv";
    for (readme, parts) in [
        (
            configs(&format!("{two}}}")),
            [
                "several subsets, none of them the default",
                "hub:org/d/a: a, b",
            ],
        ),
        (
            configs("- {config_name: a, data_files: no.csv}"),
            ["README.md: subset a, split train", "no.csv"],
        ),
        (
            configs("- {data_files: a.csv}"),
            ["README.md", "no config_name"],
        ),
        (
            configs("- {config_name: a, data_files: 3}"),
            ["README.md", "neither a pattern nor a list"],
        ),
        (
            configs("- {config_name: a, data_files: 'https://x/a.csv'}"),
            ["names https://x/a.csv", "only files of the repository"],
        ),
        (
            configs(
                "- config_name: a\n  \
                 data_files: [{split: x, path: a.csv}, {split: x, path: b.csv}]",
            ),
            ["names the split x twice", "README.md"],
        ),
        (
            configs("- [unclosed"),
            ["README.md: YAML header", "name a file or folder instead"],
        ),
    ] {
        let world = World::with(&[("README.md", &readme), ("a.csv", ""), ("b.csv", "")]);
        says(world.get("hub:org/d"), &parts);
        // and an explicit path needs no README
        assert_eq!(paths(&world.get("hub:org/d/b.csv").unwrap()), ["b.csv"]);
    }
    // marked as the default; without configs; without an end
    let marked = configs(&format!("{two}, default: true}}"));
    for (readme, wanted) in [
        (marked.as_str(), &["b.csv"][..]),
        ("# A\n---\n", &["a.csv", "b.csv"]),
        ("---\nx", &["a.csv", "b.csv"]),
    ] {
        let world = World::with(&[("README.md", readme), ("a.csv", ""), ("b.csv", "")]);
        assert_eq!(paths(&world.get("hub:org/d").unwrap()), wanted);
    }
}

/// A file that was fetched by its path says nothing of what the README declares.
#[test]
fn the_readme_is_read_although_a_file_is_in_the_cache() {
    let card = "---\nconfigs:\n- {config_name: a, data_files: b.csv}\n---\n";
    let world = World::with(&[("README.md", card), ("train.csv", ""), ("b.csv", "")]);
    assert_eq!(
        paths(&world.get("hub:org/d/train.csv").unwrap()),
        ["train.csv"]
    );
    assert_eq!(paths(&world.get("hub:org/d@main").unwrap()), ["b.csv"]);
}
