//! What the benchmark says that a side trained on.

use bench::{Sequence, Trained, read_tokens};
use data::{Demonstration, Encoder, Example, Examples, Preparing, RowsConfig, TrainOn};
use std::path::Path;

/// By scripts/bench/peers/common.py: `trained = Trained()`, `trained.add([5, 6, 7, 2], [-100, -100,
/// 7, 2])`, `trained.add([70000, 1])`, `trained.report()`.
#[test]
fn both_sides_hash_alike() {
    let sequences = [
        Sequence::new(vec![5, 6, 7, 2], std::slice::from_ref(&(2..4))),
        Sequence::new(vec![70_000, 1], &[]),
    ];
    let expected = Trained {
        sequences: 2,
        tokens: 6,
        labels: 2,
        sha256: "fdf4655b628d9b1fab75c78e3d34ae9ae83ea00f0f84add235d95f323521c42c".into(),
    };
    assert_eq!(Trained::of(&sequences), expected);
    let reordered = Trained::of(sequences.iter().rev());
    let error = expected.require(&reordered).unwrap_err().to_string();
    assert!(
        error.starts_with("it trained on 6 tokens, 2 of them learnt (SHA-256 "),
        "{error}"
    );
}

/// Two answers to a row's prompt; of the second, a part is not learnt.
fn two(encoder: &Encoder, row: &Demonstration, _: TrainOn) -> data::Result<Vec<[Example; 2]>> {
    let first = encoder.example(&row.prompt, &row.response)?;
    let longer = encoder.example(&row.prompt, &format!("{}c", row.response))?;
    let second = Example {
        context: std::iter::once(longer.prompt_len + 1..longer.prompt_len + 3).collect(),
        ..longer
    };
    Ok(vec![[first, second]])
}

/// Tokenises the rows of `dir` into its cache, as the stages do.
fn prepare(dir: &Path, more: &str) -> Examples<2> {
    let path = dir.join("rows.jsonl");
    let config = format!("path = {path:?}\nheld_out = 0.0\nmemory_mb = 0\n{more}");
    let config: RowsConfig<0> = toml::from_str(&config).unwrap();
    let preparing = Preparing {
        config: &config,
        seed: 1,
        encode: two,
        train_on: TrainOn::Last,
        limits: config.limits(),
        keeps_prompts: false,
        drops_tools: false,
        must_end: true,
        cache_dir: Some(dir.join("cache")),
        n_shown: 0,
    };
    let encoder = crate::data::tokens::byte_encoder().within(config.max_len);
    preparing.rows(&encoder, &mut ()).unwrap().train
}

#[test]
fn the_ids_for_the_peers_are_those_of_the_stage() {
    let dir = tempfile::tempdir().unwrap();
    let row = |i: usize| {
        let answer = "b".repeat(2 + i);
        format!("{{\"prompt\": \"Row {i}.\", \"completion\": \"{answer}\"}}\n")
    };
    let rows: String = (0..5).map(row).collect();
    std::fs::write(dir.path().join("rows.jsonl"), rows).unwrap();
    let examples = prepare(dir.path(), "");
    let cache = dir.path().join("cache");
    let read = read_tokens(&cache, 2).unwrap();
    assert_eq!(read.len(), 5);
    for (row, pair) in read.iter().enumerate() {
        for (example, sequence) in examples.get(row).unwrap().iter().zip(pair) {
            assert_eq!(sequence.ids, example.ids);
            let learnt: Vec<_> = example.labels().collect();
            assert_eq!(*sequence, Sequence::new(example.ids.clone(), &learnt));
        }
        let [all, some] = [0, 1].map(|i| Trained::of(&pair[i..=i]).labels);
        assert_eq!((all, some), (row + 3, row + 2), "answer and EOS");
    }

    prepare(dir.path(), "max_len = 100");
    let error = read_tokens(&cache, 2).unwrap_err().to_string();
    assert!(error.contains("tokenised 2 times"), "{error}");
}
