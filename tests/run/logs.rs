//! metrics.jsonl, timings.jsonl and TensorBoard events.

use super::{json_of, metrics, names, save, settings};
use crate::common::{again_in_a_child, resume_run};
use run::Run;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
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

    let mut run = resume_run(&dir, "sft", &settings(0.1, 1)).unwrap();
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
    let mut info: serde_json::Value =
        serde_json::from_str(&info.replace(&format!("\"{year}-"), "\"2999-")).unwrap();
    info.as_object_mut().unwrap().remove("sha256").unwrap();
    fs::write(dir.join("run.json"), info.to_string()).unwrap();
    let events_file = names(&dir)
        .into_iter()
        .find(|n| n.starts_with("events."))
        .unwrap();
    let ahead = dir.join("events.out.tfevents.32472144000.run");
    fs::rename(dir.join(events_file), &ahead).unwrap();

    let mut run = resume_run(&dir, "sft", &settings(0.1, 1)).unwrap();
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

/// A flipped byte, a lost newline, text that is no JSON: the line stays in its file, is not read as
/// if nothing had happened, and hides no other.
#[test]
fn a_damaged_line_hides_no_other_and_is_never_deleted() {
    let root = tempfile::tempdir().unwrap();
    for (name, from, to, lost) in [
        ("metrics.jsonl", "0.375", "0.875", Some(3)),
        ("metrics.jsonl", "{\"step\":3", "(\"step\":3", Some(3)),
        ("metrics.jsonl", "\"step\":3", "\"step\":9", Some(3)),
        ("metrics.jsonl", "\"step\":4", "\"step\":9", Some(4)),
        ("timings.jsonl", "{\"step\":3", "(\"step\":3", None),
        (
            "timings.jsonl",
            "{\"step\":3,\"secs\":",
            "{\"step\":3,\"secs\":7",
            None,
        ),
    ] {
        let dir = root.path().join(format!("{}", names(root.path()).len()));
        let mut run = Run::create(&dir, "sft", &settings(0.1, 1)).unwrap();
        for step in 1..=6 {
            run.log(step, &metrics(f64::from(step as u32) / 8.0))
                .unwrap();
            if step == 4 {
                save(&mut run, step, 1);
            }
        }
        drop(run);
        let file = dir.join(name);
        let text = fs::read_to_string(&file).unwrap();
        let damaged = text.replacen(from, to, 1);
        assert_ne!(damaged, text, "{from}");
        fs::write(&file, &damaged).unwrap();
        let steps = || -> Vec<u64> {
            let rows = run::read_metrics(&dir).unwrap();
            for row in &rows {
                assert_eq!(row.metrics["loss/policy"], row.step as f64 / 8.0, "{from}");
                assert!(row.secs < 60.0, "{from}");
            }
            rows.iter().map(|row| row.step).collect()
        };
        let without = |all: &[u64]| -> Vec<u64> {
            all.iter()
                .copied()
                .filter(|step| Some(*step) != lost)
                .collect()
        };
        assert_eq!(steps(), without(&[1, 2, 3, 4, 5, 6]), "{from}");
        let mut run = resume_run(&dir, "sft", &settings(0.1, 1)).unwrap();
        run.log(5, &metrics(0.625)).unwrap();
        drop(run);
        assert_eq!(steps(), without(&[1, 2, 3, 4, 5]), "{from}");
        let kept = fs::read_to_string(&file).unwrap();
        let first_four: Vec<&str> = damaged.lines().take(4).collect();
        assert_eq!(
            kept.lines().take(4).collect::<Vec<_>>(),
            first_four,
            "{from}"
        );
        assert_eq!(kept.lines().count(), 5, "{from}");
    }
}

/// Half a row, or a whole one whose newline is damaged. Reads the run in a child, whose standard
/// error the test sees.
#[test]
fn an_incomplete_last_line_is_named() {
    const CHILD: &str = "LOGS_TEST_CHILD";
    if let Ok(dir) = std::env::var(CHILD) {
        println!(
            "rows: {}",
            run::read_metrics(Path::new(&dir)).unwrap().len()
        );
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("r");
    let mut run = Run::create(&dir, "sft", &settings(0.1, 1)).unwrap();
    run.log(1, &metrics(0.5)).unwrap();
    run.log(2, &metrics(0.25)).unwrap();
    drop(run);
    let file = dir.join("metrics.jsonl");
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    let output = again_in_a_child([(CHILD, &dir)]);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    assert!(text(&output.stdout).contains("rows: 1"));
    let expected = format!(
        "{}: its last line is incomplete and left out\n",
        file.display()
    );
    assert_eq!(text(&output.stderr), expected);
}

#[test]
fn a_damaged_event_loses_only_itself() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("r");
    let mut run = Run::create(&dir, "sft", &settings(0.1, 1)).unwrap();
    for step in 1..=5 {
        run.log(step, &metrics(0.5)).unwrap();
    }
    save(&mut run, 5, 1);
    drop(run);
    let file = names(&dir)
        .into_iter()
        .find(|n| n.starts_with("events."))
        .unwrap();
    let file = dir.join(file);
    let whole = fs::read(&file).unwrap();
    let record = (whole.len() - run::events_up_to(&whole, Some(4)).len()) as u64;
    // in the length of the second step's record, in its bytes, and in its last checksum
    let second = whole.len() as u64 - 4 * record;
    for at in [second, second + 7, second + 20, second + record - 1] {
        let mut bytes = whole.clone();
        bytes[at as usize] ^= 1;
        fs::write(&file, bytes).unwrap();
        drop(resume_run(&dir, "sft", &settings(0.1, 1)).unwrap());
        let steps: Vec<u64> = events(&dir).iter().map(|event| event.step).collect();
        assert_eq!(steps, [1, 3, 4, 5], "byte {at}");
    }
}
