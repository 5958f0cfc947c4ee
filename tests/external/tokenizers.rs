//! Real tokenizers under chat templates against transformers. With the templates of their families
//! (scripts/golden/chat.py), prompt and answer are the ids of the whole text tokenised at once.
//! With their own (scripts/golden/own_templates.py), prompts have the same text and ids.

use super::golden_model::{check_prompt, encoder, ids};
use super::inputs::{hf_directory, tokenizer};
use data::{Ask, Encoder, Ends, Message, Prompt, Template};
use serde_json::Value;
use testkit::golden_json;
use tokenizers::Tokenizer;

#[track_caller]
fn check(name: &str, n_equal: usize) {
    let families = golden_json("chat.json");
    let tokenizer = Tokenizer::from_file(tokenizer(name).join("tokenizer.json")).unwrap();
    let mut found = 0;
    for case in golden_json(&format!("chat-{name}.json"))["cases"]
        .as_array()
        .unwrap()
    {
        let family = &families["templates"][case["template"].as_str().unwrap()];
        let text = |value: &Value| value.as_str().unwrap().to_string();
        let template = Template::Chat {
            source: text(&family["source"]),
            bos: text(&case["bos"]),
            eos: text(&case["eos"]),
            date: None,
        };
        let end = tokenizer
            .token_to_id(case["end"].as_str().unwrap())
            .unwrap();
        let ends = Ends {
            bos: None,
            add_bos: false,
            eos: end,
            stop: Vec::new(),
        };
        let template = template.at(families["date"].as_str().unwrap());
        let encoder = Encoder::new(tokenizer.clone(), template, ends).unwrap();
        let messages: Vec<Message> = serde_json::from_value(case["messages"].clone()).unwrap();
        let prompt = Prompt::new(Ask::Chat(messages), None);
        let example = encoder
            .example(&prompt, case["answer"].as_str().unwrap())
            .unwrap();
        let (prompt_ids, whole) = (ids(&case["prompt_ids"]), ids(&case["ids"]));
        assert_eq!(example.ids[..example.prompt_len], prompt_ids, "{case}");
        assert_eq!(example.ids.last(), Some(&end), "{case}");
        if whole.starts_with(&prompt_ids) {
            assert_eq!(example.ids, whole, "{case}");
            assert!(encoder.row_notes("").is_empty(), "{case}");
            found += 1;
        } else {
            assert_eq!(encoder.row_notes("").len(), 1, "{case}");
        }
    }
    assert_eq!(found, n_equal);
}

/// SentencePiece BPE: the package of this name holds Mistral 7B's.
#[test]
fn llama_2() {
    check("llama2", 10);
}

#[test]
fn llama_3_2() {
    check("llama3_2", 4);
}

#[test]
fn qwen_2_5() {
    check("qwen2_5", 8);
}

#[test]
fn own_templates() {
    let golden = golden_json("chat-own.json");
    let date = golden["date"].as_str();
    let chats = golden["messages"].as_array().unwrap();
    assert_eq!(chats.len(), 3);
    let models = golden["prompts"].as_object().unwrap();
    assert_eq!(models.len(), 8);
    for (name, prompts) in models {
        let read = hf_directory(name);
        let template = read.chat_template.unwrap();
        let encoder = encoder(&read.tokenizer, &read.special, template, date);
        for (messages, prompt) in chats.iter().zip(prompts.as_array().unwrap()) {
            let text = prompt["text"].as_str().unwrap();
            check_prompt(&encoder, messages, text, &ids(&prompt["ids"]));
        }
    }
}
