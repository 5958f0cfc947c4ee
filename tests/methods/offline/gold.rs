//! GOLD, and the frozen copies it reads.

use super::*;
use algorithms::Refresh;

#[test]
fn gold_gradients_lie_between_mle_and_on_policy() {
    let (exp, now) = golden_batch("rows");
    let n = exp.n_tokens() as f64;
    // one token of return, rewards of 1: only the importance weight is left
    let with = |weight_min: f64| json!({"weight_min": weight_min, "reward_min": 1.0, "suffix": 1});
    let mle = step(method("gold_s", with(1.0)).as_mut(), &exp, &now);
    assert_close_slices("u = 1", &mle.d_logp, &vec![-1.0 / n; exp.n_tokens()], 1e-7);
    // π̃ is the policy: the gradient of −Σ π(y_t) is −π(y_t) ∇ log π(y_t)
    let current = Experience {
        logp_old: now.logp.iter().map(|l| *l as f32).collect(),
        ..exp
    };
    let own = step(method("gold_s", with(0.0)).as_mut(), &current, &now);
    let wanted: Vec<f64> = now.logp.iter().map(|l| -l.exp() / n).collect();
    assert_close_slices("u = 0", &own.d_logp, &wanted, 1e-6);
    assert!(
        own.d_logp
            .iter()
            .zip(&mle.d_logp)
            .all(|(own, mle)| own.abs() <= mle.abs())
    );
}

#[test]
fn frozen_copies_are_refreshed_on_schedule() {
    let due = |when: Refresh| -> Vec<u64> {
        (0..10)
            .filter(|step| when.is_due(*step, step.is_multiple_of(3)))
            .collect()
    };
    assert_eq!(due(Refresh::Never), [0; 0]);
    assert_eq!(due(Refresh::Steps(4)), [4, 8]);
    assert_eq!(due(Refresh::Epoch), [3, 6, 9]);
    assert_eq!(due(Refresh::StepsAndEpoch(4)), [3, 4, 6, 8, 9]);
    let needs = |config| method("gold_p", config).requirements();
    assert_eq!(
        needs(json!({"sync_epoch": false, "sync_steps": 7})).old_policy,
        Some(Refresh::Steps(7))
    );
    assert_eq!(needs(json!({})).reference_refresh, Refresh::Never);
    assert_eq!(
        needs(json!({"drift": true})).reference_refresh,
        Refresh::Epoch
    );
}
