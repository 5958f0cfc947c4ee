//! A resumed run with another length.

use run::Rules;
use train::{NewLength, OptimizerConfig, Schedule};

const fn length(done: usize, before: usize, now: usize) -> NewLength {
    let key = "train.max_steps";
    NewLength {
        key,
        done,
        before,
        now,
    }
}

#[test]
fn a_length_that_the_run_has_reached_is_refused() {
    for (done, before, now, accepted) in [
        (6, 6, 6, true), // finished, and nothing is changed
        (6, 10, 10, true),
        (6, 10, 7, true),
        (6, 10, 6, false),
        (14, 14, 10, false),
    ] {
        let checked = length(done, before, now).check();
        assert_eq!(checked.is_ok(), accepted, "{done} {before} {now}");
    }
    assert_eq!(
        length(14, 14, 10).check().unwrap_err().to_string(),
        "the run has 14 steps already, and train.max_steps ends it at 10; give more than 14, or \
         leave train.max_steps as it was"
    );
}

#[test]
fn a_jump_of_the_learning_rate_is_said() {
    let jump = |schedule, warmup_ratio, length: NewLength| {
        let config = OptimizerConfig {
            lr: 2e-3,
            schedule,
            warmup_ratio,
            ..OptimizerConfig::default()
        };
        let lr = |total: usize| {
            let config = config.clone();
            move |step: usize| config.lr_at(step, total, Rules::CURRENT)
        };
        length.jump("lr", [&lr(length.before), &lr(length.now)])
    };
    // linear: 2e-3 · (1 - 5/6) at the last step of 6, 2e-3 · (1 - 6/14) at the seventh of 14
    assert_eq!(
        jump(Schedule::Linear, 0.0, length(6, 6, 14)).unwrap(),
        "lr from 3.33e-4 at step 6 to 1.14e-3 at step 7"
    );
    assert_eq!(jump(Schedule::Constant, 0.0, length(6, 6, 14)), None);
    assert_eq!(jump(Schedule::Cosine, 0.0, length(6, 14, 14)), None);
    assert_eq!(jump(Schedule::Cosine, 0.0, length(0, 6, 14)), None);
    // within a warm-up that is now longer
    assert!(jump(Schedule::Constant, 0.5, length(1, 6, 14)).is_some());
}
