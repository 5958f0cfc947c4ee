//! Activation checkpointing changes nothing: hidden states and gradients are the same to the last
//! bit.

use candle_core::{DType, Device, Tensor, Var};
use models::{CausalLm, Config, Lora, LoraConfig, LoraTargets};
use ops::Ragged;
use serde_json::json;
use testkit::{values, varied};

const CPU: &Device = &Device::Cpu;
const LAYERS: usize = 3;

fn config() -> Config {
    crate::common::tiny_config(json!({
        "vocab_size": 40, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": LAYERS,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
    }))
}

/// A trainable adapter whose B is not zero.
fn adapter(model: &CausalLm, targets: &LoraTargets, dropout: f64) -> Lora {
    let config = LoraConfig {
        r: 3,
        dropout,
        targets: targets.clone(),
        ..LoraConfig::default()
    };
    let lora = Lora::init(&config, model, 5).unwrap().trainable().unwrap();
    for (i, (_, var)) in lora.vars().iter().enumerate() {
        let shift = numbers(var.dims(), i as u64, 0.1);
        let moved = (var.as_tensor().detach() + shift).unwrap();
        var.set(&moved).unwrap();
    }
    lora
}

fn numbers(shape: &[usize], seed: u64, scale: f64) -> Tensor {
    varied(shape, seed, scale).to_dtype(DType::F32).unwrap()
}

/// Bits of the hidden states and of the gradient of every variable.
fn bits(
    model: &CausalLm,
    lora: Option<&Lora>,
    vars: &[(String, Var)],
    layout: &Ragged,
    dropout: Option<u64>,
) -> Vec<(String, Vec<f64>)> {
    let ids: Vec<u32> = (0..layout.n_tokens() as u32)
        .map(|i| (i * 7 + 3) % 40)
        .collect();
    let hidden = model.hidden(&ids, layout, lora, dropout).unwrap();
    let weights = numbers(hidden.dims(), 99, 1.0);
    let loss = (&hidden * weights).unwrap().sum_all().unwrap();
    let grads = loss.backward().unwrap();
    let mut out = vec![("hidden".to_string(), values(&hidden.detach()))];
    for (name, var) in vars {
        let grad = grads
            .get(var.as_tensor())
            .unwrap_or_else(|| panic!("{name}"));
        assert!(values(grad).iter().any(|g| *g != 0.0), "{name}");
        out.push((name.clone(), values(grad)));
    }
    out
}

#[test]
fn checkpointed_layers_change_no_bit() {
    let mut model = CausalLm::init(&config(), 3, CPU).unwrap();
    let layouts = [
        Ragged::from_lens(&[9, 1, 14]),
        // two samples of one prompt, then a sequence of its own
        Ragged::continued(&[6, 5, 3, 8], vec![None, Some(0), Some(0), None]),
    ];
    for targets in [
        LoraTargets::names(["q_proj", "v_proj"]),
        LoraTargets::names(["down_proj"]),
        LoraTargets::AllLinear,
    ] {
        for (dropout, seed) in [(0.0, None), (0.3, Some(11))] {
            let lora = adapter(&model, &targets, dropout);
            for layout in &layouts {
                let run = |model: &CausalLm| bits(model, Some(&lora), &lora.vars(), layout, seed);
                model.checkpoint_layers(0);
                let plain = run(&model);
                for layers in 1..=LAYERS + 1 {
                    model.checkpoint_layers(layers);
                    assert!(plain == run(&model), "{targets:?} {dropout} {layers}");
                }
            }
        }
    }
}

#[test]
fn checkpointed_layers_change_no_bit_of_full_training() {
    let mut model = CausalLm::init(&config(), 4, CPU).unwrap();
    let vars = model.make_trainable().unwrap();
    let layout = Ragged::from_lens(&[7, 12]);
    let plain = bits(&model, None, &vars, &layout, None);
    for layers in 1..=LAYERS {
        model.checkpoint_layers(layers);
        assert!(
            plain == bits(&model, None, &vars, &layout, None),
            "{layers}"
        );
    }
    // and with an adapter beside the weights
    let lora = adapter(&model, &LoraTargets::names(["k_proj", "up_proj"]), 0.2);
    let both: Vec<_> = vars.into_iter().chain(lora.vars()).collect();
    let with_lora = bits(&model, Some(&lora), &both, &layout, Some(2));
    model.checkpoint_layers(0);
    assert!(with_lora == bits(&model, Some(&lora), &both, &layout, Some(2)));
}

#[test]
fn a_checkpointed_forward_without_a_graph_records_nothing() {
    let mut model = CausalLm::init(&config(), 3, CPU).unwrap();
    let lora = adapter(&model, &LoraTargets::names(["q_proj"]), 0.0);
    model.checkpoint_layers(LAYERS);
    let layout = Ragged::from_lens(&[4]);
    let hidden = |lora: &Lora| {
        model
            .hidden(&[1, 2, 3, 4], &layout, Some(lora), None)
            .unwrap()
    };
    let (frozen, trained) = (hidden(&lora.frozen()), hidden(&lora));
    assert!(!frozen.track_op() && trained.track_op());
    assert_eq!(values(&frozen), values(&trained.detach()));
}

/// x·w + x² by hand: forward, and gradients with and without a graph at x, with and without a
/// parameter.
#[test]
fn a_checkpointed_part_has_the_gradient_of_the_part() {
    let x = Var::new(&[[1f32, -2.0], [0.5, 4.0]], CPU).unwrap();
    let w = Var::new(&[[3f32, 0.0], [1.0, -1.0]], CPU).unwrap();
    let weights = Tensor::new(&[[1f32, 2.0], [-1.0, 0.5]], CPU).unwrap();
    let grads = |out: Tensor| {
        let loss = (out * &weights).unwrap().sum_all().unwrap();
        loss.backward().unwrap()
    };
    let out = ops::checkpoint(&x, &[w.as_tensor().clone()], |x, params| {
        x.matmul(&params[0])? + x.sqr()?
    })
    .unwrap();
    assert_eq!(values(&out.detach()), [2.0, 6.0, 5.75, 12.0]);
    let g = grads(out);
    // g·wᵀ + 2x·g and xᵀ·g
    let dx = [5.0, -9.0, -4.0, 2.5];
    assert_eq!(values(g.get(x.as_tensor()).unwrap()), dx);
    assert_eq!(
        values(g.get(w.as_tensor()).unwrap()),
        [0.5, 2.25, -6.0, -2.0]
    );

    let g = grads(ops::checkpoint(&x, &[], |x, _| x.sqr()).unwrap());
    assert_eq!(
        values(g.get(x.as_tensor()).unwrap()),
        [2.0, -8.0, -1.0, 4.0]
    );

    let constant = x.as_tensor().detach();
    let g = grads(
        ops::checkpoint(&constant, &[w.as_tensor().clone()], |x, params| {
            x.matmul(&params[0])
        })
        .unwrap(),
    );
    assert_eq!(
        values(g.get(w.as_tensor()).unwrap()),
        [0.5, 2.25, -6.0, -2.0]
    );
}
