//! Which files a name stands for.

use super::{CONVERTED, World, paths, says};

/// Files of main, of the parquet branch, a name, and the files that it stands for.
type Case<'a> = (&'a [&'a str], &'a [&'a str], &'a str, &'a [&'a str]);

fn world(main: &[&str], converted: &[&str]) -> World {
    let named = |paths: &[&'static str]| paths.iter().map(|p| (*p, "")).collect::<Vec<_>>();
    let leak = |paths: &[&str]| -> Vec<&'static str> {
        paths.iter().map(|p| &*p.to_string().leak()).collect()
    };
    let world = World::with(&named(&leak(main)));
    if !converted.is_empty() {
        world.put(CONVERTED, &named(&leak(converted)));
    }
    world
}

#[track_caller]
fn check((main, converted, spec, wanted): Case) {
    let world = world(main, converted);
    let found = world.get(spec);
    let found = found.unwrap_or_else(|e| panic!("{spec}: {e}"));
    assert_eq!(paths(&found), wanted, "{spec} in {main:?}, {converted:?}");
    for (file, path) in found.files.iter().zip(wanted) {
        assert_eq!(std::fs::read_to_string(file).unwrap(), *path);
    }
}

#[test]
fn splits_are_found_by_names() {
    let cases: &[Case] = &[
        // one file: train
        (
            &["README.md", "rows.jsonl"],
            &[],
            "hub:org/d",
            &["rows.jsonl"],
        ),
        (&["b.csv", "a.csv"], &[], "hub:org/d", &["a.csv", "b.csv"]),
        // names of files
        (&["train.csv", "test.csv"], &[], "hub:org/d", &["train.csv"]),
        (
            &["train.csv", "test.csv"],
            &[],
            "hub:org/d:test",
            &["test.csv"],
        ),
        (
            &["my-train-1.json.gz", "dev.json.gz"],
            &[],
            "hub:org/d",
            &["my-train-1.json.gz"],
        ),
        (
            &["train.jsonl.zst", "dev.jsonl.zst"],
            &[],
            "hub:org/d:validation",
            &["dev.jsonl.zst"],
        ),
        (
            &["train.tsv", "dev.tsv"],
            &[],
            "hub:org/d:dev",
            &["dev.tsv"],
        ),
        (
            &["train.tsv", "x_eval.tsv"],
            &[],
            "hub:org/d:eval",
            &["x_eval.tsv"],
        ),
        (
            &["training.txt", "valid.txt"],
            &[],
            "hub:org/d:valid",
            &["valid.txt"],
        ),
        // "trainer" is no split, so there are none
        (
            &["trainer.json", "tests.json"],
            &[],
            "hub:org/d",
            &["tests.json", "trainer.json"],
        ),
        // names of folders come before those of files
        (
            &[
                "data/train/test-1.json",
                "data/train/b.json",
                "data/test/train.json",
            ],
            &[],
            "hub:org/d",
            &["data/train/b.json", "data/train/test-1.json"],
        ),
        (
            &["val/a.json", "train_x/b.json"],
            &[],
            "hub:org/d:val",
            &["val/a.json"],
        ),
        // shards name any split
        (
            &[
                "data/sft-00000-of-00002.parquet",
                "data/sft-00001-of-00002-ab.parquet",
                "train.csv",
            ],
            &[],
            "hub:org/d:sft",
            &[
                "data/sft-00000-of-00002.parquet",
                "data/sft-00001-of-00002-ab.parquet",
            ],
        ),
        // hidden and special folders, descriptions, and the rarer kind
        (
            &[
                ".cache/train.json",
                "__x__/train.json",
                "dataset_infos.json",
                "a.csv",
                "b.csv",
                "l.txt",
            ],
            &[],
            "hub:org/d",
            &["a.csv", "b.csv"],
        ),
        // names that a URL escapes
        (&["été #1?.json"], &[], "hub:org/d", &["été #1?.json"]),
    ];
    cases.iter().for_each(|case| check(*case));
}

#[test]
fn the_parquet_branch_is_taken_where_no_revision_is_named() {
    let main = &["train.csv", "extra/more.csv"];
    let converted = &[
        "default/test/0000.parquet",
        "default/train/0000.parquet",
        "default/train/0001.parquet",
        "en/train/0000.parquet",
    ];
    let of_default = &["default/train/0000.parquet", "default/train/0001.parquet"];
    let cases: &[Case] = &[
        (main, converted, "hub:org/d", of_default),
        (main, converted, "hub:org/d/default", of_default),
        (
            main,
            converted,
            "hub:org/d:test",
            &["default/test/0000.parquet"],
        ),
        (main, converted, "hub:org/d/en", &["en/train/0000.parquet"]),
        (
            main,
            converted,
            "hub:org/d@refs/convert/parquet",
            of_default,
        ),
        (main, converted, "hub:org/d@main", &["train.csv"]),
        // paths are of main
        (main, converted, "hub:org/d/train.csv", &["train.csv"]),
        (main, converted, "hub:org/d/extra", &["extra/more.csv"]),
        (main, converted, "hub:org/d/extra/", &["extra/more.csv"]),
        (
            main,
            converted,
            "hub:org/d/**/*.csv",
            &["extra/more.csv", "train.csv"],
        ),
        (
            main,
            converted,
            "hub:org/d/en/train@refs/convert/parquet",
            &["en/train/0000.parquet"],
        ),
        // only one subset, and a branch without data
        (
            main,
            &["fr/train/0000.parquet"],
            "hub:org/d",
            &["fr/train/0000.parquet"],
        ),
        (main, &["README.md"], "hub:org/d", &["train.csv"]),
    ];
    cases.iter().for_each(|case| check(*case));
    let world = world(main, &["default/partial-train/0000.parquet"]);
    let found = world.get("hub:org/d").unwrap();
    assert_eq!(paths(&found), ["default/partial-train/0000.parquet"]);
    let note = "split train is partial: the hub converted only its first part to parquet; \
                hub:org/d@main:train reads the data set's own files";
    assert_eq!(found.notes[1], note);
}

#[test]
fn explicit_paths_take_just_that() {
    let main = &[
        "a/1.jsonl",
        "a/2.jsonl",
        "a/test.csv",
        "a/pic.png",
        "b/train.json",
        "c.json",
    ];
    let cases: &[Case] = &[
        (main, &[], "hub:org/d/a/2.jsonl", &["a/2.jsonl"]),
        (main, &[], "hub:org/d/c.json", &["c.json"]),
        (
            main,
            &[],
            "hub:org/d/a/*.jsonl",
            &["a/1.jsonl", "a/2.jsonl"],
        ),
        (
            main,
            &[],
            "hub:org/d/a/",
            &["a/1.jsonl", "a/2.jsonl", "a/test.csv"],
        ),
        (
            main,
            &[],
            "hub:org/d/a",
            &["a/1.jsonl", "a/2.jsonl", "a/test.csv"],
        ),
        (main, &[], "hub:org/d/*/*.json@main", &["b/train.json"]),
        (main, &[], "hub:org/d/a/:test", &["a/test.csv"]),
        (
            main,
            &[],
            "hub:org/d/a/[12].jsonl",
            &["a/1.jsonl", "a/2.jsonl"],
        ),
    ];
    cases.iter().for_each(|case| check(*case));
    let world = world(main, &[]);
    let notes = world.get("hub:org/d/a").unwrap().notes;
    assert!(notes.contains(&"not read: 1 .png".to_string()), "{notes:?}");
    for (spec, parts) in [
        (
            "hub:org/d/x.jsonl",
            [
                "the data set has no x.jsonl; its data files are a/1.jsonl",
                "",
            ],
        ),
        ("hub:org/d/z/*", ["no z/*", "c.json"]),
        ("hub:org/d/zz", ["no zz; its data files are", "c.json"]),
        (
            "hub:org/d/a/pic.png",
            ["no file that is read (1 .png)", "jsonl"],
        ),
        ("hub:org/d/a/[", ["is no pattern", ""]),
        (
            "hub:org/d/a/:validation",
            ["no split validation; its splits are test", ""],
        ),
    ] {
        says(world.get(spec), &parts);
    }
}

#[test]
fn what_cannot_be_chosen_is_listed() {
    let several = &[
        "en/train/0.parquet",
        "fr/train/0.parquet",
        "fr/test/0.parquet",
    ];
    for (main, converted, spec, parts) in [
        (
            &["a.csv"][..],
            &several[..],
            "hub:org/d",
            ["several subsets", "hub:org/d/en: en, fr"],
        ),
        (
            &["a.csv"],
            several,
            "hub:org/d/de",
            ["no subset, file or folder de", "en, fr"],
        ),
        (
            &["a.csv"],
            several,
            "hub:org/d/fr:dev",
            ["subset fr has no split dev", "test, train"],
        ),
        (
            &["test.csv", "dev.csv"],
            &[],
            "hub:org/d",
            ["no split train", "test, validation; name one"],
        ),
        (
            &["d.py", "README.md"],
            &[],
            "hub:org/d",
            ["Python program d.py, which is not run", "to_json"],
        ),
        (
            &["a.png", "b.png", "c.arrow"],
            &[],
            "hub:org/d",
            ["2 .png, 1 .arrow", "taken are json"],
        ),
        (
            &[".gitattributes"],
            &[],
            "hub:org/d",
            ["no data files that are read", "taken are json"],
        ),
    ] {
        says(world(main, converted).get(spec), &parts);
    }
    let world = world(&["d.py", "train.json", "pic.jpg"], &[]);
    let notes = world.get("hub:org/d").unwrap().notes;
    let script = "d.py is not run: the data files are read as they are";
    assert_eq!(
        notes[1..],
        ["not read: 1 .jpg, 1 .py", script].map(String::from)
    );
}
