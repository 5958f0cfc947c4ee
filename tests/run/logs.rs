//! metrics.jsonl, timings.jsonl and TensorBoard events.

use super::{json_of, metrics, names, save, settings};
use run::Run;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use testkit::tensorboard::{events, masked_crc32c};

#[test]
fn resuming_drops_log_rows_after_the_checkpoint() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("r");
    let mut run = Run::create(&dir, "sft", &settings(0.1, 1)).unwrap();
    for step in 1..=6 {
        run.log(step, &metrics(f64::from(step as u32) / 8.0))
            .unwrap();
        if step == 4 {
            save(&mut run, step, 1);
        }
    }
    drop(run);
    assert_eq!(json_of(dir.join("run.json"))["status"], "failed");
    let path = dir.join("metrics.jsonl");
    for path in [&path, &dir.join("timings.jsonl")] {
        let half = fs::read_to_string(path).unwrap() + "{\"step\": 7, \"se";
        fs::write(path, half).unwrap();
    }
    assert_eq!(run::read_metrics(&dir).unwrap().len(), 6);

    let mut run = Run::resume(&dir, "sft", &settings(0.1, 1)).unwrap();
    run.log(5, &metrics(f64::NEG_INFINITY)).unwrap();
    run.stopped(5).unwrap();
    let rows = run::read_metrics(&dir).unwrap();
    let seen: Vec<(u64, f64)> = rows
        .iter()
        .map(|row| (row.step, row.metrics["loss/policy"]))
        .collect();
    assert_eq!(
        seen,
        [
            (1, 0.125),
            (2, 0.25),
            (3, 0.375),
            (4, 0.5),
            (5, f64::NEG_INFINITY)
        ]
    );
    assert!(rows.windows(2).all(|pair| pair[0].secs <= pair[1].secs));
    let text = fs::read_to_string(&path).unwrap();
    assert!(
        text.lines()
            .last()
            .unwrap()
            .ends_with(r#""loss/policy":"-inf","objective/kl":0.25}"#),
        "{text}"
    );
    let events: Vec<u64> = events(&dir).iter().map(|event| event.step).collect();
    assert_eq!(events, [1, 2, 3, 4, 5]);
    let info = json_of(dir.join("run.json"));
    assert_eq!(
        (&info["status"], &info["resumed"][0]["step"]),
        (&json!("stopped"), &json!(4))
    );
}

/// The system clock was ahead when the run began. Seconds of work come from a monotonic clock, and
/// nothing is ordered by date.
#[test]
fn a_clock_set_back_changes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("r");
    let mut run = Run::create(&dir, "sft", &settings(0.1, 1)).unwrap();
    run.log(1, &metrics(0.5)).unwrap();
    save(&mut run, 1, 1);
    drop(run);
    let info = fs::read_to_string(dir.join("run.json")).unwrap();
    let year = info.split("\"started\": \"").nth(1).unwrap()[..4].to_string();
    fs::write(
        dir.join("run.json"),
        info.replace(&format!("\"{year}-"), "\"2999-"),
    )
    .unwrap();
    let events_file = names(&dir)
        .into_iter()
        .find(|n| n.starts_with("events."))
        .unwrap();
    let ahead = dir.join("events.out.tfevents.32472144000.run");
    fs::rename(dir.join(events_file), &ahead).unwrap();

    let mut run = Run::resume(&dir, "sft", &settings(0.1, 1)).unwrap();
    run.log(2, &metrics(0.25)).unwrap();
    run.finish(&BTreeMap::new()).unwrap();
    let rows = run::read_metrics(&dir).unwrap();
    assert!(
        rows[0].secs >= 0.0 && rows[1].secs >= rows[0].secs,
        "{rows:?}"
    );
    let steps: Vec<u64> = events(&dir).iter().map(|event| event.step).collect();
    assert_eq!(steps, [1, 2]);
    assert!(ahead.exists());
    assert!(json_of(dir.join("run.json"))["wall_secs"].as_f64().unwrap() >= 0.0);
}

#[test]
fn tensorboard_events_hold_the_metrics() {
    assert_eq!(
        u32::from_le_bytes(masked_crc32c(b"123456789")),
        0xe306_9283_u32.rotate_right(15).wrapping_add(0xa282_ead8)
    );
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("r");
    let mut run = Run::create(&dir, "sft", &settings(0.1, 1)).unwrap();
    run.log(0, &metrics(1.5)).unwrap();
    run.log(300, &metrics(f64::NAN)).unwrap();
    let events = events(&dir);
    assert_eq!(events.iter().map(|e| e.step).collect::<Vec<_>>(), [0, 300]);
    assert_eq!(
        events[0].scalars,
        [
            ("loss/policy".to_string(), 1.5),
            ("objective/kl".to_string(), 0.25)
        ]
    );
    assert!(events[1].scalars[0].1.is_nan());
    assert_eq!(events[1].scalars[1].1, 0.25);
}
