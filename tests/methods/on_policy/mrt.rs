//! MRT's gradients, and which rows take part.

use super::*;
use crate::algorithms::support::*;
use algorithms::estimators::mean;
use candle_core::Var;
use testkit::assert_close_slices;

fn mrt(alpha: f64, scaled: bool) -> Box<dyn Algorithm> {
    bare("mrt", json!({"alpha": alpha, "scale_by_alpha": scaled}))
}

const ALL: [usize; 5] = [0, 1, 2, 3, 4];

#[test]
fn mrt_has_the_gradients_of_its_paper() {
    let all = step(mrt(1.0, false).as_mut(), &ALL, &REWARDS);
    assert_close_slices("(a) all of Ω, α = 1", &all, &exact(), 1e-6);
    let shifted = step(mrt(0.3, false).as_mut(), &ALL, &REWARDS.map(|r| r + 16.0));
    let plain = step(mrt(0.3, false).as_mut(), &ALL, &REWARDS);
    assert_close_slices("(b) a constant cancels", &shifted, &plain, 1e-7);
    // (c) by token, on responses of any length
    for (alpha, scaled) in [(0.3, false), (0.3, true)] {
        let config = json!({"alpha": alpha, "scale_by_alpha": scaled, "length_normalise": false});
        let mut algorithm = bare("mrt", config);
        let (exp, _) = algorithm.prepare(experience(&[1, 2], &[3, 4], 6)).unwrap();
        let now = Now::near(&exp, 7);
        let mut wanted = Vec::new();
        for rows in [0..3, 3..7] {
            let sum = |row: usize| now.logp[exp.layout().range(row)].iter().sum::<f64>();
            let z: Vec<f64> = rows.clone().map(|row| alpha * sum(row)).collect();
            let (q, r) = (softmax(&z), wide(&exp.score[rows.clone()]));
            let level: f64 = q.iter().zip(&r).map(|(q, r)| q * r).sum();
            let scale = if scaled { 1.0 } else { alpha };
            for (i, row) in rows.enumerate() {
                let slope = -scale * q[i] * (r[i] - level) / 2.0;
                wanted.extend(vec![slope; exp.lens[row]]);
            }
        }
        let found = loss(algorithm.as_ref(), &exp, &now).d_logp;
        assert_close_slices("(c) closed form", &found, &wanted, 1e-7);
    }
    let small = step(mrt(1e-6, true).as_mut(), &ALL, &REWARDS);
    let centred = REWARDS.map(|r| (r - mean(&REWARDS)) / 5.0);
    let wanted = tabular(&LOGITS, |logp| {
        algorithms::reinforce::loss(logp, &constant(&centred)).unwrap()
    });
    assert_close_slices("(d) α → 0", &small, &wanted, 1e-5);
    assert_eq!(
        step(mrt(0.3, true).as_mut(), &[2], &REWARDS),
        [0.0; 5],
        "(e) k = 1"
    );
}

/// Zero, not missing: parameters must not look as if no gradient reached them.
#[test]
fn mrt_of_single_responses_gives_a_zero_gradient() {
    let mut algorithm = bare("mrt", json!({"deduplicate": true}));
    let exp = experience(&[1, 2], &[1, 1], 3);
    let (exp, metrics) = algorithm.prepare(exp).unwrap();
    assert_eq!(metrics["mrt/prompts_alone"], 2.0);
    let var = Var::new(wide(&exp.logp_old), &Device::Cpu).unwrap();
    let scores = Scores {
        logp: var.as_tensor().clone(),
        entropy: var.zeros_like().unwrap(),
    };
    let out = algorithm
        .policy_loss(&scores, &exp, Totals::of(&exp))
        .unwrap();
    let grads = out.loss.backward().unwrap();
    let gradient = testkit::values(grads.get(&var).expect("a gradient"));
    assert!(gradient.iter().all(|g| *g == 0.0));
}

#[test]
fn mrt_length_normalisation_changes_q_not_the_slope() {
    let q_max = |normalise: bool, logp: [f32; 8]| {
        let config = json!({"alpha": 0.1, "length_normalise": normalise});
        let mut algorithm = bare("mrt", config);
        let exp = Experience {
            lens: vec![2, 6],
            logp_old: logp.to_vec(),
            logp_ref: Vec::new(),
            entropy: Vec::new(),
            score: vec![1.0, 0.0],
            ..answers(&[0, 1], &REWARDS)
        };
        let (exp, _) = algorithm.prepare(exp).unwrap();
        let now = Now {
            logp: wide(&exp.logp_old),
            entropy: vec![0.0; 8],
            values: Vec::new(),
        };
        let found = loss(algorithm.as_ref(), &exp, &now);
        (found.metrics["mrt/q_max"], found.d_logp)
    };
    // both at −0.5 a token: as likely, per token
    let (q, gradient) = q_max(true, [-0.5; 8]);
    assert_close_slices("Q", &[q], &[0.5], 1e-7);
    assert_close_slices(
        "−Q (r − r̄)",
        &gradient,
        &[[-0.25; 2].to_vec(), [0.25; 6].to_vec()].concat(),
        1e-7,
    );
    let (q, _) = q_max(false, [-0.5; 8]);
    assert_close_slices("by α L", &[q], &softmax(&[-0.1, -0.3])[..1], 1e-7);
}

#[test]
fn mrt_drops_duplicates_and_excludes_the_reference_answer_from_metrics() {
    let config = json!({"samples": 3, "deduplicate": true, "reference_in_samples": true});
    let mut algorithm = method("mrt", config);
    assert!(algorithm.requirements().reference_answer && algorithm.requirements().whole_groups);
    let plan = algorithm.plan(&[1, 2], 0).unwrap();
    assert_eq!(plan.iter().map(|p| p.n).collect::<Vec<_>>(), [3, 3]);
    let mut exp = experience(&[1, 2], &[4, 4], 2);
    exp.sampled = vec![true, true, true, false, true, true, true, false];
    // the second prompt's samples all equal its reference answer; keys of other prompts do not
    // count
    exp.response_key = vec![5, 6, 5, 7, 6, 6, 6, 6];
    let keep = algorithm.keep(&exp);
    assert_eq!(keep, [true, true, false, true, true, false, false, false]);
    let kept: Vec<usize> = (0..8).filter(|row| keep[*row]).collect();
    let exp = exp.select(&kept);
    let drawn_scores = [exp.score[0], exp.score[1], exp.score[3]];
    let (exp, metrics) = algorithm.prepare(exp).unwrap();
    assert_eq!(
        (metrics["mrt/rows_dropped"], metrics["mrt/prompts_alone"]),
        (4.0, 1.0)
    );
    let wanted = [mean(&wide(&drawn_scores))];
    assert_close_slices("scores", &[metrics["objective/scores"]], &wanted, 1e-7);
    // the reference answer has its share of Q and its gradient; the prompt left alone has none
    let found = loss(algorithm.as_ref(), &exp, &Now::near(&exp, 3)).d_logp;
    let layout = exp.layout();
    assert!(found[layout.range(2)].iter().all(|g| *g != 0.0));
    assert!(found[layout.range(3)].iter().all(|g| *g == 0.0));
    let mut all = method("mrt", json!({"samples": 3}));
    all.plan(&[1, 2], 0).unwrap();
    assert_eq!(all.keep(&exp), [true; 4]);
}
