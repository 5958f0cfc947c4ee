//! Tokenizers that would take all memory or time, and files that are no files.

use super::{copy, edit_json, load, says};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;

#[track_caller]
fn refused(part: &str, value: Value, expected: &str) {
    let dir = copy("tied");
    edit_json(&dir.path().join("tokenizer.json"), |v| v[part] = value);
    says(load(dir.path()), &["tokenizer.json", expected]);
}

#[test]
fn tokenizers_that_multiply_a_text_are_refused() {
    let replace = |found: Value, content: &str| json!({"type": "Replace", "pattern": found, "content": content});
    let doubles = replace(json!({"String": "a"}), "aa");
    for (part, steps) in [("normalizer", "normalizers"), ("decoder", "decoders")] {
        let mut list = json!({"type": "Sequence"});
        list[steps] = json!(vec![doubles.clone(); 40]);
        refused(
            part,
            list.clone(),
            &format!("its {part} can make a text 1099511627776 times longer"),
        );
        let mut nested = json!({"type": "Sequence"});
        nested[steps] = json!([list, doubles.clone()]);
        refused(part, nested, "times longer");
    }
    let one = replace(json!({"String": "a"}), &"b".repeat(2000));
    refused("normalizer", one, "2000 times longer, more than 1024");
    let any = replace(json!({"Regex": ""}), &"b".repeat(2000));
    refused("normalizer", any, "2001 times longer");
    let prepend = json!({"type": "Prepend", "prepend": "b".repeat(2000)});
    refused("normalizer", prepend, "2001 times longer");
}

#[test]
fn tokenizers_nested_or_long_without_end_are_refused() {
    let mut nested = json!({"type": "Lowercase"});
    for _ in 0..20 {
        nested = json!({"type": "Sequence", "normalizers": [nested]});
    }
    refused(
        "normalizer",
        nested,
        "its normalizer is nested deeper than 16 levels",
    );
    let many = vec![json!({"type": "Strip", "strip_left": true, "strip_right": true}); 300];
    let many = json!({"type": "Sequence", "normalizers": many});
    refused("normalizer", many, "its normalizer has more than 256 steps");
}

#[test]
fn what_is_no_regular_file_is_refused() {
    for name in [
        "tokenizer.json",
        "tokenizer_config.json",
        "generation_config.json",
        "added_tokens.json",
    ] {
        let dir = copy("tied");
        let file = dir.path().join(name);
        let _ = fs::remove_file(&file);
        fs::create_dir(&file).unwrap();
        says(load(dir.path()), &[name, "is not a regular file"]);
        fs::remove_dir(&file).unwrap();
        let made = Command::new("mkfifo").arg(&file).status().unwrap();
        assert!(made.success());
        says(load(dir.path()), &[name, "is not a regular file"]);
    }
    let dir = copy("tied");
    let large = fs::File::create(dir.path().join("tokenizer.json")).unwrap();
    large.set_len((128 << 20) + 1).unwrap();
    says(load(dir.path()), &["tokenizer.json", "larger than 128 MiB"]);
}
