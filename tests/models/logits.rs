//! Logits against transformers, PEFT and candle-transformers.

use super::{CPU, adapter, batch, logits, tiny};
use candle_core::{DType, Tensor};
use models::{CausalLm, Config, Lora, LoraConfig, RopeScaling};
use ops::Ragged;
use std::collections::HashMap;
use testkit::{assert_close, golden_tensors};

#[test]
fn logits_equal_transformers() {
    let wanted = golden_tensors("tiny-llama/logits.safetensors");
    let (ids, layout) = batch(&wanted);
    for name in ["tied", "untied", "llama3"] {
        let found = logits(&tiny(name).model, &ids, &layout, None);
        assert_close(name, &found, &wanted[name], 1e-4);
    }
    // linear scaling: the weights of tied/ under another config
    let tied = tiny("tied").model;
    let mut linear = CausalLm::init(
        &Config {
            rope_scaling: RopeScaling::Linear { factor: 2.5 },
            ..tied.config.clone()
        },
        0,
        CPU,
    )
    .unwrap();
    for ((_, var), (_, weight)) in linear.make_trainable().unwrap().iter().zip(tied.tensors()) {
        var.set(&weight).unwrap();
    }
    let found = logits(&linear, &ids, &layout, None);
    assert_close("linear", &found.detach(), &wanted["linear"], 1e-4);
}

#[test]
fn adapters_and_merged_weights_equal_peft() {
    let wanted = golden_tensors("tiny-llama/logits.safetensors");
    let (ids, layout) = batch(&wanted);
    let model = tiny("tied").model;
    for name in ["adapter", "rslora"] {
        let lora = adapter(name, &model);
        let found = logits(&model, &ids, &layout, Some(&lora));
        assert_close(name, &found, &wanted[name], 1e-4);
        let merged = model.merged(&lora).unwrap();
        let found = logits(&merged, &ids, &layout, None);
        assert_close(&format!("{name} merged"), &found, &wanted[name], 1e-4);
    }
    // and what PEFT itself merged
    let merged = model.merged(&adapter("adapter", &model)).unwrap();
    let found = logits(&merged, &ids, &layout, None);
    assert_close("merged", &found, &wanted["adapter_merged"], 1e-4);
}

#[test]
fn several_adapters_share_one_base() {
    let wanted = golden_tensors("tiny-llama/logits.safetensors");
    let (ids, layout) = batch(&wanted);
    let model = tiny("tied").model;
    let (one, two) = (adapter("adapter", &model), adapter("rslora", &model));
    for (name, lora) in [
        ("adapter", Some(&one)),
        ("rslora", Some(&two)),
        ("tied", None),
        ("adapter", Some(&one)),
    ] {
        let found = logits(&model, &ids, &layout, lora);
        assert_close(name, &found, &wanted[name], 1e-4);
    }
}

#[test]
fn logits_equal_candle_transformers() {
    use candle_transformers::models::llama as theirs;
    // "untied" has a head_dim of its own, which candle-transformers does not know
    for tie in [true, false] {
        let config = Config {
            tie_word_embeddings: tie,
            ..tiny("tied").model.config
        };
        let model = CausalLm::init(&config, 8, CPU).unwrap();
        let c = &model.config;
        let config = theirs::Config {
            hidden_size: c.hidden_size,
            intermediate_size: c.intermediate_size,
            vocab_size: c.vocab_size,
            num_hidden_layers: c.num_hidden_layers,
            num_attention_heads: c.num_attention_heads,
            num_key_value_heads: c.num_key_value_heads,
            use_flash_attn: false,
            rms_norm_eps: c.rms_norm_eps,
            rope_theta: c.rope_theta as f32,
            bos_token_id: None,
            eos_token_id: None,
            rope_scaling: None,
            max_position_embeddings: c.max_position_embeddings,
            tie_word_embeddings: c.tie_word_embeddings,
        };
        let weights: HashMap<String, Tensor> = model.tensors().into_iter().collect();
        let vb = candle_nn::VarBuilder::from_tensors(weights, DType::F32, CPU);
        let oracle = theirs::Llama::load(vb, &config).unwrap();
        let mut cache = theirs::Cache::new(false, DType::F32, &config, CPU).unwrap();
        let ids: Vec<u32> = (0..20).map(|i| 3 + i * 37 % 90).collect();
        let input = Tensor::new(ids.as_slice(), CPU)
            .unwrap()
            .unsqueeze(0)
            .unwrap();
        let wanted = oracle.forward(&input, 0, &mut cache).unwrap();
        let found = logits(&model, &ids, &Ragged::from_lens(&[20]), None);
        let last = found.narrow(0, 19, 1).unwrap();
        assert_close(&format!("tied: {tie}"), &last, &wanted, 1e-4);
    }
}

#[test]
fn fingerprints_tell_models_apart() {
    let model = tiny("tied").model;
    let fingerprint = model.fingerprint().unwrap();
    assert_eq!(fingerprint, tiny("tied").model.fingerprint().unwrap());
    assert_ne!(fingerprint, tiny("untied").model.fingerprint().unwrap());
    let merged = model.merged(&adapter("adapter", &model)).unwrap();
    assert_ne!(fingerprint, merged.fingerprint().unwrap());
    let plain = Lora::init(&LoraConfig::default(), &model, 0).unwrap();
    let same = model.merged(&plain).unwrap();
    assert_eq!(fingerprint, same.fingerprint().unwrap());
}
