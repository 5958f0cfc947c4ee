//! Baselines, and REINFORCE with each.

use super::*;
use crate::algorithms::support::*;
use algorithms::estimators::baseline::{Baseline, Kind, leave_one_out};
use algorithms::estimators::mean;
use algorithms::groups;
use testkit::assert_close_slices;

#[test]
fn each_baseline_equals_its_definition() {
    let of = |kind: Kind| {
        let mut baseline = Baseline::new(kind, 0.75, 3);
        let first = baseline.of(&[1.0, 2.0, 6.0], &groups(&[1, 1, 2]));
        let second = baseline.of(&[4.0, 7.0], &groups(&[3, 3]));
        (first, second)
    };
    assert_eq!(of(Kind::Cumulative), (vec![3.0; 3], vec![4.0; 2]));
    assert_eq!(
        of(Kind::Ema),
        (vec![3.0; 3], vec![0.75 * 3.0 + 0.25 * 5.5; 2])
    );
    assert_close_slices("the last three", &of(Kind::Fifo).1, &[17.0 / 3.0; 2], 1e-12);
    assert_eq!(of(Kind::Batch), (vec![3.0; 3], vec![5.5; 2]));
    // a prompt's other sample; one alone has no others
    assert_eq!(of(Kind::LeaveOneOut), (vec![2.0, 1.0, 6.0], vec![7.0, 4.0]));
    assert_eq!(of(Kind::None), (vec![0.0; 3], vec![0.0; 2]));
}

#[test]
fn running_baselines_are_restored_exactly() {
    let rewards: Vec<f64> = uniform(420, 3)
        .iter()
        .map(|u| f64::from((5.0 * u) as f32))
        .collect();
    for kind in [Kind::Cumulative, Kind::Ema, Kind::Fifo] {
        let new = || Baseline::new(kind, 0.9, 40);
        let (mut first, mut second) = (new(), new());
        let mut seen = 0;
        for n in (1..=20).chain(1..=20) {
            seen += n;
            let step = &rewards[seen - n..seen];
            let b = first.of(step, &[]);
            if kind == Kind::Cumulative {
                assert_close_slices("b", &b[..1], &[mean(&rewards[..seen])], 1e-6);
            }
            // through text, as a checkpoint
            let text = second.state().to_string();
            second = new();
            second
                .restore(&serde_json::from_str(&text).unwrap())
                .unwrap();
            assert_eq!(second.of(step, &[]), b);
        }
    }
}

#[test]
fn leave_one_out_is_the_deviation_from_the_mean_scaled() {
    let r = [1.0, -2.0, 0.5, 3.0];
    let advantage =
        |r: &[f64]| -> Vec<f64> { r.iter().zip(leave_one_out(r)).map(|(r, b)| r - b).collect() };
    let wanted: Vec<f64> = r.iter().map(|x| 4.0 / 3.0 * (x - mean(&r))).collect();
    assert_close_slices("k/(k−1) (r − mean)", &advantage(&r), &wanted, 1e-12);
    assert_close_slices("sum", &[advantage(&r).iter().sum()], &[0.0], 1e-12);
    assert_eq!(
        (advantage(&[0.7; 5]), advantage(&[9.0])),
        (vec![0.0; 5], vec![0.0])
    );
    assert!(leave_one_out(&[]).is_empty());
}

fn reinforce(baseline: &str) -> Box<dyn Algorithm> {
    let config = json!({"baseline": baseline, "samples": 2, "normalise": "rows"});
    bare("reinforce", config)
}

#[test]
fn a_baseline_that_includes_the_step_shrinks_the_gradient_by_its_share() {
    for (baseline, share) in [
        ("none", 0.0),
        ("leave_one_out", 0.0),
        ("batch", 0.5),
        ("cumulative", 0.5),
        ("fifo", 0.5),
    ] {
        let (found, _) = over_pairs(&|| reinforce(baseline), &REWARDS);
        assert_close_slices(baseline, &found, &times(&exact(), 1.0 - share), 1e-6);
    }
    // after six rewards, its own reward is one of eight
    let later = || {
        let mut algorithm = reinforce("cumulative");
        algorithm
            .prepare(answers(&[0, 1, 2, 3, 4, 3], &REWARDS))
            .unwrap();
        algorithm
    };
    let (found, _) = over_pairs(&later, &REWARDS);
    assert_close_slices("after six", &found, &times(&exact(), 1.0 - 1.0 / 8.0), 1e-6);
    // any constant
    let known = || {
        let mut algorithm = reinforce("cumulative");
        let state = json!({"mean": -3.5, "count": 1u64 << 50, "fifo": []});
        algorithm.restore(&state).unwrap();
        algorithm
    };
    assert_close_slices("constant", &over_pairs(&known, &REWARDS).0, &exact(), 1e-6);
}

#[test]
fn a_baseline_lowers_the_variance() {
    let rewards = REWARDS.map(|r| r + 5.0);
    let p = softmax(&LOGITS);
    let level: f64 = p.iter().zip(rewards).map(|(p, r)| p * r).sum();
    let at_level = || {
        let mut algorithm = reinforce("cumulative");
        let state = json!({"mean": level as f32, "count": 1u64 << 50, "fifo": []});
        algorithm.restore(&state).unwrap();
        algorithm
    };
    let (mean_without, without) = over_pairs(&|| reinforce("none"), &rewards);
    let (mean_with, with) = over_pairs(&at_level, &rewards);
    let (_, others) = over_pairs(&|| reinforce("leave_one_out"), &rewards);
    assert_close_slices("same expectation", &mean_with, &mean_without, 1e-6);
    assert!(
        with < 0.2 * without && others < 0.2 * without,
        "{with} {others} {without}"
    );
}

#[test]
fn a_constant_reward_gives_no_gradient_with_a_baseline() {
    for baseline in [
        "cumulative",
        "ema",
        "fifo",
        "batch",
        "leave_one_out",
        "none",
    ] {
        let mut algorithm = reinforce(baseline);
        for seed in 0..3 {
            let mut exp = experience(&[1, 2, 3], &[2, 2, 2], seed);
            exp.score.fill(0.3);
            let (exp, _) = algorithm.prepare(exp).unwrap();
            let gradient = loss(algorithm.as_ref(), &exp, &Now::near(&exp, seed)).d_logp;
            let nothing = gradient.iter().all(|g| *g == 0.0);
            assert_eq!(nothing, baseline != "none", "{baseline}, step {seed}");
        }
    }
    // a first step of one response, whatever its reward
    for baseline in ["cumulative", "ema", "fifo", "batch"] {
        let gradient = step(reinforce(baseline).as_mut(), &[3], &REWARDS);
        assert_eq!(gradient, [0.0; 5], "{baseline}");
    }
}

#[test]
fn the_reinforce_loss_is_divided_by_tokens_or_rows() {
    let of = |normalise: &str| {
        let mut algorithm = bare(
            "reinforce",
            json!({"normalise": normalise, "baseline": "none"}),
        );
        let (exp, _) = algorithm
            .prepare(experience(&[1, 2, 3], &[1; 3], 4))
            .unwrap();
        let found = loss(algorithm.as_ref(), &exp, &Now::near(&exp, 5));
        let per_token = |(row, len): (usize, &usize)| vec![-f64::from(exp.score[row]); *len];
        let sum: Vec<f64> = exp.lens.iter().enumerate().flat_map(per_token).collect();
        (found.d_logp, sum, exp.n_tokens() as f64)
    };
    let (found, sum, n_tokens) = of("tokens");
    assert_close_slices("tokens", &found, &times(&sum, 1.0 / n_tokens), 1e-9);
    let (found, sum, _) = of("rows");
    assert_close_slices("rows", &found, &times(&sum, 1.0 / 3.0), 1e-9);
}
