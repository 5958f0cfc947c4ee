//! One draw, against transformers' warpers and by hand.

use generation::{Sampling, draw};
use rand::RngCore;
use testkit::{assert_close_slices, golden_json};

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
fn the_sampler_draws_from_what_transformers_warpers_keep() {
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
fn greedy_takes_the_lowest_id_of_equals_and_no_random_number() {
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
