//! Files of one model that contradict each other: settled as transformers does and said, or refused
//! with both sides.

use super::{copy, edit_json, edit_weights, load, says};
use candle_core::Tensor;
use models::{Fetch, ModelMeta, ModelSource, model_meta};
use serde_json::json;
use std::fs;
use std::path::Path;

fn meta(dir: &Path) -> models::Result<ModelMeta> {
    model_meta(&ModelSource::Dir(dir.to_path_buf()), Fetch::Whole)
}

/// What becomes of a contradiction.
enum Outcome {
    /// Read without a word.
    Silent(fn(&ModelMeta)),
    /// Read, and a note holds these parts.
    Noted(fn(&ModelMeta), &'static [&'static str]),
    /// Refused in a line with these parts.
    Refused(&'static [&'static str]),
}
use Outcome::{Noted, Refused, Silent};

/// Sets keys of a JSON file, which need not exist. `<s>` is 1, `</s>` is 2.
fn edit(dir: &Path, file: &str, value: serde_json::Value) {
    let path = dir.join(file);
    if !path.exists() {
        fs::write(&path, "{}").unwrap();
    }
    edit_json(&path, |v| {
        for (key, value) in value.as_object().unwrap() {
            v[key] = value.clone();
        }
    });
}

fn template(meta: &ModelMeta) -> &str {
    meta.chat_template.as_deref().unwrap_or_default()
}

fn eos(meta: &ModelMeta) -> Vec<u32> {
    meta.special.eos.iter().map(|(id, _)| *id).collect()
}

type Case = (&'static str, fn(&Path), Outcome);

fn templates() -> Vec<Case> {
    vec![
        (
            "chat_template.jinja and the config's template",
            |dir| edit(dir, "tokenizer_config.json", json!({"chat_template": "C"})),
            Noted(
                |meta| assert!(template(meta).starts_with("{% for m in messages %}<s>")),
                &["chat_template.jinja is used"],
            ),
        ),
        (
            "the same template twice",
            |dir| {
                fs::write(dir.join("chat_template.jinja"), "C").unwrap();
                edit(dir, "tokenizer_config.json", json!({"chat_template": "C"}));
            },
            Silent(|meta| assert_eq!(template(meta), "C")),
        ),
        (
            "a list without a default",
            |dir| {
                fs::remove_file(dir.join("chat_template.jinja")).unwrap();
                let list = json!([{"name": "tool_use", "template": "T"}, {"name": "rag", "template": "R"}]);
                edit(dir, "tokenizer_config.json", json!({"chat_template": list}));
            },
            Refused(&["tokenizer_config.json", "tool_use, rag", "default"]),
        ),
        (
            "a template for tools with generation tags beside one without",
            |dir| {
                fs::create_dir(dir.join("additional_chat_templates")).unwrap();
                let tagged = "{% generation %}T{% endgeneration %}";
                fs::write(dir.join("additional_chat_templates/tool_use.jinja"), tagged).unwrap();
            },
            Silent(|meta| assert!(template(meta).starts_with("{% for m in messages %}<s>"))),
        ),
        (
            "only additional templates",
            |dir| {
                fs::remove_file(dir.join("chat_template.jinja")).unwrap();
                fs::create_dir(dir.join("additional_chat_templates")).unwrap();
                fs::write(dir.join("additional_chat_templates/rag.jinja"), "R").unwrap();
            },
            Refused(&["additional_chat_templates/rag.jinja", "chat_template.jinja"]),
        ),
        (
            "a template that is no text",
            |dir| {
                edit(
                    dir,
                    "tokenizer_config.json",
                    json!({"chat_template": {"a": 1}}),
                )
            },
            Refused(&["tokenizer_config.json", "chat_template is an object"]),
        ),
    ]
}

fn added_tokens() -> Vec<Case> {
    vec![
        (
            "a token of added_tokens.json alone",
            |dir| {
                let next = next_id(dir);
                edit(dir, "added_tokens.json", json!({"<|im_end|>": next}));
                edit(
                    dir,
                    "tokenizer_config.json",
                    json!({"eos_token": "<|im_end|>"}),
                );
            },
            Silent(|meta| {
                let ids = meta.tokenizer.encode("the<|im_end|>", false).unwrap();
                let end = meta.special.eos[0].0;
                assert_eq!(meta.special.eos[0].1, "<|im_end|>");
                assert_eq!(ids.get_ids().last(), Some(&end));
                assert!(meta.tokenizer.get_added_tokens_decoder()[&end].special);
            }),
        ),
        (
            "a token of added_tokens_decoder alone",
            |dir| {
                let token = json!({"content": "<|im_end|>", "special": false, "lstrip": true});
                let next = next_id(dir).to_string();
                edit(
                    dir,
                    "tokenizer_config.json",
                    json!({"added_tokens_decoder": {next: token}}),
                );
            },
            Silent(|meta| {
                let id = meta.tokenizer.token_to_id("<|im_end|>").unwrap();
                let token = &meta.tokenizer.get_added_tokens_decoder()[&id];
                assert!(!token.special && token.lstrip && token.normalized);
            }),
        ),
        (
            "an id that is another token",
            |dir| edit(dir, "added_tokens.json", json!({"<|im_end|>": 2})),
            Refused(&[
                "added_tokens.json",
                "\"<|im_end|>\" the id 2",
                "\"</s>\" in tokenizer.json",
            ]),
        ),
        (
            "a token with two ids",
            |dir| edit(dir, "added_tokens.json", json!({"</s>": 95})),
            Refused(&[
                "added_tokens.json",
                "\"</s>\" the id 95",
                "tokenizer.json gives it 2",
            ]),
        ),
        (
            "an id beyond the next free one",
            |dir| edit(dir, "added_tokens.json", json!({"<|im_end|>": 4000})),
            Refused(&["added_tokens.json", "the id 4000", "next free id"]),
        ),
        (
            "an id that is no number",
            |dir| edit(dir, "added_tokens.json", json!({"<|im_end|>": "x"})),
            Refused(&["added_tokens.json", "\"x\"", "not a token id"]),
        ),
    ]
}

fn special_tokens() -> Vec<Case> {
    vec![
        (
            "an EOS that the tokenizer lacks",
            |dir| {
                edit(
                    dir,
                    "tokenizer_config.json",
                    json!({"eos_token": "<|im_end|>"}),
                )
            },
            Refused(&[
                "tokenizer_config.json",
                "eos_token",
                "<|im_end|>",
                "tokenizer.json",
            ]),
        ),
        (
            "a BOS that the tokenizer lacks",
            |dir| {
                edit(
                    dir,
                    "tokenizer_config.json",
                    json!({"bos_token": {"content": "<b>"}}),
                )
            },
            Refused(&[
                "tokenizer_config.json",
                "bos_token",
                "<b>",
                "tokenizer.json",
            ]),
        ),
        (
            "a pad token that the tokenizer lacks",
            |dir| edit(dir, "tokenizer_config.json", json!({"pad_token": "[PAD]"})),
            Noted(
                |meta| assert_eq!(eos(meta), [2]),
                &["pad_token", "[PAD]", "not used"],
            ),
        ),
        (
            "special_tokens_map.json over the config",
            |dir| edit(dir, "special_tokens_map.json", json!({"eos_token": "<s>"})),
            Noted(
                |meta| assert_eq!(eos(meta), [1, 2]),
                &[
                    "eos_token",
                    "\"</s>\"",
                    "\"<s>\"",
                    "that of special_tokens_map.json is used",
                ],
            ),
        ),
        (
            "special_tokens_map.json under added_tokens_decoder",
            |dir| {
                edit(dir, "special_tokens_map.json", json!({"eos_token": "<s>"}));
                edit(
                    dir,
                    "tokenizer_config.json",
                    json!({"added_tokens_decoder": {}}),
                );
            },
            Noted(
                |meta| assert_eq!(eos(meta), [2]),
                &["that of tokenizer_config.json is used"],
            ),
        ),
    ]
}

fn ids_and_weights() -> Vec<Case> {
    vec![
        (
            "generation_config's EOS and config's",
            |dir| {
                edit(
                    dir,
                    "generation_config.json",
                    json!({"eos_token_id": [2, 5]}),
                );
                edit(dir, "config.json", json!({"eos_token_id": [2, 7]}));
            },
            Noted(
                |meta| assert_eq!(eos(meta), [2, 5]),
                &["config.json's eos_token_id 7", "generation_config.json"],
            ),
        ),
        (
            "config's EOS where generation_config has none",
            |dir| {
                edit(dir, "generation_config.json", json!({"eos_token_id": null}));
                edit(dir, "config.json", json!({"eos_token_id": [7, 2]}));
            },
            Silent(|meta| assert_eq!(eos(meta), [2, 7])),
        ),
        (
            "an EOS id that is not a token",
            |dir| {
                edit(
                    dir,
                    "generation_config.json",
                    json!({"eos_token_id": [2, 900]}),
                )
            },
            Noted(
                |meta| assert_eq!(eos(meta), [2]),
                &[
                    "eos_token_id 900 of generation_config.json",
                    "not in tokenizer.json",
                ],
            ),
        ),
        (
            "a tokenizer larger than the vocabulary",
            |dir| edit(dir, "config.json", json!({"vocab_size": 50})),
            Refused(&["tokenizer.json", "ids", "vocabulary is 50"]),
        ),
        (
            "tied embeddings with the same head",
            |dir| head(dir, 1.0),
            Silent(|meta| assert!(meta.config.tie_word_embeddings)),
        ),
        (
            "tied embeddings with another head",
            |dir| head(dir, 2.0),
            Noted(
                |meta| assert!(!meta.config.tie_word_embeddings),
                &["tie_word_embeddings", "lm_head", "used"],
            ),
        ),
    ]
}

/// The id after the tokenizer's last one.
fn next_id(dir: &Path) -> u32 {
    let tokenizer = meta(dir).unwrap().tokenizer;
    tokenizer.get_vocab(true).into_values().max().unwrap() + 1
}

/// Stores an lm_head that is the embeddings times `scale`.
fn head(dir: &Path, scale: f64) {
    edit_weights(&dir.join("model.safetensors"), |tensors| {
        let head: Tensor = (&tensors["model.embed_tokens.weight"] * scale).unwrap();
        tensors.insert("lm_head.weight".into(), head);
    });
}

#[test]
fn contradictions_are_settled_as_in_transformers_or_refused() {
    let cases = [
        templates(),
        added_tokens(),
        special_tokens(),
        ids_and_weights(),
    ];
    let cases: Vec<Case> = cases.into_iter().flatten().collect();
    assert_eq!(cases.len(), 23);
    for (name, spoil, outcome) in cases {
        let dir = copy("tied");
        // the tokenizer has 96
        edit(dir.path(), "config.json", json!({"vocab_size": 100}));
        spoil(dir.path());
        let found = meta(dir.path());
        match outcome {
            Refused(parts) => says(found, parts),
            Silent(check) => {
                let found = found.unwrap_or_else(|e| panic!("{name}: {e}"));
                check(&found);
                assert!(found.notes.is_empty(), "{name}: {:?}", found.notes);
            }
            Noted(check, parts) => {
                let found = found.unwrap_or_else(|e| panic!("{name}: {e}"));
                check(&found);
                let [note] = &found.notes[..] else {
                    panic!("{name}: {:?}", found.notes);
                };
                for part in parts {
                    assert!(note.contains(part), "{name}: {part:?} is not in: {note}");
                }
            }
        }
    }
}

/// The stored head is what the model computes with.
#[test]
fn a_head_that_differs_from_tied_embeddings_is_loaded() {
    let dir = copy("tied");
    head(dir.path(), 2.0);
    let model = load(dir.path()).unwrap().model;
    let embeddings = model
        .tensors()
        .into_iter()
        .find(|(name, _)| name.contains("embed"));
    let wide = |tensor: &Tensor| ops::widened(tensor).unwrap();
    let twice = (wide(&embeddings.unwrap().1) * 2.0).unwrap();
    testkit::assert_close("head", &wide(model.head()), &twice, 0.0);
}
