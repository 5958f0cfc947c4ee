//! The engine against full forwards.

use super::{VOCAB, adapter, engine, hidden, model, prompts, request, requests, run_all};
use candle_core::Tensor;
use generation::{Engine, Finish, Request, Sample, Sampling};
use testkit::{assert_close, assert_close_slices};

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
fn kept_states_equal_those_of_the_full_forward() {
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
fn sampled_log_probs_equal_those_of_the_full_forward() {
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
fn a_sample_does_not_depend_on_the_rows_beside_it() {
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
fn finished_rows_make_room_for_rows_of_other_lengths_and_temperatures() {
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
