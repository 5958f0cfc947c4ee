//! Which files a name stands for.

use super::{CONVERTED, World, paths, says};

fn world(main: &[&str], converted: &[&str]) -> World {
    let named = |paths: &[&str]| -> Vec<(String, String)> {
        let path = |path: &&str| (path.to_string(), String::new());
        paths.iter().map(path).collect()
    };
    let world = World::new();
    for (revision, paths) in [("main", main), (CONVERTED, converted)] {
        let files = named(paths);
        let files: Vec<_> = files
            .iter()
            .map(|(p, t)| (p.as_str(), t.as_str()))
            .collect();
        if !files.is_empty() {
            world.put(revision, &files);
        }
    }
    world
}

/// `files of main | files of the parquet branch | what follows hub:org/d | the files taken`
#[track_caller]
fn check(case: &str) {
    let parts: Vec<Vec<&str>> = case
        .split('|')
        .map(|part| part.split_whitespace().collect())
        .collect();
    let [main, converted, rest, wanted] = &parts[..] else {
        panic!("four parts: {case}");
    };
    let world = world(main, converted);
    let found = world.get(&format!("hub:org/d{}", rest.concat()));
    let found = found.unwrap_or_else(|e| panic!("{case}: {e}"));
    assert_eq!(paths(&found), *wanted, "{case}");
    for (file, path) in found.files.iter().zip(wanted) {
        assert_eq!(std::fs::read_to_string(file).unwrap(), *path);
    }
}

#[test]
fn splits_are_found_by_names() {
    // one kind of file, no names of splits: train
    check("README.md rows.jsonl | | | rows.jsonl");
    check("b.csv a.csv | | | a.csv b.csv");
    // names of files
    check("train.csv test.csv | | | train.csv");
    check("train.csv test.csv | | :test | test.csv");
    check("my-train-1.json.gz dev.json.gz | | | my-train-1.json.gz");
    check("train.jsonl.zst dev.jsonl.zst | | :validation | dev.jsonl.zst");
    check("train.tsv dev.tsv | | :dev | dev.tsv");
    check("train.tsv x_eval.tsv | | :eval | x_eval.tsv");
    check("training.txt valid.txt | | :valid | valid.txt");
    // the endings and words of files on this disk
    check("train.ndjson.gzip test.ndjson | | | train.ndjson.gzip");
    check("train.pq heldout.pq | | :validation | heldout.pq");
    check("train.jsonl.zstd holdout.jsonl | | :holdout | holdout.jsonl");
    // "trainer" is no split, so there are none
    check("trainer.json tests.json | | | tests.json trainer.json");
    // names of folders come before those of files
    let folders = "data/train/test-1.json data/train/b.json data/test/train.json";
    check(&format!(
        "{folders} | | | data/train/b.json data/train/test-1.json"
    ));
    check("val/a.json train_x/b.json | | :val | val/a.json");
    // shards name any split
    let shards = "data/sft-00000-of-00002.parquet data/sft-00001-of-00002-ab.parquet";
    check(&format!("{shards} train.csv | | :sft | {shards}"));
    // hidden and special folders, descriptions, and the rarer kind
    let other = ".cache/train.json __x__/train.json dataset_infos.json l.txt";
    check(&format!("{other} a.csv b.csv | | | a.csv b.csv"));
    // a name that a URL escapes
    let odd = "été #1? 100%.json";
    let found = world(&[odd], &[]).get("hub:org/d").unwrap();
    assert_eq!(paths(&found), [odd]);
}

#[test]
fn the_parquet_branch_is_taken_where_no_revision_is_named() {
    let train = "default/train/0000.parquet default/train/0001.parquet";
    let both = format!(
        "train.csv extra/more.csv | default/test/0000.parquet {train} en/train/0000.parquet"
    );
    for (rest, wanted) in [
        ("", train),
        ("/default", train),
        (":test", "default/test/0000.parquet"),
        ("/en", "en/train/0000.parquet"),
        ("@refs/convert/parquet", train),
        ("@main", "train.csv"),
        // paths are of main
        ("/train.csv", "train.csv"),
        ("/extra", "extra/more.csv"),
        ("/extra/", "extra/more.csv"),
        ("/**/*.csv", "extra/more.csv train.csv"),
        ("/en/train@refs/convert/parquet", "en/train/0000.parquet"),
    ] {
        check(&format!("{both} | {rest} | {wanted}"));
    }
    // only one subset, and a branch without data
    check("train.csv | fr/train/0000.parquet | | fr/train/0000.parquet");
    check("train.csv | README.md | | train.csv");
    let world = world(&["train.csv"], &["default/partial-train/0000.parquet"]);
    let found = world.get("hub:org/d").unwrap();
    assert_eq!(paths(&found), ["default/partial-train/0000.parquet"]);
    let note = "split train is partial: the hub converted only its first part to parquet; \
                hub:org/d@main:train reads the data set's own files";
    assert_eq!(found.notes[1], note);
}

#[test]
fn explicit_paths_take_just_that() {
    let main = [
        "a/1.jsonl",
        "a/2.jsonl",
        "a/test.csv",
        "a/pic.png",
        "b/train.json",
        "c.json",
    ];
    for (rest, wanted) in [
        ("/a/2.jsonl", "a/2.jsonl"),
        ("/c.json", "c.json"),
        ("/a/*.jsonl", "a/1.jsonl a/2.jsonl"),
        ("/a/", "a/1.jsonl a/2.jsonl a/test.csv"),
        ("/a", "a/1.jsonl a/2.jsonl a/test.csv"),
        ("/*/*.json@main", "b/train.json"),
        ("/a/:test", "a/test.csv"),
        ("/a/[12].jsonl", "a/1.jsonl a/2.jsonl"),
    ] {
        check(&format!("{} | | {rest} | {wanted}", main.join(" ")));
    }
    let world = world(&main, &[]);
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
            ["2 .png, 1 .arrow", "taken are .json"],
        ),
        (
            &[".gitattributes"],
            &[],
            "hub:org/d",
            ["no data files that are read", "taken are .json"],
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
