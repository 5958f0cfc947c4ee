//! The A-LoL family.

use super::*;
use algorithms::{DataSource, PoolRequirements};

/// A⁺ of each row.
fn advantages(exp: &Experience) -> Vec<f64> {
    let pairs = exp.score.iter().zip(&exp.prompt_value);
    pairs
        .map(|(r, v)| (f64::from(*r) - f64::from(*v)).max(0.0))
        .collect()
}

#[test]
fn a_lol_variants_agree_when_policy_equals_reference() {
    let (exp, _) = golden_batch("rows");
    let now = at_reference(&exp);
    let n = exp.n_rows() as f64;
    let weights: Vec<f64> = advantages(&exp).iter().map(|a| -a / n).collect();
    for name in ["a_lol", "a_lol_seq", "a_lol_ref_free"] {
        let found = step(method(name, json!({})).as_mut(), &exp, &now);
        assert_close_slices(name, &found.d_logp, &per_token(&exp, &weights), 1e-6);
    }
    let found = step(
        method("a_lol_kl", json!({"kl_coef": 0.3})).as_mut(),
        &exp,
        &now,
    );
    let less: Vec<f64> = advantages(&exp).iter().map(|a| -(a - 0.3) / n).collect();
    assert_close_slices("a_lol_kl", &found.d_logp, &per_token(&exp, &less), 1e-6);
}

#[test]
fn the_a_lol_weight_scales_the_gradient_even_when_clipped() {
    let (exp, now) = golden_batch("rows");
    let n = exp.n_rows() as f64;
    let rho: Vec<f64> = row_sums(&exp, &now.logp)
        .iter()
        .zip(row_sums(&exp, &wide(&exp.logp_ref)))
        .map(|(l, r)| (l - r).exp())
        .collect();
    let gradient = |weight: &dyn Fn(f64) -> f64| -> Vec<f64> {
        let rows = advantages(&exp).into_iter().zip(&rho);
        per_token(
            &exp,
            &rows
                .map(|(a, rho)| -a * weight(*rho) / n)
                .collect::<Vec<_>>(),
        )
    };
    // without a clip: ∇(−A⁺ ρ) = −A⁺ ρ ∇L
    let free = step(method("a_lol", json!({"clip": 1e6})).as_mut(), &exp, &now);
    assert_close_slices("no clip", &free.d_logp, &gradient(&|rho| rho), 1e-5);
    // far outside the clip it is A⁺ (1 + ε) ∇N, where PPO's would be 0
    let far = Now {
        logp: exp.logp_ref.iter().map(|l| f64::from(*l) + 3.0).collect(),
        ..now.clone()
    };
    let found = step(method("a_lol", json!({})).as_mut(), &exp, &far);
    assert_close_slices("clipped", &found.d_logp, &gradient(&|_| 1.9), 1e-6);
    assert_close_slices(
        "weight",
        &[found.metrics["a_lol/importance_weight"]],
        &[1.9],
        1e-9,
    );
    // and an overflowing ratio stays finite
    let absurd = Now {
        logp: vec![1e4; now.logp.len()],
        ..now.clone()
    };
    let found = step(
        method("a_lol", json!({"clip": 1e9})).as_mut(),
        &exp,
        &absurd,
    );
    assert!(found.d_logp.iter().all(|g| g.is_finite()));
}

#[test]
fn a_lol_family_members_coincide_at_their_limits() {
    let (mut exp, now) = golden_batch("rows");
    exp.prompt_value.fill(0.0);
    let a = step(method("a_lol", json!({})).as_mut(), &exp, &now);
    let r = step(method("r_lol", json!({})).as_mut(), &exp, &now);
    assert_close_slices("V = 0", &a.d_logp, &r.d_logp, 0.0);
    let gold = step(
        method("r_gold", json!({"weight_min": 1.0})).as_mut(),
        &exp,
        &now,
    );
    let wbc = step(method("wbc", json!({})).as_mut(), &exp, &now);
    assert_close_slices("u = 1", &gold.d_logp, &wbc.d_logp, 0.0);
}

#[test]
fn a_lol_samples_only_rows_above_their_expected_score() {
    let rows = pool(
        &[1, 2, 3, 4],
        &[0.5, 0.25, 0.75, 0.5],
        &[0.25, 0.5, 0.5, 0.5],
    );
    let (weights, metrics) = method("a_lol", json!({})).weigh(&rows, 0).unwrap();
    assert_eq!(weights, [0.25, 0.0, 0.25, 0.0]);
    assert_close_slices("share", &[metrics["a_lol/positive_frac"]], &[0.5], 0.0);
    let even = method("a_lol", json!({"priority": false}))
        .weigh(&rows, 0)
        .unwrap()
        .0;
    assert_eq!(even, [1.0, 0.0, 1.0, 0.0]);
    let by_reward = method("wbc", json!({})).weigh(&rows, 0).unwrap().0;
    assert_eq!(by_reward, [0.5, 0.25, 0.75, 0.5]);
    for (name, replacement) in [(json!({}), true), (json!({"priority": false}), false)] {
        let DataSource::Pool(PoolRequirements {
            replacement: found, ..
        }) = method("wbc", name).requirements().source
        else {
            panic!("a pool")
        };
        assert_eq!(found, replacement);
    }
    let none = pool(&[1, 2], &[0.1, 0.2], &[0.5, 0.5]);
    let message = method("a_lol", json!({}))
        .weigh(&none, 0)
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("no stored response scores above") && message.contains("wbc"),
        "{message}"
    );
    let message = build("wbc", &json!({"clip": 0.5}), 0)
        .err()
        .unwrap()
        .to_string();
    assert!(
        message.contains("unknown key \"algorithm.clip\""),
        "{message}"
    );
}
