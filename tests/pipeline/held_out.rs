//! What sft and reward-model say of few held-out rows, and when the samples are drawn that
//! normalise the reward.

use super::world::World;
use crate::common::again_in_a_child;

const CHILD: &str = "HELD_OUT_TEST_CHILD";

fn stages() {
    let world = World::new();
    world.sft("sft", "data.max_eval_rows=3").unwrap();
    world
        .sft("enough", "data.max_rows=60 data.held_out=0.5")
        .unwrap();
    world.reward("rm", "data.max_eval_rows=4").unwrap();
    let resume = "resume data.max_eval_rows=4";
    let short = world
        .reward("rm", &format!("{resume} train.max_steps=2"))
        .unwrap_err();
    assert!(
        short.to_string().contains("the run has 4 steps already"),
        "{short}"
    );
    // as many steps as it has: nothing is left to do, and nothing is drawn
    world.reward("rm", resume).unwrap();
    eprintln!("THE LAST RESUME");
    world
        .reward("rm", &format!("{resume} train.max_steps=6"))
        .unwrap();
}

#[test]
fn few_held_out_rows_are_named_and_samples_are_drawn_once_nothing_can_refuse() {
    if std::env::var_os(CHILD).is_some() {
        return stages();
    }
    let output = again_in_a_child([(CHILD, "1")]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}");
    let n = |line: &str| text.lines().filter(|found| found.starts_with(line)).count();
    let few = |n: usize| {
        format!(
            "held-out rows: only {n}, and a difference between two means over so few is mostly noise; \
             hold out 20 or more (data.held_out, data.eval_path)"
        )
    };
    assert_eq!(n(&few(3)), 1, "{text}");
    assert_eq!(n(&few(4)), 3, "{text}"); // the refused resume reads no row
    assert_eq!(n("held-out rows: only"), 4, "{text}");
    let samples = "samples for normalisation 4/4";
    assert_eq!(n(samples), 2, "{text}");
    let (before, _) = text.split_once("THE LAST RESUME").unwrap();
    assert_eq!(before.matches(samples).count(), 1, "{text}");
}
