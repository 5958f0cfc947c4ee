//! Health watches on made-up steps: each fault warns once and names itself, healthy steps do not
//! warn.

use esrl_rlhf::watch::{Seen, WatchConfig, WatchState};
use std::collections::BTreeMap;
use testkit::assert_close_slices;

const WINDOW: usize = 3;

fn config() -> WatchConfig {
    WatchConfig {
        window: WINDOW,
        ..WatchConfig::default()
    }
}

/// Responses of 4 to 9 tokens that repeat nothing, and rewards that do not follow the length.
fn healthy() -> (Vec<Vec<u32>>, Vec<f64>) {
    let responses = (0..6).map(|i| (0..4 + i).collect()).collect();
    (responses, vec![0.3, -0.2, 0.5, 0.4, -0.3, 0.3])
}

fn seen<'a>(responses: &'a [Vec<u32>], rewards: &[f64]) -> Seen<'a> {
    Seen {
        responses: responses.iter().map(Vec::as_slice).collect(),
        rewards: rewards.to_vec(),
        eos_rate: 1.0,
        entropy: Some(1.2),
        kl: Some(3.0),
        kl_exact: Some(3.1),
        grad_norm: Some(0.4),
        past_start: true,
    }
}

/// Healthy steps, then faulty ones: `name` warns once, at the first step that puts the window
/// beyond the threshold.
#[track_caller]
fn check(name: &str, fault: impl Fn(&mut Seen), advice: &str) {
    let (responses, rewards) = healthy();
    let mut state = WatchState::default();
    for _ in 0..WINDOW {
        let report = state.see(&seen(&responses, &rewards), &config());
        assert_eq!(report.warnings, Vec::<String>::new());
    }
    let mut warnings = Vec::new();
    for _ in 0..2 * WINDOW {
        let mut step = seen(&responses, &rewards);
        fault(&mut step);
        let report = state.see(&step, &config());
        warnings.extend(report.warnings);
        let metric = format!("watch/{name}");
        assert!(report.metrics.contains_key(&metric), "{:?}", report.metrics);
    }
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let warning = &warnings[0];
    assert!(
        warning.starts_with(&format!("watch/{name} is ")),
        "{warning}"
    );
    assert!(
        warning.contains(&format!(" watch.{name} = ")) && warning.contains(advice),
        "{warning}"
    );
    // It recovers, and warns again at the next fault.
    for _ in 0..WINDOW {
        assert!(
            state
                .see(&seen(&responses, &rewards), &config())
                .warnings
                .is_empty()
        );
    }
    for _ in 0..WINDOW {
        let mut step = seen(&responses, &rewards);
        fault(&mut step);
        state.see(&step, &config());
    }
    assert_eq!(state.warnings, BTreeMap::from([(name.to_string(), 2)]));
}

#[test]
fn each_fault_warns_once() {
    check(
        "length_correlation",
        |s| s.rewards = s.responses.iter().map(|r| r.len() as f64).collect(),
        "longer responses get higher rewards",
    );
    const AGAIN: &[u32] = &[7; 30];
    check(
        "repetition",
        |s| s.responses = vec![AGAIN; 6],
        "raise the KL penalty or lower the learning rate",
    );
    check("entropy", |s| s.entropy = Some(0.01), "collapsed");
    check("eos_rate", |s| s.eos_rate = 0.0, "hardly ever end");
    check(
        "kl",
        |s| (s.kl, s.kl_exact) = (Some(200.0), Some(190.0)),
        "diverges from the reference",
    );
    check("negative_kl", |s| s.kl = Some(-2.0), "rollout.top_p = 1.0");
    check(
        "idle_steps",
        |s| s.rewards.fill(0.25),
        "steps teach nothing",
    );
    check(
        "idle_steps",
        |s| s.grad_norm = Some(0.0),
        "every gradient is 0",
    );
}

#[test]
fn a_reward_for_shortness_warns_like_one_for_length() {
    let (responses, _) = healthy();
    let rewards: Vec<f64> = responses.iter().map(|r| -(r.len() as f64)).collect();
    let mut state = WatchState::default();
    let mut warnings = Vec::new();
    for _ in 0..2 * WINDOW {
        warnings.extend(state.see(&seen(&responses, &rewards), &config()).warnings);
    }
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let begin = "watch/length_correlation is -1.000, below -watch.length_correlation = -0.7: \
                 shorter responses get higher rewards";
    assert!(warnings[0].starts_with(begin), "{warnings:?}");
    assert!(warnings[0].contains("with a min"), "{warnings:?}");
}

#[test]
fn a_policy_that_does_not_move_warns_once() {
    let (responses, rewards) = healthy();
    let mut state = WatchState::default();
    let mut see = |past_start: bool, kl: f64| {
        let mut step = seen(&responses, &rewards);
        (step.past_start, step.kl, step.kl_exact) = (past_start, Some(kl), Some(kl));
        state.see(&step, &config()).warnings
    };
    // at the start of a run every policy is near its reference
    for _ in 0..2 * WINDOW {
        assert_eq!(see(false, 1e-5), Vec::<String>::new());
    }
    let warnings: Vec<String> = (0..2 * WINDOW).flat_map(|_| see(true, 1e-5)).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let begin = "watch/kl is 0.000, below watch.min_kl = 0.001: a quarter of the run is over";
    assert!(warnings[0].starts_with(begin), "{warnings:?}");
    assert!(
        warnings[0].contains("raise train.policy.lr"),
        "{warnings:?}"
    );
}

#[test]
fn watch_metrics_equal_their_definitions() {
    let read = |responses: &[Vec<u32>], rewards: &[f64]| {
        let mut state = WatchState::default();
        state.see(&seen(responses, rewards), &config()).metrics
    };
    // of 1234 2341 3412 4123 1234, one came before; the other response has one gram
    let responses = [vec![1, 2, 3, 4, 1, 2, 3, 4], vec![5, 5, 5, 5], vec![1, 2]];
    let metrics = read(&responses, &[1.0, 2.0, 6.0]);
    assert_close_slices(
        "repetition",
        &[metrics["watch/repetition"]],
        &[1.0 / 6.0],
        1e-12,
    );
    // lengths 8 4 2, rewards 1 2 6: Σxy − n x̄ȳ over the root of both spreads
    let spread = ((8.0f64 * 8.0 + 16.0 + 4.0) - 196.0 / 3.0) * 14.0;
    assert_close_slices(
        "correlation",
        &[metrics["watch/length_correlation"]],
        &[(8.0 + 8.0 + 12.0 - 3.0 * 14.0) / spread.sqrt()],
        1e-12,
    );
    assert_eq!(metrics["watch/kl"], 3.1);
    assert_eq!(metrics["watch/negative_kl"], -3.0);
    assert_eq!(metrics.get("watch/entropy"), None, "no full window yet");
}

/// Longer and better from step to step is progress, not a reward that follows the length.
#[test]
fn drift_between_steps_is_not_a_length_correlation() {
    let mut state = WatchState::default();
    for step in 1..8u32 {
        let n = 4 * step;
        let responses = [(0..n).collect(), (0..n + 2).collect::<Vec<u32>>()];
        let rewards = [f64::from(step) + 0.1, f64::from(step)];
        let report = state.see(&seen(&responses, &rewards), &config());
        assert_close_slices(
            "within steps",
            &[report.metrics["watch/length_correlation"]],
            &[-1.0],
            1e-9,
        );
    }
}

#[test]
fn a_threshold_of_0_is_off_and_the_state_resumes() {
    let (responses, _) = healthy();
    let rewards: Vec<f64> = responses.iter().map(|r| r.len() as f64).collect();
    let off = WatchConfig {
        length_correlation: 0.0,
        ..config()
    };
    let (mut state, mut silent) = (WatchState::default(), WatchState::default());
    for _ in 0..5 {
        state.see(&seen(&responses, &rewards), &config());
        silent.see(&seen(&responses, &rewards), &off);
    }
    assert_eq!(state.warnings.len(), 1);
    assert!(silent.warnings.is_empty());
    let text = serde_json::to_string(&state).unwrap();
    let mut back: WatchState = serde_json::from_str(&text).unwrap();
    assert_eq!(back, state);
    let step = seen(&responses, &rewards);
    assert_eq!(back.see(&step, &config()), state.see(&step, &config()));
}

#[test]
fn a_first_update_that_differs_from_what_was_scored_is_refused() {
    let config = WatchConfig::default();
    let metrics = |kl: f64, gap: f64| {
        BTreeMap::from([
            ("policy/approxkl".to_string(), kl),
            ("policy/sampler_gap".to_string(), gap),
        ])
    };
    config.check_first(&metrics(1e-9, 1e-6), true).unwrap();
    config.check_first(&metrics(0.5, 1e-6), false).unwrap();
    config.check_first(&BTreeMap::new(), true).unwrap();
    // narrower weights while sampling: four times the gap
    let narrow = config.of_sampler(true, false);
    narrow.check_first(&metrics(1e-9, 0.15), true).unwrap();
    assert!(narrow.check_first(&metrics(1e-9, 0.25), true).is_err());
    assert!(
        config
            .of_sampler(false, false)
            .check_first(&metrics(1e-9, 0.15), true)
            .is_err()
    );
    // activations of bf16: as much, and ten times the first KL
    let narrow = config.of_sampler(false, true);
    narrow.check_first(&metrics(9e-3, 0.15), true).unwrap();
    assert!(narrow.check_first(&metrics(2e-2, 1e-6), true).is_err());
    let error_of = |kl, gap| {
        config
            .check_first(&metrics(kl, gap), true)
            .unwrap_err()
            .to_string()
    };
    for kl in [0.02, f64::NAN] {
        let text = error_of(kl, 0.0);
        assert!(
            text.contains("where ratio 1 and KL 0 are expected"),
            "{text}"
        );
        assert!(text.contains("rollout.rescore = true"), "{text}");
    }
    let text = error_of(0.0, 0.3);
    assert!(text.contains("differ by 3.00e-1 nats per token"), "{text}");
    assert!(text.contains("a temperature that is not scored"), "{text}");
}
