//! The data files of a directory or a pattern, and what is said of those that are left out.

use row_files::{DataFileList, data_files};
use std::path::Path;
use tempfile::TempDir;

fn folder(files: &[&str]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "{}\n").unwrap();
    }
    dir
}

fn names(dir: &TempDir, list: &DataFileList) -> Vec<String> {
    let below = |path: &Path| path.strip_prefix(dir.path()).unwrap().to_path_buf();
    let names = list.files.iter().map(|file| below(file));
    names.map(|name| name.display().to_string()).collect()
}

#[test]
fn a_directory_is_its_data_files_in_order() {
    #[track_caller]
    fn check(files: &[&str], expected: &[&str], notes: &[&str]) {
        let dir = folder(files);
        let list = data_files(dir.path()).unwrap();
        assert_eq!(names(&dir, &list), expected);
        assert_eq!(list.notes, notes);
    }
    check(
        &[
            "b.jsonl",
            "a/2.parquet",
            "a/1.csv.gz",
            "c.TXT",
            "d.tsv.zst",
            "e.json",
        ],
        &[
            "a/1.csv.gz",
            "a/2.parquet",
            "b.jsonl",
            "c.TXT",
            "d.tsv.zst",
            "e.json",
        ],
        &[],
    );
    // hidden files and descriptions that are no data file by their ending
    check(
        &[".cache/x.json", ".gitattributes", "README.md", "x.json"],
        &["x.json"],
        &[],
    );
    check(
        &[
            "dataset_infos.json",
            "x.json",
            "train/State.json",
            "a.pq",
            "b.ndjson.ZSTD",
        ],
        &["a.pq", "b.ndjson.ZSTD", "x.json"],
        &["left out, as they describe data by their names: dataset_infos.json, train/State.json"],
    );
    check(
        &["x.json", "notes.docx", "y.png"],
        &["x.json"],
        &["2 files are left out, which are no data files by their ending: notes.docx, …"],
    );
    check(
        &["x.json", "y.arrow"],
        &["x.json"],
        &["1 file is left out, which is no data file by its ending: y.arrow"],
    );
}

#[test]
fn splits_are_not_mixed() {
    #[track_caller]
    fn check(files: &[&str], expected: &[&str], left_out: &str) {
        let dir = folder(files);
        let list = data_files(dir.path()).unwrap();
        assert_eq!(names(&dir, &list), expected);
        let is_train = |name: &&str| name.to_lowercase().contains("train");
        let note = match expected.iter().any(is_train) {
            true => format!("only the files of the split train are read; left out: {left_out}"),
            false => format!(
                "left out, as they are of other splits than train by their names: {left_out}; to \
                 read them, name them"
            ),
        };
        let notes = if left_out.is_empty() {
            vec![]
        } else {
            vec![note]
        };
        assert_eq!(list.notes, notes);
    }
    check(
        &[
            "data/train-00000-of-00002.parquet",
            "data/train-00001-of-00002.parquet",
            "data/test-00000-of-00001.parquet",
        ],
        &[
            "data/train-00000-of-00002.parquet",
            "data/train-00001-of-00002.parquet",
        ],
        "data/test-00000-of-00001.parquet",
    );
    check(
        &["Train/a.jsonl", "validation/a.jsonl", "dev/b.csv"],
        &["Train/a.jsonl"],
        "dev/b.csv, validation/a.jsonl",
    );
    check(
        &["train_sft.json", "test_sft.json"],
        &["train_sft.json"],
        "test_sft.json",
    );
    // the file's own name says more than that of its folder
    check(
        &["train/test.json", "train/train.json"],
        &["train/train.json"],
        "train/test.json",
    );
    // no file is named as training data
    check(&["data.jsonl", "test.jsonl"], &["data.jsonl"], "test.jsonl");
    check(
        &[
            "a.csv",
            "b/a.csv",
            "Testing/a.csv",
            "evaluation.csv",
            "heldout-1.csv",
        ],
        &["a.csv", "b/a.csv"],
        "Testing/a.csv, evaluation.csv, heldout-1.csv",
    );
    check(
        &["data.json", "train.json", "holdout.json"],
        &["train.json"],
        "data.json, holdout.json",
    );
    // no word of a split, or of one alone
    check(
        &["contest.json", "trainer.json"],
        &["contest.json", "trainer.json"],
        "",
    );
    check(
        &["test.json", "validation.json"],
        &["test.json", "validation.json"],
        "",
    );
}

#[test]
fn directories_without_data_are_refused() {
    #[track_caller]
    fn check(files: &[&str], expected: &str) {
        let dir = folder(files);
        let found = data_files(dir.path()).unwrap_err().to_string();
        assert_eq!(found, format!("{}: {expected}", dir.path().display()));
    }
    let empty = "has no data files; their names end in .json, .jsonl, .ndjson, .txt, .csv, .tsv, \
                 .parquet, .pq, or one of these with .gz, .gzip, .zst, .zstd";
    check(&[], empty);
    check(&["README.md", ".x.json", "a.bin"], empty);
    let arrow = "holds Arrow files, as `save_to_disk` writes them; export its rows in Python: \
                 `import datasets; d = datasets.load_from_disk(\"DIRECTORY\"); \
                 d.to_json(\"train.jsonl\")` (of one split, d[\"train\"])";
    check(
        &[
            "data-00000-of-00001.arrow",
            "dataset_info.json",
            "state.json",
        ],
        arrow,
    );
    check(
        &["dataset_dict.json", "train/data-00000-of-00001.arrow"],
        arrow,
    );
}

#[test]
fn a_pattern_is_its_matches() {
    #[track_caller]
    fn check(files: &[&str], pattern: &str, expected: Result<&[&str], &str>) {
        let dir = folder(files);
        let pattern = dir.path().join(pattern);
        let found = data_files(&pattern).map(|list| names(&dir, &list));
        let found = found.map_err(|e| e.to_string());
        let expected = expected.map(|names| names.iter().map(ToString::to_string).collect());
        assert_eq!(
            found,
            expected.map_err(|e| format!("{}: {e}", pattern.display()))
        );
    }
    let files = [
        "b.jsonl",
        "a.jsonl",
        "c.csv",
        "d/e/f.jsonl",
        "d/g.jsonl",
        ".h.jsonl",
    ];
    check(&files, "*.jsonl", Ok(&["a.jsonl", "b.jsonl"]));
    check(&files, "[bc].*", Ok(&["b.jsonl", "c.csv"]));
    let all = ["a.jsonl", "b.jsonl", "d/e/f.jsonl", "d/g.jsonl"];
    check(&files, "**/*.jsonl", Ok(&all));
    check(&files, "d", Ok(&["d/e/f.jsonl", "d/g.jsonl"]));
    check(&files, "*.parquet", Err("the pattern matches no file"));
    let malformed =
        "is not a pattern of files: recursive wildcards must form a single path component";
    check(&files, "a**", Err(malformed));
    // a name that is there is itself, and one without marks is left to the reader
    check(&["a[1].json", "a1.json"], "a[1].json", Ok(&["a[1].json"]));
    check(&[], "none.json", Ok(&["none.json"]));
}

#[test]
fn files_of_several_formats_are_named() {
    let dir = folder(&["notes.txt", "rows.json"]);
    std::fs::write(dir.path().join("notes.txt"), "numpy\n").unwrap();
    let row = r#"{"instruction": "a", "output": "b"}"#;
    std::fs::write(dir.path().join("rows.json"), row).unwrap();
    let loaded = data::demonstrations(dir.path(), data::Format::Auto).unwrap();
    let expected = "its files have rows of several formats: Alpaca in rows.json; text in notes.txt";
    let notes = loaded.counts.notes;
    assert!(notes.iter().any(|note| note == expected), "{notes:?}");
}

#[test]
fn a_split_of_a_directory_is_named_as_on_the_hub() {
    let at = |dir: &TempDir, split: &str| {
        let path = format!("{}:{split}", dir.path().display());
        data_files(Path::new(&path)).map_err(|error| {
            let text = error.to_string();
            let start = format!("{}: ", dir.path().display());
            text.strip_prefix(&start).unwrap().to_string()
        })
    };
    #[track_caller]
    fn check(dir: &TempDir, found: Result<DataFileList, String>, files: &[&str], left_out: &str) {
        let list = found.unwrap();
        assert_eq!(names(dir, &list), files);
        let said = list.notes.concat();
        assert!(said.ends_with(left_out), "{said}");
        assert_eq!(said.is_empty(), left_out.is_empty());
    }
    let dir = folder(&["a/train.json", "a/val-1.json", "dev.csv", "test/x.json"]);
    check(
        &dir,
        at(&dir, "validation"),
        &["a/val-1.json", "dev.csv"],
        "only the files of the split validation are read; left out: a/train.json, test/x.json",
    );
    let all = "left out: a/val-1.json, dev.csv, test/x.json";
    check(&dir, at(&dir, "train"), &["a/train.json"], all);
    let all = "left out: a/train.json, a/val-1.json, dev.csv";
    check(&dir, at(&dir, "eval"), &["test/x.json"], all);
    assert_eq!(
        at(&dir, "tests").unwrap_err(),
        "has no files of the split tests; the splits by their names are test, train, validation"
    );
    // without a word for training, what is of no other split
    let dir = folder(&["rows.json", "test.json"]);
    check(
        &dir,
        at(&dir, "train"),
        &["rows.json"],
        "left out: test.json",
    );
    let dir = folder(&["rows.json"]);
    check(&dir, at(&dir, "train"), &["rows.json"], "");
    assert_eq!(
        at(&dir, "test").unwrap_err(),
        "has no files of the split test; no name says a split; name a file"
    );
    let dir = folder(&["test.json"]);
    assert_eq!(
        at(&dir, "train").unwrap_err(),
        "has no files of the split train; the splits by their names are test"
    );
    // a dot in the name of a folder is no ending
    let dir = folder(&["v1.0/rows.json", "v1.1/rows.json"]);
    let all = "left out: v1.1/rows.json";
    check(&dir, at(&dir, "v1.0"), &["v1.0/rows.json"], all);
    // by what files and folders are called
    let dir = folder(&[
        "data/train_gen-00000-of-00001.parquet",
        "data/train_sft-00000-of-00002.parquet",
        "data/train_sft-00001-of-00002.parquet",
        "train_sft/more.json",
    ]);
    let files = [
        "data/train_sft-00000-of-00002.parquet",
        "data/train_sft-00001-of-00002.parquet",
        "train_sft/more.json",
    ];
    let other = "left out: data/train_gen-00000-of-00001.parquet";
    check(&dir, at(&dir, "train_sft"), &files, other);
    // a path of that name wins
    let dir = folder(&["x/test.json", "x:test/rows.json", "y:test"]);
    for (name, file) in [("x:test", "x:test/rows.json"), ("y:test", "y:test")] {
        let list = data_files(&dir.path().join(name)).unwrap();
        assert_eq!(names(&dir, &list), [file]);
    }
}
