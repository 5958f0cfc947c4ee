//! Every form of PEFT's `LoraConfig` that is read, against PEFT: logits, merged weights, gradients
//! and a step of further training. Cases: `scripts/golden/peft_forms.py`.
//!
//! Long because one function has the table of mistakes.

use super::gradients::golden_nll;
use super::{batch, logits, tiny};
use candle_core::Tensor;
use models::{CausalLm, Lora, LoraConfig, LoraTargets};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::PathBuf;
use testkit::{assert_close, golden, golden_tensors};
use train::{AdamW, Gradients, OptimizerConfig};

/// Each form, with its number of adapted matrices in the two layers.
const FORMS: [(&str, usize); 5] = [
    ("patterns", 8),
    ("rslora", 4),
    ("regex", 3),
    ("all-linear", 14),
    ("paths", 2),
];

fn dir(name: &str) -> PathBuf {
    golden("peft-forms").join(name)
}

fn forms() -> HashMap<String, Tensor> {
    golden_tensors("peft-forms/forms.safetensors")
}

fn open(name: &str, model: &CausalLm) -> Lora {
    Lora::load(&dir(name), model).unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[test]
fn logits_and_merged_weights_equal_peft() {
    let (wanted, model) = (forms(), tiny("tied").model);
    let (ids, layout) = batch(&wanted);
    for (name, n_matrices) in FORMS {
        let lora = open(name, &model);
        assert_eq!(lora.tensors().len(), 2 * n_matrices, "{name}");
        assert_eq!(lora.config.n_tensors(&model.config), 2 * n_matrices);
        let found = logits(&model, &ids, &layout, Some(&lora));
        assert_close(name, &found, &wanted[&format!("{name}.logits")], 1e-4);
        let bare = logits(&model, &ids, &layout, None);
        let change = (&found - &bare).unwrap().abs().unwrap().max_all().unwrap();
        assert!(change.to_scalar::<f32>().unwrap() > 0.05, "{name}");
        let merged = model.merged(&lora).unwrap();
        let found = logits(&merged, &ids, &layout, None);
        assert_close(name, &found, &wanted[&format!("{name}.merged")], 1e-4);
    }
}

#[test]
fn gradients_and_a_step_of_further_training_equal_pytorch() {
    let (wanted, model) = (forms(), tiny("tied").model);
    for (name, n_matrices) in FORMS {
        let lora = open(name, &model).trainable().unwrap();
        let loss = golden_nll(&wanted, &model, Some(&lora)).unwrap();
        let expected = wanted[&format!("{name}.loss")].get(0).unwrap();
        assert_close(name, &loss, &expected, 1e-5);
        let config = OptimizerConfig {
            weight_decay: 0.0,
            ..OptimizerConfig::default()
        };
        let mut optimizer = AdamW::new(lora.vars(), &config).unwrap();
        let mut grads = Gradients::zeros(optimizer.params());
        grads.add(&loss.backward().unwrap()).unwrap();
        assert_eq!(lora.vars().len(), 2 * n_matrices, "{name}");
        for (key, _) in lora.vars() {
            let expected = &wanted[&format!("{name}.grad.{key}")];
            assert_close(&key, grads.get(&key).unwrap(), expected, 1e-4);
        }
        optimizer.step(&grads, 1e-2, 1.0).unwrap();
        for (key, var) in lora.vars() {
            let expected = &wanted[&format!("{name}.step.{key}")];
            assert_close(&format!("{key} after a step"), &var, expected, 1e-4);
        }
        // what is saved is the same adapter in PEFT's form
        let saved = tempfile::tempdir().unwrap();
        lora.save(saved.path(), "tiny-llama/tied").unwrap();
        let again = Lora::load(saved.path(), &model).unwrap();
        assert_eq!(again.config, lora.config, "{name}");
        for ((key, a), (_, b)) in again.tensors().iter().zip(lora.tensors()) {
            assert_close(key, a, &b, 0.0);
        }
    }
}

/// PEFT saves the names that "all-linear" stands for; the word itself adapts the same matrices, and
/// so does an expression that matches them all.
#[test]
fn all_linear_is_every_matrix_of_every_layer() {
    let model = tiny("tied").model;
    let tensors = |lora: &Lora| {
        let keys = lora.tensors().into_iter().map(|(key, _)| key);
        keys.collect::<Vec<_>>()
    };
    let expected = tensors(&open("all-linear", &model));
    for targets in [LoraTargets::AllLinear, r".*_proj".into()] {
        let config = LoraConfig {
            r: 2,
            targets,
            ..LoraConfig::default()
        };
        let lora = Lora::init(&config, &model, 1).unwrap();
        assert_eq!(tensors(&lora), expected);
        let saved = tempfile::tempdir().unwrap();
        lora.save(saved.path(), "base").unwrap();
        assert_eq!(
            tensors(&Lora::load(saved.path(), &model).unwrap()),
            expected
        );
    }
}

/// Each mistake is one line that names the file and PEFT's key.
#[test]
fn wrong_forms_are_refused_by_their_key() {
    let model = tiny("tied").model;
    let error = |form: &str, key: &str, value: Value| {
        let copy = tempfile::tempdir().unwrap();
        for file in ["adapter_config.json", "adapter_model.safetensors"] {
            fs::copy(dir(form).join(file), copy.path().join(file)).unwrap();
        }
        let file = copy.path().join("adapter_config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        config[key] = value;
        fs::write(&file, config.to_string()).unwrap();
        let text = Lora::load(copy.path(), &model).unwrap_err().to_string();
        // a plan, which reads no weight, says the same
        let plan = LoraConfig::of_adapter_on(copy.path(), &model.config);
        assert_eq!(plan.unwrap_err().to_string(), text);
        assert!(!text.contains('\n') && !text.contains("lora."), "{text}");
        text
    };
    for (form, key, value, expected) in [
        (
            "regex",
            "target_modules",
            json!("model\\.(layers"),
            "adapter_config.json: target_modules: \"model\\.(layers\" is not a regular expression",
        ),
        (
            "regex",
            "target_modules",
            json!("q_pro"),
            "adapter_config.json: target_modules: \"q_pro\" matches no matrix",
        ),
        (
            "patterns",
            "rank_pattern",
            json!({"v_pro[": 2}),
            "adapter_config.json: rank_pattern: \"v_pro[\" is not a regular expression",
        ),
        (
            "patterns",
            "rank_pattern",
            json!({"v_proj": 2, ".*layers\\.0.*": 3}),
            "adapter_config.json: rank_pattern: \".*layers\\.0.*\" and \"v_proj\" both match \
             model.layers.0.self_attn.v_proj and differ",
        ),
        (
            "patterns",
            "alpha_pattern",
            json!({"q_proj": 1, "self_attn.q_proj": 2}),
            "adapter_config.json: alpha_pattern: \"q_proj\" and \"self_attn.q_proj\" both match",
        ),
        (
            "patterns",
            "rank_pattern",
            json!({"v_proj": 0}),
            "adapter_config.json: rank_pattern = 0: the rank must be at least 1",
        ),
        (
            "patterns",
            "rank_pattern",
            json!({"v_proj": 7}),
            "lora_A.weight is [",
        ),
        (
            "patterns",
            "rank_pattern",
            json!([2]),
            "adapter_config.json: rank_pattern = [2] is not a map",
        ),
        (
            "all-linear",
            "target_modules",
            json!(["q_proj", "lm_head"]),
            "adapter_config.json: target_modules has \"lm_head\", and an adapter on embeddings or \
             head is not supported; where the base's tie_word_embeddings is true",
        ),
    ] {
        let text = error(form, key, value);
        assert!(
            text.contains(expected),
            "{text}\ndoes not contain {expected}"
        );
    }
    // two that agree are no contradiction
    let config = LoraConfig {
        rank_pattern: BTreeMap::from([("v_proj".into(), 3), ("self_attn.v_proj".into(), 3)]),
        ..LoraConfig::default()
    };
    Lora::init(&config, &model, 1).unwrap();
}
