//! Hostile files: every file of `fuzz/corpus` is read or refused in one line; templates read no
//! files and terminate; paths in files cannot leave their directory; secrets are not printed.

#[path = "../fuzz/src/targets.rs"]
mod targets;

mod templates;

use data::{Ask, Message, Template};
use rand::Rng;
use rand::seq::IndexedRandom;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// An error has words, on one line.
#[track_caller]
fn assert_one_line(error: &str, shown: &str) {
    assert!(!error.trim().is_empty(), "an empty error for {shown}");
    assert!(
        !error.contains('\n'),
        "more than one line for {shown}: {error}"
    );
}

#[test]
fn every_corpus_file_is_read_or_refused_in_one_line() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (name, target) in targets::TARGETS {
        let mut n_files = 0;
        let dir = std::fs::read_dir(corpus.join(name)).unwrap();
        for file in dir.map(|entry| entry.unwrap().path()) {
            let bytes = std::fs::read(&file).unwrap();
            if let Err(error) = target(&bytes) {
                assert_one_line(&error, &file.display().to_string());
            }
            n_files += 1;
        }
        assert!(n_files > 2, "{name}: {n_files} files");
    }
}

/// So that the corpora reach the code behind the first check.
#[test]
fn valid_corpus_files_are_read() {
    let valid = [
        ("safetensors", "whole"),
        ("gguf", "whole"),
        ("gguf", "bpe"),
        ("adapter_config", "whole"),
        ("model_config", "whole"),
        ("tokenizer", "bpe"),
        ("special_tokens", "whole"),
        ("chat_template", "zephyr"),
        ("dataset", "alpaca"),
        ("dataset", "v2"),
        ("dataset", "hh"),
        ("dataset", "pairs"),
        ("dataset", "chat"),
        ("dataset", "openai_preference"),
        ("dataset", "ranked"),
        ("dataset", "safe_rlhf"),
        ("dataset", "shp"),
        ("dataset", "arena"),
        ("dataset", "ultrafeedback"),
        ("dataset", "kto"),
        ("dataset", "transcript"),
        ("dataset", "question_answer"),
        ("container", "array"),
        ("container", "lines_zst"),
        ("container", "gz_members"),
        ("container", "csv"),
        ("container", "csv_index"),
        ("container", "tsv"),
        ("container", "parquet_numbers"),
        ("container", "parquet_gz"),
        ("fastchat", "questions"),
        ("fastchat", "answers"),
        ("settings", "rl"),
        ("reward_reply", "whole"),
        ("metrics", "rows"),
    ];
    for (name, file) in valid {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
        let bytes = std::fs::read(corpus.join(name).join(file)).unwrap();
        let (_, target) = targets::TARGETS.iter().find(|(n, _)| *n == name).unwrap();
        assert_eq!(target(&bytes), Ok(()), "{name}/{file}");
    }
}

/// Pieces that parsers treat specially.
const PIECES: [&[u8]; 14] = [
    b"[",
    b"{\"",
    b"\"",
    b"-1",
    b"1e999",
    b"18446744073709551615",
    b"null",
    b"\xff",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"{% for i in range(99999) %}",
    b"\n",
    b"..",
    b"\xf0\x9f\x98\x80",
];

/// A corpus file with one to eight places changed or filled from another file.
fn changed(files: &[Vec<u8>], rng: &mut impl Rng) -> Vec<u8> {
    let mut file = files.choose(rng).unwrap().clone();
    for _ in 0..rng.random_range(1..=8) {
        let at = rng.random_range(0..=file.len());
        let end = (at + rng.random_range(0..16)).min(file.len());
        match rng.random_range(0..6) {
            0 if at < file.len() => file[at] ^= 1 << rng.random_range(0..8),
            1 if at < file.len() => file[at] = rng.random(),
            2 => drop(file.splice(at..end, PIECES.choose(rng).unwrap().iter().copied())),
            3 => drop(file.drain(at..end)),
            4 => {
                let other = files.choose(rng).unwrap();
                let from = rng.random_range(0..=other.len());
                let to = (from + rng.random_range(0..64)).min(other.len());
                drop(file.splice(at..end, other[from..to].iter().copied()));
            }
            _ if rng.random_range(0..8) == 0 => file.truncate(at),
            _ => {}
        }
    }
    file
}

/// Mutations of the corpora: `WICK_MUTATIONS` (300) for each reader, or for `WICK_TARGET` alone.
/// They are the same in each run; `WICK_SEED` gives others.
#[test]
fn changed_files_are_read_or_refused_in_one_line() {
    let var = |name| std::env::var(name).ok();
    let n: u64 = var("WICK_MUTATIONS").map_or(300, |n| n.parse().unwrap());
    let seed: u64 = var("WICK_SEED").map_or(0, |n| n.parse().unwrap());
    let only = var("WICK_TARGET");
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let is_chosen = |name: &str| only.as_ref().is_none_or(|only| only == name);
    let chosen: Vec<_> = targets::TARGETS.iter().filter(|t| is_chosen(t.0)).collect();
    assert!(!chosen.is_empty(), "WICK_TARGET = {only:?} is no target");
    for (name, target) in chosen {
        let mut paths: Vec<_> = std::fs::read_dir(corpus.join(name)).unwrap().collect();
        paths.sort_by_key(|entry| entry.as_ref().unwrap().path());
        let files = paths
            .into_iter()
            .map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
        let files: Vec<Vec<u8>> = files.collect();
        let mut rng = run::stream(seed, name, 0, 0);
        for _ in 0..n {
            let file = changed(&files, &mut rng);
            let shown = String::from_utf8_lossy(&file);
            let result = catch_unwind(AssertUnwindSafe(|| target(&file)));
            let result = result.unwrap_or_else(|_| panic!("{name} panics at {shown:?} ({file:?})"));
            if let Err(error) = result {
                assert_one_line(&error, &format!("{name} {shown:?}"));
            }
        }
    }
}

#[test]
fn a_post_processor_that_adds_unknown_tokens_is_refused() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/tokenizer");
    let (_, target) = targets::TARGETS
        .iter()
        .find(|t| t.0 == "tokenizer")
        .unwrap();
    for file in ["unknown_special", "unknown_special_inside"] {
        let error = target(&std::fs::read(corpus.join(file)).unwrap()).unwrap_err();
        let what = "its post_processor inserts \"<s>\", which its special_tokens lack";
        assert!(error.ends_with(what), "{error}");
    }
}

fn render(source: &str) -> String {
    let template = Template::Chat {
        source: source.into(),
        bos: "<s>".into(),
        eos: "</s>".into(),
        date: None,
    };
    let ask = Ask::Chat(vec![Message::new("user", "q")]);
    match template.render(&ask) {
        Ok(text) => text,
        Err(e) => format!("error: {e}"),
    }
}

#[test]
fn a_template_cannot_read_files() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "a secret").unwrap();
    for source in [
        "{% include 'PATH' %}",
        "{% extends 'PATH' %}",
        "{% import 'PATH' as p %}{{ p }}",
        "{% from 'PATH' import p %}{{ p }}",
    ] {
        let text = render(&source.replace("PATH", secret.to_str().unwrap()));
        assert!(text.starts_with("error: chat template"), "{source}: {text}");
        assert!(!text.contains("a secret"), "{source}: {text}");
    }
}

#[test]
fn a_template_is_bounded_in_steps_and_output() {
    let loops = "{% for i in range(90000) %}{% for j in range(90000) %}{% endfor %}{% endfor %}";
    assert_eq!(
        render(loops),
        "error: chat template: does not finish within the limit of steps"
    );
    for source in [
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% for i in range(1000000000) %}x{% endfor %}",
        "{{ messages | tojson(indent=1000000000) }}",
        "{{ 'x' * 1000000000 }}",
    ] {
        let text = render(source);
        let is_error = text.starts_with("error: chat template");
        assert!(is_error, "{source}: {} bytes", text.len());
    }
    assert_eq!(
        render("{% for i in range(90000) %}{{ 'twenty letters of it' }}{% endfor %}"),
        "error: chat template: writes more than 1 MiB plus four times the conversation"
    );
}

/// No thread can catch an overflow of the stack or of memory, so these are refused beforehand.
#[test]
fn a_template_is_bounded_in_nesting_and_width() {
    let nest = "{% set ns = namespace(x=[]) %}{% for i in range(90000) %}{% set ns.x = [ns.x] %}{% endfor %}";
    // many levels per step
    let (open, close) = ("[".repeat(40), "]".repeat(40));
    let nest_fast = format!(
        "{{% set ns = namespace(x=[]) %}}{{% for i in range(20000) %}}{{% set ns.x = {open}ns.x{close} %}}{{% endfor %}}"
    );
    for (source, expected) in [
        (nest.to_string(), ""),
        (format!("{nest}{{{{ ns.x | tojson | length }}}}"), "180002"),
        (format!("{nest}{{{{ ns.x | string | length }}}}"), "180002"),
        (format!("{nest_fast}{{{{ ns.x == ns.x }}}}"), "True"),
        (format!("{{{{ {}1 }}}}", "not ".repeat(30_000)), "True"),
        (format!("{{{{ {}1 }}}}", "-".repeat(131_000)), "1"),
        (format!("{{{{ 1{} }}}}", "+1".repeat(65_000)), "65001"),
        (
            "x".repeat(131_073),
            "error: chat template: 131073 bytes long, more than the limit of 131072",
        ),
        (
            "{{ messages | slice(1000000000000) }}".into(),
            "error: chat template (line 1): a width of 1000000000000 is more than the limit of 100000",
        ),
        (
            "{{ messages | batch(1000000000000, 'x') }}".into(),
            "error: chat template (line 1): a width of 1000000000000 is more than the limit of 100000",
        ),
        (
            "{{ 'x' | indent(width=1000000000000) }}".into(),
            "error: chat template (line 1): a width of 1000000000000 is more than the limit of 100000",
        ),
        (
            "{{ '%1000000000000d' | format(1) }}".into(),
            "error: chat template (line 1): a width of 1000000000000 is more than the limit of 100000",
        ),
        (
            "{{ '{:1000000000000}'.format(1) }}".into(),
            "error: chat template (line 1): a width of 1000000000000 is more than the limit of 100000",
        ),
        (
            "{{ ([1] * 9000000000000) | list }}".into(),
            "error: chat template (line 1): repeated sequence is too large",
        ),
        ("{{ [1, 2, 3] | batch(2) | list }}".into(), "[[1, 2], [3]]"),
        ("{{ 'a\nb' | indent(2) }}".into(), "a\n  b"),
        ("{{ 'a\nb' | indent(width=2) }}".into(), "a\n  b"),
        (
            "{{ '%03d' | format(7) }}{{ '{:>3}'.format(7) }}".into(),
            "007  7",
        ),
    ] {
        let shown: String = source.chars().take(60).collect();
        assert_eq!(render(&source), expected, "{shown}");
    }
}

/// With few steps, so that their limit is not what stops it. In a process of its own, which ends
/// the abandoned threads.
#[test]
fn a_template_is_bounded_in_time_and_memory() {
    const CHILD: &str = "HOSTILE_TEST_TEMPLATE_CHILD";
    if let Ok(source) = std::env::var(CHILD) {
        println!("\n{}", render(&source));
        std::process::exit(0);
    }
    let slow = "{% set a = range(100000) | list %}{% for i in a %}{% set b = a | sort | length %}{% endfor %}";
    let doubled = format!("{{% set x = 'x' %}}{}", "{% set x = x ~ x %}".repeat(37));
    let out_of_time = "error: chat template: does not finish within 10 s";
    let out_of_memory = "error: chat template: uses more than 512 MiB of memory";
    // on a busy machine doubling a text may run out of time before it runs out of memory
    for (source, expected) in [
        (slow, &[out_of_time][..]),
        (&doubled, &[out_of_memory, out_of_time]),
    ] {
        let output = crate::common::again_in_a_child([(CHILD, source)]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            text.lines().any(|line| expected.contains(&line)),
            "{expected:?}: {text}"
        );
    }
}

#[test]
fn an_index_cannot_name_files_outside_its_directory() {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/tiny/base");
    for name in [
        "../secret.safetensors",
        "/etc/secret.safetensors",
        "a\\b.safetensors",
        "x.bin",
    ] {
        let dir = tempfile::tempdir().unwrap();
        for file in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
            std::fs::copy(base.join(file), dir.path().join(file)).unwrap();
        }
        let index = serde_json::json!({"weight_map": {"model.norm.weight": name}});
        let file = dir.path().join("model.safetensors.index.json");
        std::fs::write(&file, index.to_string()).unwrap();
        let source = models::ModelSource::Dir(dir.path().to_path_buf());
        let error = models::load(&source, &candle_core::Device::Cpu)
            .err()
            .unwrap();
        let shown = serde_json::Value::from(name);
        assert_eq!(
            error.to_string(),
            format!(
                "{}: model.norm.weight points to {shown}, not to a safetensors file beside it",
                file.display()
            )
        );
    }
}

#[test]
fn a_hub_token_is_not_printed() {
    let vars = |name: &str| match name {
        "HF_TOKEN" => Some("hf_a_secret".to_string()),
        "HF_HOME" => Some("/nowhere".to_string()),
        _ => None,
    };
    let hub = hub::HubSettings::from_vars(vars).unwrap();
    assert_eq!(hub.token.as_deref(), Some("hf_a_secret"));
    assert!(!format!("{hub:?}").contains("a_secret"));
}
