//! Decoding: the sampler against transformers' warpers, the engine against full forwards.

mod engine;
mod requests;
mod sampler;
mod sampling_weights;

use crate::common::tiny_config;
use candle_core::{Device, Tensor};
use generation::{Engine, Request, Sample, Sampling};
use models::{CausalLm, Config, Lora, LoraConfig};
use ops::Ragged;
use rand::Rng;
use serde_json::json;

const VOCAB: usize = 97;

fn config() -> Config {
    tiny_config(json!({
        "vocab_size": VOCAB, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4,
        "num_key_value_heads": 2
    }))
}

fn model() -> CausalLm {
    CausalLm::init(&config(), 3, &Device::Cpu).unwrap()
}

/// An adapter that changes the model much: both factors random.
fn adapter(model: &CausalLm) -> Lora {
    let config = LoraConfig {
        r: 4,
        targets: models::LoraTargets::names(["q_proj", "v_proj", "down_proj"]),
        ..LoraConfig::default()
    };
    let lora = Lora::init(&config, model, 5).unwrap().trainable().unwrap();
    let mut rng = run::stream(9, "adapter", 0, 0);
    for (_, var) in lora.vars() {
        let values: Vec<f32> = (0..var.elem_count())
            .map(|_| rng.random::<f32>() - 0.5)
            .collect();
        let values = Tensor::from_vec(values, var.shape(), &Device::Cpu).unwrap();
        var.set(&values).unwrap();
    }
    lora
}

fn prompts() -> Vec<Vec<u32>> {
    vec![
        vec![1, 5, 9, 13],
        vec![7],
        (20..41).collect(),
        vec![1, 96, 2, 2, 50, 8, 3],
        vec![33, 44],
    ]
}

fn request(prompt: Vec<u32>, n: usize, sampling: Sampling, row: u64) -> Request {
    Request {
        prompt,
        n,
        sampling,
        stream: [11, 4, row],
    }
}

fn requests(n: usize, sampling: Sampling) -> Vec<Request> {
    let rows = prompts().into_iter().enumerate();
    rows.map(|(i, p)| request(p, n, sampling, i as u64))
        .collect()
}

fn engine<'a>(model: &'a CausalLm, lora: Option<&'a Lora>, max_rows: usize) -> Engine<'a> {
    Engine {
        model,
        lora,
        stop: &[],
        max_rows,
        keep_states: false,
    }
}

fn run_all(engine: &Engine, requests: &[Request]) -> Vec<Sample> {
    engine.run(requests, &mut |_, _| {}).unwrap()
}

/// Final-norm hidden states of one sequence by the full forward, [T, d].
fn hidden(model: &CausalLm, lora: Option<&Lora>, ids: &[u32]) -> Tensor {
    let frozen = lora.map(Lora::frozen);
    let layout = Ragged::from_lens(&[ids.len()]);
    model.hidden(ids, &layout, frozen.as_ref(), None).unwrap()
}
