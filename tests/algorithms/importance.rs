//! Truncated importance weights of tokens from another sampler.

use algorithms::{Experience, importance};
use candle_core::{Device, Tensor, Var};

/// E_μ[min(π/μ, C)·∇ log π·r] is ∇E_π[r] where no ratio is cut.
#[test]
fn importance_weights_correct_for_another_sampler() {
    let (pi, mu, reward) = ([0.5f64, 0.3, 0.2], [0.2f64, 0.5, 0.3], [1.0, -2.0, 0.5]);
    let one_of_each = Experience {
        lens: vec![1; 4],
        sampled: vec![true, true, true, false],
        logp_old: [pi[0], pi[1], pi[2], 0.9].map(|p| p.ln() as f32).to_vec(),
        logp_sampled: [mu[0], mu[1], mu[2], 0.0001]
            .map(|p| p.ln() as f32)
            .to_vec(),
        ..Experience::default()
    };
    let (weights, metrics) = importance::weights(&one_of_each, f64::INFINITY);
    assert_eq!(weights[3], 1.0, "an answer of the data set was not sampled");
    let mean: f64 = pi.iter().zip(mu).map(|(p, m)| p / m / 3.0).sum();
    assert!((metrics["sampling/importance_ratio"] - mean).abs() < 1e-6);
    assert_eq!(metrics["sampling/truncated"], 0.0);

    let logits = Var::new(pi.map(f64::ln).as_slice(), &Device::Cpu).unwrap();
    let logp = candle_nn::ops::log_softmax(logits.as_tensor(), 0).unwrap();
    let constant = |x: Vec<f64>| Tensor::new(x, &Device::Cpu).unwrap();
    let gradient = |loss: Tensor| {
        let loss = loss.sum_all().unwrap();
        testkit::values(loss.backward().unwrap().get(&logits).unwrap())
    };
    let wanted = gradient((logp.exp().unwrap() * constant(reward.to_vec())).unwrap());
    let weighed = importance::weigh_gradient(&logp, &weights[..3]).unwrap();
    assert_eq!(testkit::values(&weighed), testkit::values(&logp));
    let by_mu = constant(mu.iter().zip(reward).map(|(m, r)| m * r).collect());
    let found = gradient((weighed * by_mu).unwrap());
    testkit::assert_close_slices("gradient", &found, &wanted, 1e-6);

    let (cut, metrics) = importance::weights(&one_of_each, 2.0);
    assert_eq!(cut[0], 2.0, "2.5 is above the cap");
    assert_eq!(cut[1..], weights[1..]);
    assert!((metrics["sampling/truncated"] - 1.0 / 3.0).abs() < 1e-12);
}
