//! Qwen2.5-Coder-0.5B-Instruct from its GGUF file against transformers (scripts/golden/qwen.py):
//! chat prompts, logits, greedy answers.

use super::golden_model::{check_greedy, check_logits, check_prompt, encoder, ids};
use candle_core::Device;
use models::ModelSource;
use testkit::golden_json;

/// Of a logit, relative where it is above 1. Both sides compute in f32 with the numbers that the
/// file's blocks stand for; the largest difference found was 1.3e-6.
const TOLERANCE: f64 = 1e-5;

#[test]
fn prompts_logits_and_answers_match_transformers() {
    let golden = golden_json("qwen2.5-0.5b.json");
    let loaded = models::load(&ModelSource::Gguf(super::inputs::qwen()), &Device::Cpu).unwrap();
    let special = &loaded.special;
    assert_eq!(special.bos, Some((151_643, "<|endoftext|>".to_string())));
    assert_eq!(special.eos, [(151_645, "<|im_end|>".to_string())]);
    assert!(!special.add_bos);
    let config = &loaded.model.config;
    // the file holds both matrices
    assert!(!config.tie_word_embeddings);
    assert_eq!(config.num_attention_heads, 14);
    assert_eq!(config.num_key_value_heads, 2);
    assert_eq!(config.rope_theta, 1e6);
    assert_eq!(config.rms_norm_eps, 1e-6);

    let chat = golden["chat"].as_array().unwrap();
    assert_eq!(chat.len(), 3);
    let template = loaded.chat_template.clone().unwrap();
    let encoder = encoder(&loaded.tokenizer, &loaded.special, template, None);
    for case in chat {
        let prompt = case["prompt"].as_str().unwrap();
        check_prompt(&encoder, &case["messages"], prompt, &ids(&case["ids"]));
        let answer = loaded.tokenizer.decode(&ids(&case["next"]), false).unwrap();
        assert_eq!(answer, case["answer"]);
    }
    let texts = golden["logits"].as_array().unwrap();
    assert_eq!(texts.len(), 3);
    for case in texts {
        let text = case["text"].as_str().unwrap();
        let found = loaded.tokenizer.encode(text, false).unwrap();
        assert_eq!(found.get_ids(), ids(&case["ids"]), "{text:?}");
        check_logits(&loaded, case, TOLERANCE);
    }
    check_greedy(&loaded, chat);
}
