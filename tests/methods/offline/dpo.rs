//! DPO.

use super::*;

#[test]
fn dpo_metrics_equal_trl() {
    let golden = golden_json("offline.json");
    let (exp, now) = golden_batch("pairs");
    let found = step(method("dpo", json!({"beta": 0.3})).as_mut(), &exp, &now);
    for name in [
        "rewards/chosen",
        "rewards/rejected",
        "rewards/margins",
        "rewards/accuracies",
        "logps/chosen",
        "logps/rejected",
    ] {
        let wanted = golden["trl_dpo_metrics"][name].as_f64().unwrap();
        assert_close_slices(name, &[found.metrics[name]], &[wanted], 1e-6);
    }
}

#[test]
fn dpo_loss_at_the_reference_is_ln_2() {
    let (exp, _) = golden_batch("pairs");
    let found = step(
        method("dpo", json!({"beta": 0.4})).as_mut(),
        &exp,
        &at_reference(&exp),
    );
    assert_close_slices("loss", &[found.loss], &[2f64.ln()], 1e-7);
    // ties, each of which is half right
    assert_eq!(found.metrics["rewards/accuracies"], 0.5);
    let sign = [-1.0, 1.0].repeat(4);
    let wanted: Vec<f64> = sign.iter().map(|s| s * 0.4 / 2.0 / 4.0).collect();
    assert_close_slices("gradient", &found.d_logp, &per_token(&exp, &wanted), 1e-7);
}

#[test]
fn dpo_depends_only_on_differences_within_a_pair() {
    let (exp, now) = golden_batch("pairs");
    let mut dpo = method("dpo", json!({"beta": 0.3}));
    let plain = step(dpo.as_mut(), &exp, &now);
    // the same added to a pair's two responses, on their first tokens
    let mut shifted = now.clone();
    for (row, tokens) in exp.layout().ranges().enumerate() {
        shifted.logp[tokens.start] -= 0.7 * (row / 2) as f64;
    }
    let found = step(dpo.as_mut(), &exp, &shifted);
    assert_close_slices("shifted", &[found.loss], &[plain.loss], 1e-9);
    // chosen and rejected change places: h changes sign
    let order = [1, 0, 3, 2, 5, 4, 7, 6];
    let swapped = step(dpo.as_mut(), &exp.select(&order), &now.select(&exp, &order));
    let (a, b) = (
        plain.metrics["rewards/margins"],
        swapped.metrics["rewards/margins"],
    );
    assert_close_slices("margin", &[a], &[-b], 1e-9);
    // a pair that is already far apart teaches nothing, and equal responses have h = 0
    let mut far = now.clone();
    let first = exp.layout().range(1);
    far.logp[first.start] = -400.0;
    let found = step(method("dpo", json!({"beta": 1.0})).as_mut(), &exp, &far);
    assert!(
        found.d_logp[..8].iter().all(|g| g.abs() < 1e-12),
        "{:?}",
        found.d_logp
    );
    let (twins, same) = (exp.select(&[0, 0]), now.select(&exp, &[0, 0]));
    let found = step(dpo.as_mut(), &twins, &same);
    assert_close_slices("equal", &[found.loss], &[2f64.ln()], 1e-9);
    let half = exp.lens[0];
    let net: Vec<f64> = (0..half)
        .map(|t| found.d_logp[t] + found.d_logp[half + t])
        .collect();
    assert_close_slices("net gradient", &net, &vec![0.0; half], 1e-12);
}
