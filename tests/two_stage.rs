//! Two-stage sampling is exact: one teacher-forced forward gives the gradient that accumulates
//! through step-by-step decoding.

#[path = "../crates/esrl-rlhf/examples/two_stage/one_stage.rs"]
mod one_stage;

use crate::common::{all_targets, tiny_config};
use candle_core::{DType, Device, Tensor};
use models::{CausalLm, Lora, LoraConfig};
use policy::Batch;
use serde_json::json;
use testkit::varied;

#[test]
fn two_stages_give_the_gradient_of_sampling_with_a_graph() {
    let config = tiny_config(json!({"num_attention_heads": 4, "num_key_value_heads": 2}));
    let model = CausalLm::init(&config, 3, &Device::Cpu).unwrap();
    let settings = LoraConfig {
        r: 4,
        targets: all_targets(),
        ..LoraConfig::default()
    };
    let lora = Lora::init(&settings, &model, 5)
        .unwrap()
        .trainable()
        .unwrap();
    for (i, (_, var)) in lora.vars().iter().enumerate() {
        let noise = varied(var.dims(), i as u64, 0.1)
            .to_dtype(DType::F32)
            .unwrap();
        var.set(&(var.as_tensor().detach() + noise).unwrap())
            .unwrap();
    }
    let (prompt, n, len) = ([1u32, 7, 30], 3, 12);
    // rewards minus a baseline, as in REINFORCE
    let weights = Tensor::new(&[0.7f32, -1.1, 0.4], &Device::Cpu).unwrap();
    let choose = |row: usize, at: usize, _: &[f32]| ((row * 17 + at * 5 + 3) % 61) as u32;
    let (rows, logp) = one_stage::sample(&model, &lora, &prompt, n, len, choose).unwrap();
    let one_loss = (&logp * &weights).unwrap().sum_all().unwrap();
    let one = one_loss.backward().unwrap();

    let rows: Vec<Vec<u32>> = rows.iter().map(|ids| [&prompt[..], ids].concat()).collect();
    let batch = Batch::new(rows.iter().map(|row| (row.as_slice(), prompt.len())));
    let scores = policy::score(&model, Some(&lora), &batch, &[1.0; 3], None).unwrap();
    let per_row = scores.logp.reshape((n, len)).unwrap().sum(1).unwrap();
    let two_loss = (&per_row * &weights).unwrap().sum_all().unwrap();
    let two = two_loss.backward().unwrap();

    let number = |t: &Tensor| t.to_scalar::<f32>().unwrap();
    let (a, b) = (number(&one_loss), number(&two_loss));
    assert!((a - b).abs() < 1e-5 * b.abs().max(1.0), "loss {a} and {b}");
    for (name, var) in lora.vars() {
        let norm = |t: &Tensor| number(&t.sqr().unwrap().sum_all().unwrap()).sqrt();
        let (g1, g2) = (one.get(&var).unwrap(), two.get(&var).unwrap());
        let (gap, size) = (norm(&(g1 - g2).unwrap()), norm(g2));
        assert!(size > 1e-3, "{name}: gradient of {size}");
        // the two sum rows in different orders
        assert!(gap < 2e-5 * size, "{name}: {gap} of {size}");
    }
}
