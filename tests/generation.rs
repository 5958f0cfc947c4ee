//! Decoding: the sampler against transformers' warpers, the engine against full forwards.

use crate::common::tiny_config;
use candle_core::{Device, Tensor};
use generation::{Engine, Finish, Request, Sample, Sampling, draw};
use models::{CausalLm, Config, Lora, LoraConfig, SamplingWeights};
use ops::Ragged;
use rand::{Rng, RngCore};
use serde_json::json;
use testkit::{assert_close, assert_close_slices, golden_json};

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
        targets: ["q_proj", "v_proj", "down_proj"].map(String::from).to_vec(),
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

#[test]
fn greedy_equals_the_argmax_of_full_forwards() {
    let model = model();
    let lora = adapter(&model);
    let sampling = Sampling {
        temperature: 0.0,
        max_new_tokens: 12,
        ..Sampling::default()
    };
    for lora in [None, Some(&lora)] {
        let samples = run_all(&engine(&model, lora, 3), &requests(1, sampling));
        assert_eq!(samples.len(), prompts().len());
        for (sample, prompt) in samples.iter().zip(prompts()) {
            let mut ids = prompt.clone();
            for id in &sample.ids {
                let last = hidden(&model, lora, &ids)
                    .narrow(0, ids.len() - 1, 1)
                    .unwrap();
                let logits = ops::frozen_linear(&last, model.head()).unwrap();
                let best = logits.argmax(1).unwrap().to_vec1::<u32>().unwrap()[0];
                assert_eq!(*id, best, "prompt {prompt:?}, token {}", ids.len());
                ids.push(best);
            }
            assert_eq!(sample.ids.len(), 12);
            assert_eq!(sample.finish, Finish::Length);
        }
    }
}

#[test]
fn the_states_kept_are_those_before_each_token_of_the_full_forward() {
    let model = model();
    let lora = adapter(&model);
    let sampling = Sampling {
        max_new_tokens: 9,
        ..Sampling::default()
    };
    let keeping = Engine {
        keep_states: true,
        ..engine(&model, Some(&lora), 4)
    };
    let samples = run_all(&keeping, &requests(3, sampling));
    assert!(samples.iter().any(|s| s.index == 2 && s.request > 0));
    for sample in &samples {
        let prompt = &prompts()[sample.request];
        let whole = hidden(
            &model,
            Some(&lora),
            &[prompt.as_slice(), &sample.ids].concat(),
        );
        let before = whole.narrow(0, prompt.len() - 1, sample.ids.len()).unwrap();
        let shape = before.shape().clone();
        let kept = Tensor::from_vec(sample.states.clone(), shape, model.device()).unwrap();
        assert_close("states", &kept, &before, 1e-5);
    }
    let without = run_all(&engine(&model, Some(&lora), 4), &requests(3, sampling));
    assert!(without.iter().all(|s| s.states.is_empty()));
    let ids =
        |samples: &[Sample]| -> Vec<Vec<u32>> { samples.iter().map(|s| s.ids.clone()).collect() };
    assert_eq!(ids(&without), ids(&samples));
}

#[test]
fn what_was_sampled_is_what_the_full_forward_scores() {
    let model = model();
    let lora = adapter(&model);
    let sampling = Sampling {
        temperature: 0.7,
        top_k: 30,
        top_p: 0.9,
        max_new_tokens: 16,
    };
    for sample in run_all(&engine(&model, Some(&lora), 4), &requests(3, sampling)) {
        let prompt = &prompts()[sample.request];
        let ids = [prompt.as_slice(), &sample.ids].concat();
        let before = hidden(&model, Some(&lora), &ids)
            .narrow(0, prompt.len() - 1, sample.ids.len())
            .unwrap();
        let temperature = vec![0.7; sample.ids.len()];
        let scores = ops::token_scores(&before, model.head(), &sample.ids, &temperature).unwrap();
        let f64s = |x: &[f32]| x.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
        let wanted = testkit::values(&scores.logp);
        assert_close_slices("logps", &f64s(&sample.logps), &wanted, 1e-4);
        let wanted = testkit::values(&scores.entropy);
        assert_close_slices("entropies", &f64s(&sample.entropies), &wanted, 1e-4);
        // a truncated distribution is more certain than the whole one
        for (max_prob, logp) in sample.max_probs.iter().zip(&sample.logps) {
            assert!(*max_prob <= 1.0 && *max_prob >= logp.exp(), "{sample:?}");
        }
    }
}

#[test]
fn a_sample_does_not_depend_on_its_company() {
    let model = model();
    let lora = adapter(&model);
    let sampling = Sampling {
        top_p: 0.95,
        max_new_tokens: 10,
        ..Sampling::default()
    };
    let all = requests(4, sampling);
    let wanted = run_all(&engine(&model, Some(&lora), 64), &all);
    assert_eq!(wanted.len(), 20);
    let order: Vec<(usize, usize)> = wanted.iter().map(|s| (s.request, s.index)).collect();
    assert!(order.is_sorted(), "{order:?}");

    let ids = |samples: &[Sample]| samples.iter().map(|s| s.ids.clone()).collect::<Vec<_>>();
    for max_rows in [1, 3, 7] {
        let samples = run_all(&engine(&model, Some(&lora), max_rows), &all);
        assert_eq!(ids(&samples), ids(&wanted), "max_rows {max_rows}");
    }
    // alone, with fewer samples, and in another order
    for (i, request) in all.iter().enumerate() {
        let fewer = Request {
            n: 2,
            ..request.clone()
        };
        let samples = run_all(&engine(&model, Some(&lora), 8), &[fewer]);
        assert_eq!(ids(&samples), ids(&wanted[4 * i..4 * i + 2]), "request {i}");
    }
    let reversed: Vec<Request> = all.iter().rev().cloned().collect();
    for sample in run_all(&engine(&model, Some(&lora), 5), &reversed) {
        let same = &wanted[4 * (all.len() - 1 - sample.request) + sample.index];
        assert_eq!(sample.ids, same.ids);
    }
    // and the samples of one prompt are different draws
    assert_ne!(wanted[0].ids, wanted[1].ids);
}

#[test]
fn rows_of_different_length_and_temperature_leave_and_enter() {
    let model = model();
    let mut requests = requests(2, Sampling::default());
    for (i, request) in requests.iter_mut().enumerate() {
        request.n = i; // the first asks for nothing
        request.sampling.temperature = i as f32 * 0.5;
        request.sampling.max_new_tokens = 1 + 3 * i;
    }
    let mut seen = Vec::new();
    let samples = engine(&model, None, 2)
        .run(&requests, &mut |tokens, finished| {
            seen.push((tokens, finished))
        })
        .unwrap();
    let mut wanted = Vec::new();
    for (i, request) in requests.iter().enumerate() {
        wanted.extend((0..i).map(|index| (i, index, request.sampling)));
    }
    let found: Vec<_> = samples
        .iter()
        .map(|s| (s.request, s.index, s.sampling))
        .collect();
    assert_eq!(found, wanted);
    for sample in &samples {
        let n = sample.sampling.max_new_tokens;
        let lens = [
            sample.ids.len(),
            sample.logps.len(),
            sample.entropies.len(),
            sample.max_probs.len(),
        ];
        assert_eq!(lens, [n; 4]);
    }
    let tokens = samples.iter().map(|s| s.ids.len()).sum();
    assert_eq!(seen.last(), Some(&(tokens, samples.len())));
    assert!(seen.is_sorted());
}

#[test]
fn a_stop_token_ends_a_response_and_is_kept() {
    let model = model();
    let sampling = Sampling {
        temperature: 1.0,
        max_new_tokens: 20,
        ..Sampling::default()
    };
    let free = run_all(&engine(&model, None, 8), &requests(2, sampling));
    let stop = [free[0].ids[4], free[3].ids[7]];
    let stopping = Engine {
        model: &model,
        lora: None,
        stop: &stop,
        max_rows: 3,
        keep_states: false,
    };
    let samples = run_all(&stopping, &requests(2, sampling));
    let mut stopped = 0;
    for (free, sample) in free.iter().zip(&samples) {
        let wanted = match free.ids.iter().position(|id| stop.contains(id)) {
            Some(at) => (at + 1, Finish::Stop),
            None => (20, Finish::Length),
        };
        assert_eq!((sample.ids.len(), sample.finish), wanted);
        assert_eq!(sample.ids, free.ids[..wanted.0]);
        stopped += usize::from(sample.finish == Finish::Stop);
    }
    assert!(stopped >= 2);
}

#[test]
fn draws_follow_the_distribution() {
    let model = model();
    let lora = adapter(&model);
    let n = 2000;
    let sampling = Sampling {
        temperature: 0.5,
        top_k: 6,
        max_new_tokens: 1,
        ..Sampling::default()
    };
    let prompt = prompts()[0].clone();
    let samples = run_all(
        &engine(&model, Some(&lora), 500),
        &[request(prompt.clone(), n, sampling, 0)],
    );
    let last = hidden(&model, Some(&lora), &prompt)
        .narrow(0, prompt.len() - 1, 1)
        .unwrap();
    let logits = testkit::values(&ops::frozen_linear(&last, model.head()).unwrap());
    let mut order: Vec<usize> = (0..VOCAB).collect();
    order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
    let weights: Vec<f64> = order[..6]
        .iter()
        .map(|i| (logits[*i] / 0.5).exp())
        .collect();
    let sum: f64 = weights.iter().sum();
    let mut chi2 = 0.0;
    for (id, weight) in order[..6].iter().zip(weights) {
        let expected = n as f64 * weight / sum;
        let found = samples.iter().filter(|s| s.ids == [*id as u32]).count() as f64;
        chi2 += (found - expected).powi(2) / expected;
    }
    assert!(chi2 < 20.5, "chi-square {chi2} with 5 degrees of freedom"); // p = 0.001
}

/// Gives the same number again and again.
struct Fixed(f64);

impl RngCore for Fixed {
    fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }
    fn next_u64(&mut self) -> u64 {
        ((self.0 * (1u64 << 53) as f64) as u64) << 11
    }
    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

#[test]
fn the_sampler_draws_what_transformers_warpers_leave() {
    let golden = golden_json("sampling.json");
    let vectors: Vec<Vec<f32>> = serde_json::from_value(golden["logits"].clone()).unwrap();
    for case in golden["cases"].as_array().unwrap() {
        let number = |key: &str| case[key].as_f64().unwrap();
        let logits = &vectors[number("logits") as usize];
        let sampling = Sampling {
            temperature: number("temperature") as f32,
            top_k: number("top_k") as usize,
            top_p: number("top_p") as f32,
            max_new_tokens: 1,
        };
        let kept: Vec<usize> = serde_json::from_value(case["kept"].clone()).unwrap();
        let probs: Vec<f64> = serde_json::from_value(case["probs"].clone()).unwrap();
        let mut wanted = vec![0.0; logits.len()];
        for (id, p) in kept.iter().zip(&probs) {
            wanted[*id] = *p;
        }
        let steps = 4_000;
        let mut found = vec![0.0; logits.len()];
        for i in 0..steps {
            let u = (i as f64 + 0.5) / steps as f64;
            let drawn = draw(logits, &sampling, &mut Fixed(u)).unwrap();
            found[drawn.id as usize] += 1.0 / steps as f64;
            if i % 400 == 0 {
                let max = probs.iter().copied().fold(0.0, f64::max);
                let numbers = [f64::from(drawn.max_prob), f64::from(drawn.entropy)];
                assert_close_slices(
                    "max_prob, entropy",
                    &numbers,
                    &[max, number("entropy")],
                    1e-5,
                );
            }
        }
        let name = format!("{sampling:?}");
        assert_close_slices(&name, &found, &wanted, 1.01 / steps as f64);
        for (id, p) in found.iter().enumerate() {
            assert!(*p == 0.0 || kept.contains(&id), "{name}: {id} was cut off");
        }
    }
}

#[test]
fn greedy_takes_the_lowest_of_equals_and_draws_no_number() {
    let sampling = Sampling {
        temperature: 0.0,
        top_k: 1,
        ..Sampling::default()
    };
    let mut rng = run::stream(1, "x", 0, 0);
    let before = rng.clone();
    let drawn = draw(&[0.0, 2.0, 1.0, 2.0], &sampling, &mut rng).unwrap();
    assert_eq!(drawn.id, 1);
    assert_eq!(rng, before);
    let sum = 2.0 + (-1f64).exp() + (-2f64).exp();
    let entropy = sum.ln() + ((-1f64).exp() + 2.0 * (-2f64).exp()) / sum;
    let found = [drawn.logp, drawn.max_prob, drawn.entropy].map(f64::from);
    assert_close_slices("greedy", &found, &[-sum.ln(), 1.0 / sum, entropy], 1e-6);
}

#[test]
fn broken_logits_are_an_error() {
    let mut rng = run::stream(1, "x", 0, 0);
    for logits in [
        [0.0, f32::NAN, 1.0],
        [f32::NAN; 3],
        [0.0, f32::INFINITY, 1.0],
    ] {
        let error = draw(&logits, &Sampling::default(), &mut rng).unwrap_err();
        assert!(error.to_string().contains("not finite"), "{error}");
    }
    // a token may be forbidden, though
    let logits = [f32::NEG_INFINITY, 0.0, 0.0];
    let drawn = draw(&logits, &Sampling::default(), &mut rng).unwrap();
    assert_ne!(drawn.id, 0);
    assert_close_slices("entropy", &[f64::from(drawn.entropy)], &[2f64.ln()], 1e-6);
}

#[test]
fn impossible_requests_are_refused_before_any_work() {
    let model = model();
    #[track_caller]
    fn check(model: &CausalLm, request: Request, max_rows: usize, message: &str) {
        let good = self::request(vec![1, 2], 1, Sampling::default(), 0);
        let good = Request {
            sampling: Sampling {
                max_new_tokens: 4,
                ..good.sampling
            },
            ..good
        };
        let mut calls = 0;
        let error = engine(model, None, max_rows)
            .run(&[good, request], &mut |_, _| calls += 1)
            .unwrap_err();
        let error = run::one_line(&error.into());
        assert!(error.contains(message), "{error}");
        assert_eq!(calls, 0);
    }
    let ask = |prompt: &[u32], sampling| request(prompt.to_vec(), 1, sampling, 0);
    let with = |max_new_tokens| Sampling {
        max_new_tokens,
        ..Sampling::default()
    };
    let heat = |temperature| Sampling {
        temperature,
        ..with(4)
    };
    check(&model, ask(&[], with(4)), 8, "prompt 1 is empty");
    check(&model, ask(&[1], with(0)), 8, "max_new_tokens = 0");
    check(
        &model,
        ask(&[1; 61], with(4)),
        8,
        "beyond the model's context of 64",
    );
    check(&model, ask(&[1, 97], with(4)), 8, "holds token 97");
    check(&model, ask(&[1], heat(-1.0)), 8, "temperature = -1");
    check(&model, ask(&[1], heat(f32::NAN)), 8, "temperature = NaN");
    let top_p = Sampling {
        top_p: 0.0,
        ..with(4)
    };
    check(&model, ask(&[1], top_p), 8, "top_p = 0");
    check(&model, ask(&[1], with(4)), 0, "max_rows = 0");
}

#[test]
fn narrower_weights_draw_nearly_the_same_and_the_adapter_is_exact() {
    let model = model();
    let lora = adapter(&model);
    let ids: Vec<u32> = (0..40).map(|i| 3 + i * 37 % 90).collect();
    let layout = Ragged::from_lens(&[ids.len()]);
    let hidden = |m: &CausalLm, lora: Option<&Lora>| m.hidden(&ids, &layout, lora, None).unwrap();
    let apart = |a: &Tensor, b: &Tensor| {
        let (a, b) = (testkit::values(a), testkit::values(b));
        let square = |x: f64| x * x;
        let gap: f64 = a.iter().zip(&b).map(|(a, b)| square(a - b)).sum();
        (gap / b.iter().map(|b| square(*b)).sum::<f64>()).sqrt()
    };
    for (weights, least, most) in [
        (SamplingWeights::Same, 0.0, 1e-12),
        (SamplingWeights::Bf16, 1e-4, 1e-2),
        (SamplingWeights::Int8, 1e-4, 3e-2),
    ] {
        let narrow = model.with_sampling_weights(weights).unwrap();
        assert_eq!(narrow.is_none(), weights == SamplingWeights::Same);
        let narrow = narrow.as_ref().unwrap_or(&model);
        let gap = apart(&hidden(narrow, Some(&lora)), &hidden(&model, Some(&lora)));
        assert!((least..=most).contains(&gap), "{weights:?}: {gap}");
        // once narrow, they stay so, and nothing is taken twice
        let again = |weights| narrow.with_sampling_weights(weights).unwrap();
        assert!(again(SamplingWeights::Same).is_none());
        let wide = 4 * (model.n_params() - 5 * 32); // the tied head is a matrix of its own beside the embedding
        match weights {
            SamplingWeights::Same => {}
            SamplingWeights::Bf16 => {
                assert_eq!(narrow.bytes_beside(&model), wide / 2);
                assert!(again(weights).is_none());
            }
            SamplingWeights::Int8 => {
                let bytes = narrow.bytes_beside(&model);
                assert!((wide / 4..wide / 3).contains(&bytes), "{bytes} of {wide}");
            }
        }
    }
    // with matrices of zeros the low-rank part is all there is: bit for bit
    let mut zeros = model;
    for (name, var) in zeros.make_trainable().unwrap() {
        if name.contains("_proj") {
            var.set(&var.zeros_like().unwrap()).unwrap();
        }
    }
    for weights in [SamplingWeights::Bf16, SamplingWeights::Int8] {
        let narrow = zeros.with_sampling_weights(weights).unwrap().unwrap();
        let (a, b) = (hidden(&narrow, Some(&lora)), hidden(&zeros, Some(&lora)));
        assert_eq!(apart(&a, &b.detach()), 0.0, "{weights:?}");
    }
}
