//! Qwen2 against transformers and PEFT. Its q, k and v biases must reach the forward, the cached
//! step, training, merging, every file format and the memory count.

use candle_core::{DType, Device, Tensor};
use models::{
    Activations, CausalLm, Config, FAMILIES, Fetch, KvCache, Loaded, Lora, LoraConfig, ModelSource,
    SamplingWeights, WeightStorage, model_meta,
};
use ops::Ragged;
use serde_json::{Value, json};
use std::collections::HashMap;
use testkit::{assert_close, golden, golden_json, golden_tensors, values};

const CPU: &Device = &Device::Cpu;

fn dir(name: &str) -> ModelSource {
    ModelSource::Dir(golden("tiny-qwen2").join(name))
}

fn gguf() -> ModelSource {
    ModelSource::Gguf(golden("tiny-qwen2/model.gguf"))
}

fn load(source: &ModelSource) -> Loaded {
    models::load(source, CPU).unwrap()
}

fn adapter(model: &CausalLm) -> Lora {
    Lora::load(&golden("tiny-qwen2/adapter"), model).unwrap()
}

fn wanted() -> (HashMap<String, Tensor>, Vec<u32>, Ragged) {
    let tensors = golden_tensors("tiny-qwen2/golden.safetensors");
    let whole = |name: &str| values(&tensors[name]).into_iter();
    let ids = whole("ids").map(|v| v as u32).collect();
    let lens: Vec<usize> = whole("lens").map(|v| v as usize).collect();
    (tensors, ids, Ragged::from_lens(&lens))
}

fn logits(model: &CausalLm, ids: &[u32], layout: &Ragged, lora: Option<&Lora>) -> Tensor {
    let hidden = model.hidden(ids, layout, lora, None).unwrap();
    crate::common::plain_logits(model, &hidden).detach()
}

/// Mean NLL of every token but the first of each sequence.
fn nll(model: &CausalLm, ids: &[u32], layout: &Ragged, lora: Option<&Lora>) -> Tensor {
    let labels = layout.ranges().flat_map(|range| range.start + 1..range.end);
    let (rows, targets): (Vec<u32>, Vec<u32>) = labels.map(|at| (at as u32 - 1, ids[at])).unzip();
    let hidden = model.hidden(ids, layout, lora, None).unwrap();
    let before = hidden.index_select(&Tensor::new(rows, CPU).unwrap(), 0);
    let logits = before.unwrap().matmul(&model.head().t().unwrap()).unwrap();
    candle_nn::loss::cross_entropy(&logits, &Tensor::new(targets, CPU).unwrap()).unwrap()
}

#[test]
fn logits_equal_transformers_and_peft() {
    let (wanted, ids, layout) = wanted();
    for name in ["tied", "untied"] {
        let model = load(&dir(name)).model;
        let found = logits(&model, &ids, &layout, None);
        assert_close(name, &found, &wanted[name], 1e-4);
    }
    let model = load(&dir("tied")).model;
    let lora = adapter(&model);
    let found = logits(&model, &ids, &layout, Some(&lora));
    assert_close("adapter", &found, &wanted["adapter"], 1e-4);
    let merged = model.merged(&lora).unwrap();
    let found = logits(&merged, &ids, &layout, None);
    assert_close("merged", &found, &wanted["adapter"], 1e-4);
}

#[test]
fn a_gguf_file_is_the_same_model() {
    let (wanted, ids, layout) = wanted();
    let loaded = load(&gguf());
    let found = logits(&loaded.model, &ids, &layout, None);
    assert_close("gguf", &found, &wanted["gguf"], 1e-4);
    let tied = load(&dir("tied"));
    for ((name, a), (_, b)) in loaded.model.tensors().iter().zip(tied.model.tensors()) {
        let tolerance = if a.rank() == 1 { 0.0 } else { 1e-3 };
        assert_close(name, a, &b, tolerance);
    }
    assert_eq!(loaded.model.config.family, tied.model.config.family);
    for text in golden_json("tiny-qwen2/golden.json").as_array().unwrap() {
        for tokenizer in [&loaded.tokenizer, &tied.tokenizer] {
            let found = tokenizer.encode(text["text"].as_str().unwrap(), true);
            assert_eq!(json!(found.unwrap().get_ids()), text["ids"], "{text}");
        }
    }
    assert!(!loaded.special.add_bos);
}

#[test]
fn every_gradient_equals_torch() {
    let (wanted, ids, layout) = wanted();
    let mut model = load(&dir("tied")).model;
    let lora = adapter(&model).trainable().unwrap();
    let check = |what: &str, loss: Tensor, vars: Vec<(String, candle_core::Var)>| {
        let expected = wanted[&format!("{what}_loss")].get(0).unwrap();
        assert_close(what, &loss, &expected, 1e-5);
        let grads = loss.backward().unwrap();
        for (name, var) in vars {
            let found = grads.get(var.as_tensor()).expect(&name);
            assert_close(&name, found, &wanted[&format!("{what}_grad.{name}")], 1e-4);
        }
    };
    let loss = nll(&model, &ids, &layout, Some(&lora));
    check("adapter", loss, lora.vars());

    let vars = model.make_trainable().unwrap();
    let biases = vars.iter().filter(|(name, _)| name.ends_with(".bias"));
    assert_eq!(biases.count(), 2 * 3);
    check("full", nll(&model, &ids, &layout, None), vars);
}

/// A step along the negative gradient changes each bias and lowers the loss.
#[test]
fn full_training_changes_the_biases() {
    let (_, ids, layout) = wanted();
    let mut model = load(&dir("tied")).model;
    let vars = model.make_trainable().unwrap();
    let loss = nll(&model, &ids, &layout, None);
    let grads = loss.backward().unwrap();
    let before = model.fingerprint().unwrap();
    for (name, var) in vars.iter().filter(|(name, _)| name.ends_with(".bias")) {
        let grad = grads.get(var.as_tensor()).unwrap();
        assert!(values(grad).iter().any(|g| *g != 0.0), "{name}");
        let moved = (var.as_tensor().detach() - (grad * 0.05).unwrap()).unwrap();
        var.set(&moved).unwrap();
    }
    let after = nll(&model, &ids, &layout, None).detach();
    assert!(values(&after)[0] < values(&loss.detach())[0]);
    assert_ne!(
        before,
        model.fingerprint().unwrap(),
        "biases are part of it"
    );
}

#[test]
fn cached_decoding_equals_the_teacher_forced_forward() {
    let (_, ids, _) = wanted();
    let ids = &ids[20..40];
    let model = load(&dir("untied")).model;
    let lora = adapter_for(&model);
    let mut narrow = model.with_sampling_weights(SamplingWeights::Int8).unwrap();
    let narrow = narrow.take().unwrap();
    for (what, model, lora) in [
        ("base", &model, None),
        ("adapter", &model, Some(&lora)),
        ("int8", &narrow, Some(&lora)),
    ] {
        let full = model.hidden(ids, &Ragged::from_lens(&[20]), lora, None);
        let mut cache = KvCache::new(model).unwrap();
        let seq = cache.open(None).unwrap();
        let mut at = 0;
        let mut rows = Vec::new();
        // a prompt, tokens one by one, a chunk
        for n in [7, 1, 1, 4, 1, 1, 1, 1, 3] {
            let layout = Ragged::from_lens(&[n]);
            let new = model.forward_cached(&ids[at..at + n], &layout, &[seq], &mut cache, lora);
            rows.push(new.unwrap());
            at += n;
        }
        let found = Tensor::cat(&rows, 0).unwrap();
        assert_close(what, &found, &full.unwrap(), 2e-5);
    }
}

/// An adapter on every projection, its B not zero.
fn adapter_for(model: &CausalLm) -> Lora {
    let config = LoraConfig {
        r: 2,
        targets: crate::common::all_targets(),
        ..LoraConfig::default()
    };
    let lora = Lora::init(&config, model, 3).unwrap().trainable().unwrap();
    for (i, (_, var)) in lora.vars().iter().enumerate() {
        let noise = testkit::varied(var.dims(), i as u64, 0.1);
        var.set(&noise.to_dtype(DType::F32).unwrap()).unwrap();
    }
    lora
}

#[test]
fn checkpointed_layers_change_no_bit() {
    let (_, ids, layout) = wanted();
    let mut model = load(&dir("tied")).model;
    let mut vars = model.make_trainable().unwrap();
    let lora = adapter_for(&model);
    vars.extend(lora.vars());
    let mut bits = |layers| {
        model.checkpoint_layers(layers);
        let loss = nll(&model, &ids, &layout, Some(&lora));
        let grads = loss.backward().unwrap();
        let all = vars.iter().map(|(_, var)| values(grads.get(var).unwrap()));
        (values(&loss.detach()), all.collect::<Vec<_>>())
    };
    let plain = bits(0);
    assert!(plain == bits(1) && plain == bits(2));
}

#[test]
fn saved_models_and_adapters_load_as_they_were() {
    for source in [dir("tied"), dir("untied"), gguf()] {
        let from = load(&source);
        let to = tempfile::tempdir().unwrap();
        from.model
            .save_hf(to.path(), &from.tokenizer, &from.special, None)
            .unwrap();
        let again = load(&ModelSource::Dir(to.path().to_path_buf())).model;
        assert_eq!(from.model.config, again.config);
        for ((name, a), (_, b)) in from.model.tensors().iter().zip(again.tensors()) {
            assert_close(name, &b, a, 0.0);
        }
        assert_eq!(
            from.model.fingerprint().unwrap(),
            again.fingerprint().unwrap()
        );
    }
    let model = load(&dir("tied")).model;
    let to = tempfile::tempdir().unwrap();
    adapter(&model).save(to.path(), "org/base").unwrap();
    let peft = golden_tensors("tiny-qwen2/adapter/adapter_model.safetensors");
    let again = Lora::load(to.path(), &model).unwrap();
    assert_eq!(again.tensors().len(), peft.len());
    for (key, tensor) in again.tensors() {
        assert_close(&key, &tensor, &peft[&key], 0.0);
    }
}

#[test]
fn the_memory_count_is_what_is_loaded() {
    for source in [dir("tied"), dir("untied"), gguf()] {
        for storage in [
            WeightStorage::Exact,
            WeightStorage::Rounded,
            WeightStorage::Whole,
        ] {
            let meta = model_meta(&source, Fetch::Whole).unwrap();
            let counted = meta.weights(storage).unwrap();
            let model = meta.load(CPU, storage).unwrap().model;
            assert_eq!(counted.bytes(), model.bytes(), "{source:?} {storage:?}");
            assert_eq!(counted.n_params, model.n_params());
            assert_eq!(counted.n_tensors, model.tensors().len());
        }
    }
}

/// A product is kept beside its sum with the bias.
#[test]
fn the_activation_count_has_a_number_more_for_each_bias() {
    let config = load(&dir("tied")).model.config;
    let llama = FAMILIES.iter().find(|family| family.model_type == "llama");
    let without = Config {
        family: llama.unwrap(),
        ..config.clone()
    };
    let layer = |config: &Config| Activations::on_cpu(config, None).layer;
    assert_eq!(layer(&config), layer(&without) + 32 + 2 * 16);
    assert_eq!(config.n_params(), without.n_params() + 2 * (32 + 2 * 16));
}

#[test]
fn fresh_biases_are_zero_and_fresh_norms_one() {
    let config = load(&dir("tied")).model.config;
    for (name, tensor) in CausalLm::init(&config, 1, CPU).unwrap().tensors() {
        let expected = match (name.ends_with(".bias"), name.contains("norm")) {
            (true, _) => 0.0,
            (_, true) => 1.0,
            _ => continue,
        };
        assert!(values(&tensor).iter().all(|v| *v == expected), "{name}");
    }
}

#[test]
fn a_window_belongs_to_the_layers_that_config_json_names() {
    let file = golden("tiny-qwen2/tied/config.json");
    let read = |replaced: Value| {
        let mut value: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        for (key, new) in replaced.as_object().unwrap() {
            value[key] = new.clone();
        }
        let layers = Config::from_json(&value).unwrap().layers.into_iter();
        layers.map(|layer| layer.window).collect::<Vec<_>>()
    };
    let window = |window: usize| json!({"use_sliding_window": true, "sliding_window": window, "max_window_layers": 0});
    let mut short = window(32);
    short["layer_types"] = Value::Null;
    assert_eq!(read(short.clone()), [Some(32); 2]);
    short["layer_types"] = json!(["full_attention", "sliding_attention"]);
    assert_eq!(read(short.clone()), [None, Some(32)]);
    let none = [None; 2];
    // no layer has it, it is off, or it is as long as the context
    short["layer_types"] = json!(["full_attention", "full_attention"]);
    assert_eq!(read(short.clone()), none);
    short["layer_types"] = Value::Null;
    short["max_window_layers"] = json!(2);
    assert_eq!(read(short), none);
    let off = json!({"use_sliding_window": false, "sliding_window": 32, "layer_types": null});
    assert_eq!(read(off), none);
    let mut long = window(64);
    long["layer_types"] = Value::Null;
    assert_eq!(read(long), none);
}
