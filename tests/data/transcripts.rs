//! Conversations in one text, by the marks of their trainers.

use super::file;
use crate::common::chat;
use data::{Ask, Format};
use serde_json::json;

fn read(text: &str) -> Result<(Ask, String), String> {
    let (_dir, path) = file("x.jsonl", json!({ "text": text }).to_string());
    let shown = format!("{}: ", path.display());
    let loaded = data::demonstrations(&path, Format::Transcript);
    let loaded = loaded.map_err(|e| e.to_string().replace(&shown, ""))?;
    let first = loaded.items[0].clone();
    Ok((first.prompt.ask, first.response))
}

#[test]
fn transcripts_of_every_style_have_the_same_turns() {
    let turns = [
        ("user", "Hi\n\nyou."),
        ("assistant", "Ho."),
        ("user", "Bye."),
    ];
    let system = [&[("system", "Be kind.")], &turns[..]].concat();
    for text in [
        "\n\nHuman: Hi\n\nyou.\n\nAssistant: Ho.\n\nHuman: Bye.\n\nAssistant: So long.",
        "User: Hi\n\nyou.\nAssistant: Ho.\nUser: Bye.\nAssistant: So long.\n",
        "### Human: Hi\n\nyou.### Assistant: Ho.### Human: Bye.### Assistant: So long.",
        "USER: Hi\n\nyou. ASSISTANT: Ho.</s>USER: Bye. ASSISTANT: So long.</s>",
        "<s>[INST] Hi\n\nyou. [/INST] Ho. </s><s>[INST] Bye. [/INST] So long. </s>",
        "<|im_start|>user\nHi\n\nyou.<|im_end|>\n<|im_start|>assistant\nHo.<|im_end|>\n\
         <|im_start|>user\nBye.<|im_end|>\n<|im_start|>assistant\nSo long.<|im_end|>\n",
        "<|user|>\nHi\n\nyou.</s>\n<|assistant|>\nHo.</s>\n<|user|>\nBye.</s>\n<|assistant|>\n\
         So long.</s>",
    ] {
        assert_eq!(
            read(text),
            Ok((chat(&turns), "So long.".to_string())),
            "{text:?}"
        );
    }
    for text in [
        "Be kind.\n\nUSER: Hi\n\nyou. ASSISTANT: Ho.</s>USER: Bye. ASSISTANT: So long.</s>",
        "Be kind.\n### Human: Hi\n\nyou.\n### Assistant: Ho.\n### Human: Bye.\n### Assistant: So \
         long.",
        "<s>[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\nHi\n\nyou. [/INST] Ho. </s><s>[INST] Bye. [/INST] \
         So long. </s>",
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi\n\nyou.<|im_end|>\n\
         <|im_start|>assistant\nHo.<|im_end|>\n<|im_start|>user\nBye.<|im_end|>\n\
         <|im_start|>assistant\nSo long.<|im_end|>\n",
    ] {
        assert_eq!(
            read(text),
            Ok((chat(&system), "So long.".to_string())),
            "{text:?}"
        );
    }
}

#[test]
fn a_text_that_is_no_transcript_is_refused() {
    for (text, what) in [
        (
            "Once upon a time.",
            "has no turns of two speakers; looked for \"Human:\", \"User:\"",
        ),
        ("He said USER: hi.", "has no turns of two speakers"),
        (
            "### Human: a### Human: b### Assistant: c",
            "does not alternate: turn 2 is of the user",
        ),
        (
            "### Assistant: a### Human: b### Assistant: c",
            "does not alternate: turn 1 is of the",
        ),
        (
            "USER: a ASSISTANT: b### Human: c### Assistant: d",
            "has turns in two styles, \"### H",
        ),
        (
            "s\n<|system|>t<|user|>a<|assistant|>b",
            "has two system prompts",
        ),
    ] {
        let error = read(text).unwrap_err();
        assert!(
            error.starts_with(&format!("row 1: field \"text\" {what}")),
            "{error}"
        );
    }
    // two million marks without an answer take no longer than the text
    let long = "[INST] ".repeat(2 << 20);
    assert!(
        read(&long)
            .unwrap_err()
            .contains("has no turns of two speakers")
    );
    let open = "### Human: a### Assistant: b### Human: c### Assistant:";
    let asked = "### Human: a### Assistant:";
    let reason = "none of its rows can be used: conversation that does not end with an assistant \
                  turn (1)";
    assert_eq!(read(asked), Err(reason.to_string()));
    // without data.format such a text is learnt as it is
    let (_dir, path) = file("x.jsonl", json!({ "text": open }).to_string());
    let loaded = data::demonstrations(&path, Format::Auto).unwrap();
    assert_eq!(loaded.items[0].response, open);
    let prompts = data::prompts(&path, Format::Transcript).unwrap();
    let turns = [("user", "a"), ("assistant", "b"), ("user", "c")];
    assert_eq!(prompts.items[0].ask, chat(&turns));
    let two = json!({ "text": open, "prompt": open }).to_string();
    let (_dir, path) = file("x.jsonl", two);
    let error = data::prompts(&path, Format::Transcript)
        .unwrap_err()
        .to_string();
    assert!(error.contains("row 1: fields \"text\" and \"prompt\" could each be the transcript"));
}
