//! Advantages, whitening, KL estimators and queues against their formulas.

use algorithms::estimators::baseline::Fifo;
use algorithms::estimators::kl::{Estimator, adapt};
use algorithms::estimators::{explained_variance, gae::gae, mean, variance, whiten};
use testkit::assert_close_slices;

#[test]
fn gae_equals_its_closed_forms() {
    let (rewards, values) = ([1.0, -2.0, 0.5], [0.3, 0.7, -0.4]);
    let (a, r) = gae(&rewards, &[0.0; 3], 1.0, 1.0);
    assert_close_slices("reward to go", &a, &[-0.5, -1.5, 0.5], 1e-12);
    assert_eq!(a, r);
    let (a, r) = gae(&rewards, &values, 1.0, 1.0);
    assert_close_slices("return less value", &a, &[-0.8, -2.2, 0.9], 1e-12);
    assert_close_slices("returns", &r, &[-0.5, -1.5, 0.5], 1e-12);
    let (a, _) = gae(&rewards, &values, 0.9, 0.0);
    assert_close_slices(
        "delta",
        &a,
        &[1.0 + 0.63 - 0.3, -2.0 - 0.36 - 0.7, 0.9],
        1e-12,
    );
    assert_eq!(gae(&[], &[], 1.0, 0.95), (vec![], vec![]));
}

#[test]
fn whitening_gives_mean_0_and_variance_1() {
    let x = [3.0, -1.0, 4.0, 1.5, -9.0];
    let mut white = x;
    whiten::whiten(&mut white);
    assert_close_slices(
        "mean, variance",
        &[mean(&white), variance(&white)],
        &[0.0, 1.0],
        1e-8,
    );
    let mut scaled = x;
    whiten::whiten_scale_only(&mut scaled);
    assert_close_slices(
        "mean, variance",
        &[mean(&scaled), variance(&scaled)],
        &[mean(&x), 1.0],
        1e-8,
    );
    for mut same in [vec![2.0], vec![2.0; 4], vec![]] {
        whiten::whiten(&mut same);
        assert!(same.iter().all(|v| *v == 0.0));
    }
}

#[test]
fn kl_estimators_and_controller_equal_their_formulas() {
    let x = 0.5;
    let by = |e: Estimator, x: f64| e.of(x);
    let all = [
        Estimator::K1,
        Estimator::K2,
        Estimator::K3,
        Estimator::Abs,
        Estimator::Positive,
    ];
    let found = all.map(|e| by(e, x));
    assert_close_slices(
        "at 0.5",
        &found,
        &[0.5, 0.125, (-0.5f64).exp() - 0.5, 0.5, 0.5],
        1e-12,
    );
    let found = all.map(|e| by(e, -x));
    assert_close_slices(
        "at -0.5",
        &found,
        &[-0.5, 0.125, 0.5f64.exp() - 1.5, 0.5, 0.0],
        1e-12,
    );
    assert!(by(Estimator::K3, -1e4).is_finite());
    // k1 and k3 are unbiased: enumerate three outcomes
    let (p, q) = ([0.2, 0.5, 0.3], [0.4, 0.4, 0.2f64]);
    let kl: f64 = p
        .iter()
        .zip(&q)
        .map(|(p, q)| p * (p / q as &f64).ln())
        .sum();
    for e in [Estimator::K1, Estimator::K3] {
        let expected: f64 = p
            .iter()
            .zip(&q)
            .map(|(p, q)| p * e.of((p / q as &f64).ln()))
            .sum();
        assert_close_slices("expectation", &[expected], &[kl], 1e-12);
    }
    // Ziegler: clipped relative error, times episodes over horizon
    assert_close_slices("on target", &[adapt(0.1, 6.0, 64, 6.0, 1e4)], &[0.1], 1e-12);
    assert_close_slices(
        "far above",
        &[adapt(0.1, 60.0, 64, 6.0, 1e4)],
        &[0.1 * (1.0 + 0.2 * 64.0 / 1e4)],
        1e-12,
    );
    assert_close_slices(
        "below",
        &[adapt(0.1, 5.4, 100, 6.0, 1e3)],
        &[0.1 * (1.0 - 0.1 * 0.1)],
        1e-12,
    );
    assert_close_slices(
        "far below",
        &[adapt(0.1, -3.0, 100, 6.0, 1e3)],
        &[0.1 * (1.0 - 0.2 * 0.1)],
        1e-12,
    );
}

#[test]
fn explained_variance_is_1_for_a_perfect_critic_and_0_for_a_constant() {
    let returns = [1.0, 2.0, 4.0];
    assert_close_slices(
        "perfect",
        &[explained_variance(&returns, &returns)],
        &[1.0],
        1e-12,
    );
    assert_close_slices(
        "constant",
        &[explained_variance(&[5.0; 3], &returns)],
        &[0.0],
        1e-12,
    );
    assert_eq!(explained_variance(&[1.0, 2.0], &[3.0, 3.0]), 0.0);
}

#[test]
fn the_fifo_queue_drops_the_oldest_rewards() {
    let mut queue = Fifo::new(3);
    assert_eq!((queue.mean(), queue.std()), (0.0, 0.0));
    queue.push(&[1.0, 2.0]);
    assert_eq!(queue.mean(), 1.5);
    queue.push(&[3.0, 6.0]);
    assert_eq!(
        (queue.values(), queue.mean()),
        (vec![2.0, 3.0, 6.0], 11.0 / 3.0)
    );
    queue.push(&[9.0, 8.0, 7.0, 5.0]);
    assert_eq!(queue.values(), [8.0, 7.0, 5.0]);
    let mut last = Fifo::new(1);
    last.push(&[4.0, -2.0]);
    assert_eq!((last.mean(), last.std()), (-2.0, 0.0));
    let mut endless = Fifo::new(usize::MAX);
    (1..=100).for_each(|i| endless.push(&[f64::from(i)]));
    assert_eq!(endless.mean(), 50.5);
}
