//! The model against transformers, PEFT and candle-transformers: logits, adapters, gradients and
//! the KV cache.

mod families;
mod gradients;
mod kv_cache;
mod logits;
mod longrope;
mod lora;
mod packed;
mod peft_forms;
mod qwen2;
mod scalar_head;

use candle_core::{Device, Tensor};
use models::{CausalLm, Loaded, Lora, ModelSource};
use ops::Ragged;
use std::collections::HashMap;
use testkit::{golden, values};

const CPU: &Device = &Device::Cpu;

fn tiny(name: &str) -> Loaded {
    models::load(&ModelSource::Dir(golden("tiny-llama").join(name)), CPU).unwrap()
}

fn adapter(name: &str, model: &CausalLm) -> Lora {
    Lora::load(&golden("tiny-llama").join(name), model).unwrap()
}

fn integers(t: &Tensor) -> Vec<usize> {
    values(t).into_iter().map(|v| v as usize).collect()
}

/// The ids and layout that a golden file holds.
fn batch(tensors: &HashMap<String, Tensor>) -> (Vec<u32>, Ragged) {
    let ids = integers(&tensors["ids"]).into_iter().map(|v| v as u32);
    (
        ids.collect(),
        Ragged::from_lens(&integers(&tensors["lens"])),
    )
}

fn logits(model: &CausalLm, ids: &[u32], layout: &Ragged, lora: Option<&Lora>) -> Tensor {
    let hidden = model.hidden(ids, layout, lora, None).unwrap();
    crate::common::plain_logits(model, &hidden)
}

fn ids(n: usize, start: u32) -> Vec<u32> {
    (0..n as u32).map(|i| 3 + (start + i * 29) % 90).collect()
}
