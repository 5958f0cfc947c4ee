//! SmolLM2-135M-Instruct from its GGUF file against transformers (scripts/golden/smollm2.py):
//! tokens, logits, greedy answers.

use super::golden_model::{check_greedy, check_logits, ids};
use candle_core::Device;
use models::ModelSource;
use testkit::golden_json;

#[test]
fn tokens_logits_and_answers_match_transformers() {
    let golden = golden_json("smollm2.json");
    let loaded = models::load(&ModelSource::Gguf(super::inputs::smollm2()), &Device::Cpu).unwrap();
    let special = &loaded.special;
    assert_eq!(special.bos, Some((1, "<|im_start|>".to_string())));
    assert_eq!(special.eos, [(2, "<|im_end|>".to_string())]);
    assert!(!special.add_bos);
    assert!(loaded.model.config.tie_word_embeddings);
    assert_eq!(loaded.model.config.rope_theta, 100_000.0);
    assert_eq!(loaded.model.config.rms_norm_eps, 1e-5);
    let template = loaded.chat_template.as_ref().unwrap();
    assert!(template.contains("<|im_start|>"));

    for case in golden["tokens"].as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        let found = loaded.tokenizer.encode(text, false).unwrap();
        assert_eq!(found.get_ids(), ids(&case["ids"]), "{text:?}");
        let back = loaded.tokenizer.decode(found.get_ids(), false).unwrap();
        assert_eq!(back, text);
    }

    check_logits(&loaded, &golden["logits"], 1e-4);
    let chat = golden["chat"].as_array().unwrap();
    for case in chat {
        let text = case["text"].as_str().unwrap();
        let found = loaded.tokenizer.encode(text, false).unwrap();
        assert_eq!(found.get_ids(), ids(&case["ids"]), "{text:?}");
    }
    check_greedy(&loaded, chat);
}
