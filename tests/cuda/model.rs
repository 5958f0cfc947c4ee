//! The whole network on the emulated GPU in bf16: forward, gradients, cache and samples against the
//! CPU in f32 on the same weights.

use crate::common::{all_targets, tiny_config};
use crate::cuda::{assert_near, on_emulated_gpu};
use candle_core::{DType, Device, Tensor};
use generation::{Engine, Request, Sampling, draw};
use models::{CausalLm, KvCache, Lora, LoraConfig, SamplingWeights};
use ops::{Logits, Ragged, SamplingRule};
use serde_json::json;
use testkit::{values, varied};

/// Two models with bf16 matrices; the second has bf16 activations, as on a GPU.
fn models() -> (CausalLm, CausalLm) {
    let config = tiny_config(json!({
        "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 61
    }));
    let narrow = || {
        let base = CausalLm::init(&config, 3, &Device::Cpu).unwrap();
        let copy = base.with_sampling_weights(SamplingWeights::Bf16).unwrap();
        copy.expect("a base of f32 has a narrower copy")
    };
    let (cpu, mut gpu) = (narrow(), narrow());
    gpu.set_activation_dtype(DType::BF16);
    (cpu, gpu)
}

/// An adapter with B ≠ 0.
fn adapter(model: &CausalLm) -> Lora {
    let config = LoraConfig {
        r: 4,
        alpha: 8.0,
        targets: all_targets(),
        ..LoraConfig::default()
    };
    let lora = Lora::init(&config, model, 4).unwrap().trainable().unwrap();
    for (i, (_, var)) in lora.vars().into_iter().enumerate() {
        let scale = 0.5 / (*var.dims().last().unwrap() as f64).sqrt();
        let numbers = varied(var.dims(), 30 + i as u64, scale);
        var.set(&numbers.to_dtype(DType::F32).unwrap()).unwrap();
    }
    lora
}

/// A prompt with two answers, and a sequence of its own.
fn batch() -> (Vec<u32>, Ragged) {
    let layout = Ragged::continued(&[5, 4, 3, 9], vec![None, Some(0), Some(0), None]);
    let ids = (0..layout.n_tokens() as u32).map(|i| i * 7 % 61).collect();
    (ids, layout)
}

#[test]
fn hidden_states_and_gradients_equal_the_cpus_within_bf16() {
    let (cpu, mut gpu) = models();
    let (ids, layout) = batch();
    let targets: Vec<u32> = ids.iter().map(|id| (id + 1) % 61).collect();
    let lora = adapter(&cpu);
    let run = |model: &CausalLm| {
        let hidden = model.hidden(&ids, &layout, Some(&lora), None).unwrap();
        let ones = vec![1.0; ids.len()];
        let scores = ops::token_scores(&hidden, model.head(), &targets, &ones).unwrap();
        let loss = (scores.logp.sum_all().unwrap() - scores.entropy.sum_all().unwrap()).unwrap();
        let grads = loss.backward().unwrap();
        let of = |(name, var): (String, candle_core::Var)| {
            let grad = grads.get(&var).unwrap_or_else(|| panic!("{name}")).clone();
            (name, grad)
        };
        let grads: Vec<(String, Tensor)> = lora.vars().into_iter().map(of).collect();
        (hidden.detach(), scores.logp.detach(), grads)
    };
    let (hidden, logp, grads) = run(&cpu);
    let (gpu_hidden, gpu_logp, gpu_grads) = on_emulated_gpu(false, || run(&gpu));
    assert_eq!(gpu_hidden.dtype(), DType::BF16);
    assert_near("hidden", &gpu_hidden, &hidden, 2e-2);
    assert_near("logp", &gpu_logp, &logp, 2e-3);
    for ((name, found), (_, wanted)) in gpu_grads.iter().zip(&grads) {
        assert_eq!(found.dtype(), DType::F32, "{name}");
        assert_near(name, found, wanted, 5e-2);
    }
    // checkpointed layers give the same bits
    gpu.checkpoint_layers(2);
    let (_, again, again_grads) = on_emulated_gpu(true, || run(&gpu));
    assert_eq!(values(&again), values(&gpu_logp));
    for ((name, found), (_, wanted)) in again_grads.iter().zip(&gpu_grads) {
        assert_eq!(values(found), values(wanted), "{name}");
    }
}

#[test]
fn the_cache_gives_the_states_of_the_whole_sequence() {
    let (_, gpu) = models();
    let (ids, whole) = (
        (0..9).map(|i| i * 5 % 61).collect::<Vec<u32>>(),
        Ragged::from_lens(&[9]),
    );
    on_emulated_gpu(false, || {
        let wanted = gpu.hidden(&ids, &whole, None, None).unwrap();
        let mut cache = KvCache::new(&gpu).unwrap();
        // allocated whole: nothing grows, nothing is copied
        cache.reserve(64).unwrap();
        assert_eq!((cache.rows(), cache.used_rows()), (64, 0));
        let seq = cache.open(None).unwrap();
        let mut extend = |ids: &[u32]| {
            let layout = Ragged::from_lens(&[ids.len()]);
            gpu.forward_cached(ids, &layout, &[seq], &mut cache, None)
                .unwrap()
        };
        let parts = [extend(&ids[..5]), extend(&ids[5..6]), extend(&ids[6..9])];
        assert_eq!((cache.rows(), cache.used_rows()), (64, 16));
        let found = Tensor::cat(&parts, 0).unwrap();
        assert_eq!(found.dtype(), DType::BF16);
        assert_near("hidden", &found, &wanted, 1e-2);
    });
}

fn logits_of(logits: &Tensor) -> Logits {
    Logits::from_tensor(logits).unwrap()
}

/// The GPU sampler and the CPU sampler draw the same tokens.
#[test]
fn the_gpu_draws_the_tokens_of_the_cpu() {
    let vocab = 1300;
    let numbers: Vec<f32> = values(&varied(&[8, vocab], 40, 2.0))
        .into_iter()
        // coarse, so that there are ties
        .map(|x| (x * 8.0).round() as f32 / 8.0)
        .collect();
    let logits = Tensor::from_vec(numbers.clone(), (8, vocab), &Device::Cpu).unwrap();
    let plain = Sampling::default();
    let ways = [
        Sampling {
            temperature: 0.0,
            ..plain
        },
        plain,
        Sampling {
            temperature: 0.6,
            ..plain
        },
        Sampling { top_k: 20, ..plain },
        Sampling {
            top_p: 0.3,
            ..plain
        },
        Sampling {
            temperature: 1.7,
            top_k: 200,
            top_p: 0.8,
            ..plain
        },
        Sampling { top_k: 1, ..plain },
        Sampling {
            top_p: 1e-9,
            ..plain
        },
    ];
    for seed in 0..40 {
        let mut rules = Vec::new();
        let mut wanted = Vec::new();
        for (row, sampling) in ways.iter().enumerate() {
            let mut rng = run::stream(seed, "draw", 0, row as u64);
            let u = rand::Rng::random(&mut rng.clone());
            let Sampling {
                temperature,
                top_k,
                top_p,
                ..
            } = *sampling;
            rules.push(SamplingRule {
                temperature,
                top_k,
                top_p,
                u,
            });
            let row = &numbers[row * vocab..(row + 1) * vocab];
            wanted.push(draw(row, sampling, &mut rng).unwrap());
        }
        let found = on_emulated_gpu(seed % 2 == 0, || logits_of(&logits).sample(&rules).unwrap());
        for (row, (found, wanted)) in found.into_iter().zip(wanted).enumerate() {
            let found = found.expect("finite logits");
            assert_eq!(found.id, wanted.id, "row {row}, seed {seed}");
            let numbers = |d: ops::Drawn| [d.logp, d.entropy, d.max_prob].map(f64::from);
            let name = format!("row {row}, seed {seed}");
            testkit::assert_close_slices(&name, &numbers(found), &numbers(wanted), 2e-5);
        }
    }
}

#[test]
fn logits_that_are_not_finite_are_refused() {
    let vocab = 1300;
    let numbers: Vec<f32> = values(&varied(&[8, vocab], 40, 2.0))
        .into_iter()
        .map(|x| x as f32)
        .collect();
    for broken in [f32::NAN, f32::INFINITY] {
        let mut numbers = numbers.clone();
        numbers[vocab + 7] = broken;
        let logits = Tensor::from_vec(numbers, (8, vocab), &Device::Cpu).unwrap();
        let rule = SamplingRule {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            u: 0.5,
        };
        let found = on_emulated_gpu(false, || logits_of(&logits).sample(&[rule; 8]).unwrap());
        let refused: Vec<usize> = (0..8).filter(|i| found[*i].is_none()).collect();
        assert_eq!(refused, [1]);
    }
}

/// The log-probability of each sample equals the one from scoring it.
#[test]
fn the_engine_draws_on_the_gpu() {
    let (_, gpu) = models();
    let ask = |prompt: Vec<u32>, n, temperature| Request {
        prompt,
        n,
        sampling: Sampling {
            temperature,
            max_new_tokens: 6,
            ..Sampling::default()
        },
        stream: [7, 0, n as u64],
    };
    let requests = [ask(vec![1, 5, 9], 3, 1.0), ask(vec![1, 8], 1, 0.0)];
    let engine = Engine {
        model: &gpu,
        lora: None,
        stop: &[2],
        max_rows: 3,
        keep_states: true,
    };
    on_emulated_gpu(false, || {
        let samples = engine.run(&requests, &mut |_, _| {}).unwrap();
        assert_eq!(samples.len(), 4);
        for sample in &samples {
            let ids = [requests[sample.request].prompt.clone(), sample.ids.clone()].concat();
            let layout = Ragged::from_lens(&[ids.len()]);
            let hidden = gpu.hidden(&ids, &layout, None, None).unwrap();
            let first = ids.len() - sample.ids.len();
            let before = hidden.narrow(0, first - 1, sample.ids.len()).unwrap();
            let ones = vec![1.0; sample.ids.len()];
            let scores = ops::token_scores(&before, gpu.head(), &sample.ids, &ones).unwrap();
            let drawn: Vec<f64> = sample.logps.iter().map(|x| f64::from(*x)).collect();
            testkit::assert_close_slices("logp", &drawn, &values(&scores.logp), 2e-2);
            assert_eq!(sample.states.len(), sample.ids.len() * 64);
        }
    });
}
