//! The MRT and REINFORCE losses on a policy small enough to enumerate.

use super::tabular::*;
use algorithms::estimators::mean;
use algorithms::{mrt, reinforce};
use candle_core::{Device, Var};
use testkit::{assert_close_slices, values};

#[test]
fn mrt_loss_has_the_gradients_of_its_paper() {
    let mrt = |alpha: f64, rewards: &[f64]| {
        let rewards = constant(rewards);
        tabular(&LOGITS, move |logp| {
            mrt::loss(&(logp * alpha).unwrap(), &rewards).unwrap()
        })
    };
    assert_close_slices("(a) all of Ω, α = 1", &mrt(1.0, &REWARDS), &exact(), 1e-12);
    let shifted = REWARDS.map(|r| r + 10.0);
    assert_close_slices(
        "(b) a baseline cancels",
        &mrt(0.3, &shifted),
        &mrt(0.3, &REWARDS),
        1e-12,
    );
    // (c) −Q_i (r_i − r̄) α with respect to log p(y_i)
    let alpha = 0.3;
    let var = Var::new(&LOGITS, &Device::Cpu).unwrap();
    let loss = mrt::loss(&(var.as_tensor() * alpha).unwrap(), &constant(&REWARDS)).unwrap();
    let found = values(loss.backward().unwrap().get(&var).unwrap());
    let q = softmax(&LOGITS.map(|l| alpha * l));
    let r_mean: f64 = q.iter().zip(REWARDS).map(|(q, r)| q * r).sum();
    let wanted: Vec<f64> = q
        .iter()
        .zip(REWARDS)
        .map(|(q, r)| -alpha * q * (r - r_mean))
        .collect();
    assert_close_slices("(c) closed form", &found, &wanted, 1e-12);
    // (d) α → 0: REINFORCE with the mean of the samples as baseline, over k
    let small: Vec<f64> = mrt(1e-7, &REWARDS).iter().map(|g| g / 1e-7).collect();
    let centred = REWARDS.map(|r| (r - mean(&REWARDS)) / 5.0);
    let wanted = tabular(&LOGITS, |logp| {
        reinforce::loss(logp, &constant(&centred)).unwrap()
    });
    assert_close_slices("(d) small α", &small, &wanted, 1e-6);
    // (e) one sample
    let one = tabular(&LOGITS, |logp| {
        mrt::loss(&logp.narrow(0, 2, 1).unwrap(), &constant(&[3.0])).unwrap()
    });
    assert_close_slices("(e) k = 1", &one, &[0.0; 5], 1e-15);
}

#[test]
fn reinforce_is_unbiased_for_any_constant_baseline() {
    let p = softmax(&LOGITS);
    for b in [0.0, 1.7, -20.0] {
        let mut expected = vec![0.0; 5];
        for y in 0..5 {
            let weight = constant(&[REWARDS[y] - b]);
            let g = tabular(&LOGITS, |logp| {
                reinforce::loss(&logp.narrow(0, y, 1).unwrap(), &weight).unwrap()
            });
            expected.iter_mut().zip(g).for_each(|(e, g)| *e += p[y] * g);
        }
        assert_close_slices("E[gradient]", &expected, &exact(), 1e-12);
    }
}
