//! `[[data.sources]]`: several data sets in one run.

use super::file;
use data::{Cursor, DataPath, DataSet, Demonstration, Format, Loader, Mixture, Selection, TrainOn};
use std::collections::BTreeMap;

/// How often each row came.
fn counts(rows: impl IntoIterator<Item = usize>) -> BTreeMap<usize, usize> {
    let mut counts = BTreeMap::new();
    rows.into_iter()
        .for_each(|row| *counts.entry(row).or_default() += 1);
    counts
}

/// The rows of so many epochs, in batches of 7.
fn visits(mixture: &Mixture, n_epochs: usize, cursor: Cursor) -> Vec<usize> {
    let mut loader = Loader::new(mixture, 7, 5, cursor);
    let n = (n_epochs - cursor.epoch) * loader.batches_per_epoch() - cursor.index.div_ceil(7);
    (0..n).flat_map(|_| loader.next_batch()).collect()
}

#[test]
fn each_epoch_takes_exactly_what_the_weights_say() {
    let mixture = Mixture::new(&[(100, 1.0), (40, 0.25), (9, 3.0), (30, 1.5), (0, 2.0)]);
    assert_eq!(
        (mixture.n_rows(), mixture.n_visits()),
        (179, 100 + 10 + 27 + 45)
    );
    for n_epochs in 1..=8 {
        let rows = visits(&mixture, n_epochs, Cursor::default());
        let counts = counts(rows);
        let of = |rows: std::ops::Range<usize>| {
            let n = |row| counts.get(&row).copied().unwrap_or(0);
            let all: Vec<usize> = rows.map(n).collect();
            let (least, most) = (all.iter().min().unwrap(), all.iter().max().unwrap());
            (all.iter().sum::<usize>(), *least, *most)
        };
        assert_eq!(of(0..100), (100 * n_epochs, n_epochs, n_epochs));
        let (sum, least, most) = of(100..140);
        assert_eq!((sum, least), (10 * n_epochs, n_epochs / 4));
        assert_eq!(most, n_epochs.div_ceil(4), "no row again before all others");
        assert_eq!(of(140..149), (27 * n_epochs, 3 * n_epochs, 3 * n_epochs));
        let (sum, least, most) = of(149..179);
        assert_eq!(
            (sum, least, most),
            (45 * n_epochs, 3 * n_epochs / 2, (3 * n_epochs).div_ceil(2))
        );
    }
    // epochs have other orders, and other rows of a source that is not visited whole
    let epoch = |n| mixture.epoch(5, n)[100..110].to_vec();
    assert_ne!(epoch(0), epoch(1));
    let one = Mixture::of_rows(50);
    assert_eq!(one.epoch(5, 3), (0..50).collect::<Vec<_>>());
}

#[test]
fn a_loader_made_in_the_middle_of_a_mixture_goes_on() {
    let mixture = Mixture::new(&[(23, 0.7), (11, 2.3)]);
    let whole = visits(&mixture, 5, Cursor::default());
    let mut loader = Loader::new(&mixture, 7, 5, Cursor::default());
    let mut seen = Vec::new();
    while seen.len() < whole.len() {
        let text = serde_json::to_string(&loader.cursor()).unwrap();
        let rest = visits(&mixture, 5, serde_json::from_str(&text).unwrap());
        assert_eq!([&seen[..], &rest[..]].concat(), whole);
        seen.extend(loader.next_batch());
    }
}

const NO_COLUMNS: &BTreeMap<String, String> = &BTreeMap::new();

fn selection<'a>(path: &'a DataPath, sources: &'a [DataSet]) -> Selection<'a> {
    Selection {
        path,
        sources,
        format: Format::Auto,
        only: None,
        columns: NO_COLUMNS,
        ignore: &[],
        max_rows: None,
        train_on: TrainOn::Last,
        drops_tools: false,
    }
}

fn sources(text: &str) -> Result<Vec<DataSet>, String> {
    let table: toml::Table = text.parse().unwrap();
    table["sources"]
        .clone()
        .try_into()
        .map_err(|e| e.to_string())
}

#[test]
fn sources_are_read_side_by_side_with_their_own_settings() {
    let (_one, one) = file(
        "one.json",
        r#"[{"instruction": "a", "output": "b"}, {"instruction": "c", "output": "d"}]"#,
    );
    let (_two, two) = file(
        "two.jsonl",
        "{\"prompt\": \"e\", \"completion\": \"f\"}\n{\"prompt\": \"g\", \"completion\": \"h\", \"grade\": 1}\n",
    );
    let text = format!(
        "[[sources]]\npath = {one:?}\nmax_rows = 1\n[[sources]]\npath = {two:?}\nweight = 0.5\n\
         format = \"prompt_completion\"\nignore = [\"grade\"]"
    );
    let (none, sources) = (DataPath::default(), sources(&text).unwrap());
    let selection = selection(&none, &sources);
    selection.check().unwrap();
    let (rows, read) = selection.load::<Demonstration>().unwrap();
    let found: Vec<_> = rows
        .iter()
        .map(|d| (d.response.as_str(), d.prompt.origin.source()))
        .collect();
    assert_eq!(found, [("b", 0), ("f", 1), ("h", 1)]);
    assert_eq!(read.weights, [1.0, 0.5]);
    let hashes = [&one, &two].map(|file| run::file_hash(file).unwrap());
    let lines: String = hashes.iter().map(|hash| format!("{hash}\n")).collect();
    assert_eq!(selection.file(&read).sha256, run::hash(lines.as_bytes()));
    let mixture = Mixture::of_sources(rows.iter().map(|d| d.prompt.origin.source()), &read.weights);
    assert_eq!((mixture.n_rows(), mixture.n_visits()), (3, 2));
}

#[test]
fn sources_that_contradict_each_other_are_refused() {
    for (path, text, expected) in [
        (
            "",
            "sources = []",
            "data.path is missing: a file, a directory, a pattern or hub:org/name, or a list of these",
        ),
        (
            "a.json",
            "[[sources]]\npath = \"b.json\"",
            "data.path and [[data.sources]] are both given; put data.path among the sources",
        ),
        (
            "",
            "[[sources]]\npath = \"\"",
            "data.sources[0].path is empty",
        ),
        (
            "",
            "[[sources]]\npath = \"a\"\nweight = 0.0",
            "data.sources[0].weight = 0 is not above 0 and at most 1000: the passes over these rows in an epoch",
        ),
        (
            "",
            "[[sources]]\npath = \"a\"\nweight = nan",
            "data.sources[0].weight = NaN is not above 0 and at most 1000: the passes over these rows in an epoch",
        ),
        (
            "",
            "[[sources]]\npath = \"a\"\nmax_rows = 0",
            "data.sources[0].max_rows = 0 leaves nothing of it; remove it",
        ),
        (
            "",
            "[[sources]]\npath = \"a\"\n[[sources]]\npath = \"a\"\nweight = 2.0",
            "data.sources[1].path is that of an earlier one, a; give one of them, with the sum of the weights",
        ),
    ] {
        let path: DataPath = serde_json::from_value(path.into()).unwrap();
        let sources = sources(text).unwrap();
        let error = selection(&path, &sources).check().unwrap_err();
        assert_eq!(error.to_string(), expected, "{text}");
    }
    let unknown = sources("[[sources]]\npath = \"a\"\nwieght = 2.0").unwrap_err();
    assert!(unknown.contains("unknown field `wieght`"), "{unknown}");
    let twice = serde_json::from_str::<DataPath>(r#"["a", "b", "a"]"#)
        .unwrap_err()
        .to_string();
    assert!(
        twice.starts_with("a is given twice; to visit rows more often, give it a weight"),
        "{twice}"
    );
    // max_rows of all sources together says nothing
    let sources = sources("[[sources]]\npath = \"a\"").unwrap();
    let none = DataPath::default();
    let all = Selection {
        max_rows: Some(3),
        ..selection(&none, &sources)
    };
    assert_eq!(
        all.check().unwrap_err().to_string(),
        "data.max_rows does not say of which of the data.sources; set max_rows in each"
    );
}
