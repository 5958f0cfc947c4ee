//! ESRL's equations 6 to 9: capability, samples, temperature.

use super::support::uniform;
use algorithms::estimators::capability::{
    Normalisation, Rounding, full_entropy, normalise, released_confidence, sampled_entropy,
    samples, temperature,
};
use testkit::assert_close_slices;

#[test]
fn equation_8_gives_able_prompts_fewer_samples() {
    let unfloored = |cap: &[f64], k_max, beta| samples(cap, (0, k_max), beta, Rounding::Ceil);
    // equal prompts get ⌈(1 − β) k_max⌉ each; 20 · 0.7 is whole and must not be rounded up
    assert_eq!(unfloored(&[0.4; 3], 20, 0.3), [14; 3]);
    assert_eq!(unfloored(&[0.4; 3], 1, 0.3), [1; 3]);
    assert_eq!(unfloored(&[0.4; 3], 4, 0.0), [4; 3]);
    // the case the paper does not mention: 20 − 24·0.9/0.93 < 0
    assert_eq!(
        unfloored(&[0.9, 0.01, 0.01, 0.01], 20, 0.3),
        [0, 20, 20, 20]
    );
    assert_eq!(
        samples(&[0.9, 0.01, 0.01, 0.01], (1, 20), 0.3, Rounding::Ceil),
        [1, 20, 20, 20]
    );
    // Σ Cap ≤ 0 or not finite: all alike
    for cap in [
        [0.0, 0.0],
        [-3.0, 1.0],
        [f64::NAN, 1.0],
        [f64::INFINITY, 1.0],
    ] {
        assert_eq!(samples(&cap, (1, 10), 0.3, Rounding::Ceil), [7, 7]);
    }
    assert!(samples(&[], (1, 4), 0.3, Rounding::Ceil).is_empty());
    for seed in 0..50 {
        let cap: Vec<f64> = uniform(6, seed).iter().map(|u| 0.5 + 0.5 * u).collect();
        let (k_max, beta) = (1 + (seed % 20) as usize, 0.1 * (seed % 6) as f64);
        let k = unfloored(&cap, k_max, beta);
        let (sum, least) = (
            k.iter().sum::<usize>() as f64,
            (1.0 - beta) * 6.0 * k_max as f64,
        );
        assert!(least - 1e-6 <= sum && sum < least + 6.0, "{k:?}");
        assert!(k.iter().all(|k| *k <= k_max));
        let scaled: Vec<f64> = cap.iter().map(|c| 7.0 * c).collect();
        assert_eq!(
            unfloored(&scaled, k_max, beta),
            k,
            "scaling changes nothing"
        );
        for (a, b) in (0..6).flat_map(|a| (0..6).map(move |b| (a, b))) {
            assert!(
                cap[a] < cap[b] || k[a] <= k[b],
                "more able, not more samples"
            );
        }
    }
}

#[test]
fn temperature_and_capabilities_equal_equations_7_and_9() {
    assert_close_slices(
        "τ",
        &[temperature(20, 20, 0.6, 1.0), temperature(5, 20, 0.6, 1.0)],
        &[1.0, 0.7],
        1e-12,
    );
    let half = 0.5f32.ln();
    assert_close_slices(
        "Eq. 7",
        &[sampled_entropy(&[half, half])],
        &[1.0 - 0.5 * 2f64.ln()],
        1e-7,
    );
    assert_close_slices(
        "Eq. 7, least",
        &[sampled_entropy(&[-1.0])],
        &[1.0 - (-1f64).exp()],
        1e-12,
    );
    assert_eq!(
        [
            sampled_entropy(&[]),
            sampled_entropy(&[0.0]),
            sampled_entropy(&[f32::NEG_INFINITY])
        ],
        [1.0; 3]
    );
    assert_close_slices("whole entropy", &[full_entropy(&[0.5, 1.5])], &[0.0], 1e-12);
    assert_close_slices(
        "released",
        &[released_confidence(&[1.0, 0.0])],
        &[1.0 + 0.5 * 1f64.exp()],
        1e-12,
    );
    assert_eq!(
        normalise(&[-2.0, 0.0, 2.0], Normalisation::MinMax),
        [0.0, 0.5, 1.0]
    );
    assert_eq!(normalise(&[3.0, 3.0], Normalisation::MinMax), [1.0, 1.0]);
    assert_eq!(normalise(&[0.0], Normalisation::Sigmoid), [0.5]);
    assert_eq!(normalise(&[-4.0], Normalisation::None), [-4.0]);
}

#[test]
fn largest_remainders_sum_to_what_equation_8_saves() {
    let rounded =
        |cap: &[f64], bounds, beta| samples(cap, bounds, beta, Rounding::LargestRemainder);
    // wanted: 3.2, 2.8, 2.4 of 4; Σ = 0.7 · 3 · 4 = 8.4, so 8: the second is furthest below
    assert_eq!(rounded(&[1.0, 1.5, 2.0], (1, 4), 0.3), [3, 3, 2]);
    // the ceiling draws 10
    assert_eq!(
        samples(&[1.0, 1.5, 2.0], (1, 4), 0.3, Rounding::Ceil),
        [4, 3, 3]
    );
    // clamped numbers are made up for: wanted −3.2, 19.7, 19.7, 19.7, and 56 in all
    assert_eq!(
        rounded(&[0.9, 0.01, 0.01, 0.01], (1, 20), 0.3),
        [1, 18, 18, 19]
    );
    assert_eq!(rounded(&[0.4; 3], (0, 20), 0.3), [14; 3]);
    assert!(rounded(&[], (1, 4), 0.3).is_empty());
    // a floor may ask for more than is left
    assert_eq!(rounded(&[0.4; 3], (4, 4), 0.3), [4; 3]);
    let (mut ceiled, mut exact) = (0, 0);
    for seed in 0..50 {
        let cap = normalise(&uniform(24, seed), Normalisation::MinMax);
        let k = rounded(&cap, (1, 4), 0.3);
        assert!(k.iter().all(|k| (1..=4).contains(k)), "{k:?}");
        assert_eq!(k.iter().sum::<usize>(), 67, "0.7 · 24 · 4 = 67.2");
        for (a, b) in (0..24).flat_map(|a| (0..24).map(move |b| (a, b))) {
            assert!(cap[a] < cap[b] || k[a] <= k[b] + 1, "{k:?}");
        }
        exact += k.iter().sum::<usize>();
        ceiled += samples(&cap, (1, 4), 0.3, Rounding::Ceil)
            .iter()
            .sum::<usize>();
    }
    let saved = |n: usize| 1.0 - n as f64 / (50.0 * 24.0 * 4.0);
    assert!((saved(exact) - 0.302).abs() < 1e-3, "{}", saved(exact));
    assert!(saved(ceiled) < 0.2, "{}", saved(ceiled));
}
