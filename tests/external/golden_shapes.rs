//! The rows of every shape of data under real tokenizers: ids and labels are those of TRL and
//! transformers, but for the counted rows that differ by design (tests/data/golden_shapes.rs).

use super::golden_rows::{SHAPES, Shape};
use super::inputs;
use models::{Fetch, ModelSource, model_meta};
use std::collections::BTreeMap;
use tokenizers::Tokenizer;

#[track_caller]
fn check(name: &str, tokenizer: &Tokenizer, expected: &[(&str, &str, usize)]) {
    let mut found = Vec::new();
    for (shape, format) in SHAPES {
        let by_template: BTreeMap<_, _> = Shape::read(shape, format).check(name, tokenizer);
        found.extend(by_template.into_iter().map(|(what, n)| (shape, what, n)));
    }
    let expected = expected.iter();
    let expected = expected.map(|(shape, what, n)| (*shape, format!("{name} {what}"), *n));
    assert_eq!(found, expected.collect::<Vec<_>>());
}

#[test]
fn qwen_2_5() {
    let file = inputs::tokenizer("qwen2_5").join("tokenizer.json");
    let expected = [
        ("messages-blanks", "chatml all", 186),
        ("messages-blanks", "chatml last", 164),
    ];
    check("qwen2_5", &Tokenizer::from_file(file).unwrap(), &expected);
}

/// A blank after a line break is one token with it, too, in some of the texts.
#[test]
fn smollm2() {
    let source = ModelSource::Gguf(inputs::smollm2());
    let tokenizer = model_meta(&source, Fetch::Whole).unwrap().tokenizer;
    let expected = [
        ("messages-blanks", "chatml all", 182),
        ("messages-blanks", "chatml last", 153),
        ("messages-blanks", "smollm3 all", 174),
        ("messages-blanks", "smollm3 last", 145),
        ("prompt-completion", "chatml all", 19),
        ("prompt-completion", "chatml last", 19),
        ("prompt-completion", "smollm3 all", 19),
        ("prompt-completion", "smollm3 last", 19),
        ("preference", "chatml pair", 36),
        ("preference", "smollm3 pair", 36),
    ];
    check("smollm2", &tokenizer, &expected);
}
