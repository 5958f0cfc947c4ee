//! Gradients against PyTorch.

use super::{CPU, adapter, batch, integers, tiny};
use candle_core::Tensor;
use models::{CausalLm, Lora};
use std::collections::HashMap;
use testkit::{assert_close, golden_tensors};

/// Mean NLL of the labels of train.safetensors.
pub fn golden_nll(
    train: &HashMap<String, Tensor>,
    model: &CausalLm,
    lora: Option<&Lora>,
) -> candle_core::Result<Tensor> {
    let (ids, layout) = batch(train);
    let (mut rows, mut targets) = (Vec::new(), Vec::new());
    for (range, prompt) in layout.ranges().zip(integers(&train["prompt_lens"])) {
        for at in range.start + prompt..range.end {
            rows.push(at as u32 - 1);
            targets.push(ids[at]);
        }
    }
    let hidden = model.hidden(&ids, &layout, lora, None)?;
    let before = hidden.index_select(&Tensor::new(rows, CPU)?, 0)?;
    let logits = before.matmul(&model.head().to_dtype(candle_core::DType::F32)?.t()?)?;
    candle_nn::loss::cross_entropy(&logits, &Tensor::new(targets, CPU)?)
}

#[test]
fn loss_and_every_adapter_gradient_equal_torch() {
    let train = golden_tensors("tiny-llama/train.safetensors");
    let model = tiny("tied").model;
    let lora = adapter("adapter", &model).trainable().unwrap();
    let loss = golden_nll(&train, &model, Some(&lora)).unwrap();
    let wanted = train["loss"].get(0).unwrap();
    assert_close("loss", &loss, &wanted, 1e-5);
    let grads = loss.backward().unwrap();
    let vars = lora.vars();
    assert_eq!(vars.len(), 2 * 4 * 2);
    for (key, var) in vars {
        let found = grads.get(var.as_tensor()).unwrap();
        assert_close(&key, found, &train[&format!("grad.{key}")], 1e-4);
    }
}

#[test]
fn full_gradients_equal_torch() {
    let train = golden_tensors("tiny-llama/train.safetensors");
    let mut model = tiny("tied").model;
    let vars = model.make_trainable().unwrap();
    assert_eq!(
        vars.iter().map(|(_, v)| v.elem_count()).sum::<usize>(),
        model.n_params()
    );
    let loss = golden_nll(&train, &model, None).unwrap();
    assert_close("loss", &loss, &train["full_loss"].get(0).unwrap(), 1e-5);
    let grads = loss.backward().unwrap();
    for (name, var) in vars {
        let found = grads.get(var.as_tensor()).unwrap();
        assert_close(&name, found, &train[&format!("full_grad.{name}")], 1e-4);
    }
}
