//! Checkpoints: complete or absent, damaged ones, retention, other versions.

use super::{json_of, names, save, settings, with_two_checkpoints};
use crate::common::{refused, resume_run};
use run::{RetentionPolicy, Run};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

#[test]
fn checkpoints_are_complete_or_absent() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("r");
    let mut run = Run::create(&dir, "sft", &settings(0.1, 1)).unwrap();
    assert_eq!(run.latest_checkpoint().unwrap(), None);
    for step in [5, 10, 15] {
        save(&mut run, step, 2);
    }
    let checkpoints = dir.join("checkpoints");
    assert_eq!(names(&checkpoints), ["step-000010", "step-000015"]);
    assert_eq!(
        names(&checkpoints.join("step-000015")),
        ["SHA256SUMS", "adapter.safetensors", "state.json"]
    );

    // The writer fails half-way, as on a full disk.
    let full = run.checkpoint(20, RetentionPolicy { n: 2, mb: None }, &json!({}), |d| {
        fs::write(d.join("adapter.safetensors"), "half")?;
        Err(std::io::Error::from(std::io::ErrorKind::StorageFull).into())
    });
    let step_20 = checkpoints.join("step-000020");
    refused(
        full,
        &format!(
            "step 20 was not saved; earlier checkpoints are intact, continue from them with --resume: cannot write {}: no storage space",
            step_20.display()
        ),
    );
    assert_eq!(names(&checkpoints), ["step-000010", "step-000015"]);

    // A killed process left a temporary directory, and a directory without state.json.
    fs::create_dir(checkpoints.join(".tmp-dead")).unwrap();
    fs::create_dir(checkpoints.join("step-000099")).unwrap();
    let latest = run.latest_checkpoint().unwrap().unwrap();
    assert_eq!(
        (latest.step, &latest.dir),
        (15, &checkpoints.join("step-000015"))
    );
    assert_eq!(
        run.read_state::<Value>(&latest).unwrap(),
        json!({ "cursor": 30 })
    );
    assert_eq!(json_of(latest.dir.join("state.json"))["step"], 15);

    // The same step again replaces it.
    let again = |d: &Path| Ok(fs::write(d.join("other.safetensors"), "x")?);
    run.checkpoint(
        15,
        RetentionPolicy { n: 2, mb: None },
        &json!({ "cursor": 31 }),
        again,
    )
    .unwrap();
    let of_15 = ["SHA256SUMS", "other.safetensors", "state.json"];
    assert_eq!(names(&latest.dir), of_15);
    assert_eq!(
        run.read_state::<Value>(&latest).unwrap(),
        json!({ "cursor": 31 })
    );

    drop(run);
    let run = resume_run(&dir, "sft", &settings(0.1, 1)).unwrap();
    assert_eq!(
        names(&checkpoints),
        ["damaged-step-000099", "step-000010", "step-000015"]
    );
    fs::write(latest.dir.join("state.json"), "{").unwrap();
    let error = run::one_line(&run.read_state::<Value>(&latest).unwrap_err());
    assert!(
        error.contains("step-000015/state.json is damaged or from another version (delete "),
        "{error}"
    );
}

#[test]
fn a_damaged_checkpoint_is_quarantined_and_the_previous_one_used() {
    let flip = |bytes: &mut Vec<u8>| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    };
    let cut = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - 1);
    let empty = |bytes: &mut Vec<u8>| bytes.clear();
    let faults: [fn(&mut Vec<u8>); 3] = [flip, cut, empty];
    for name in ["adapter.safetensors", "state.json", "SHA256SUMS"] {
        for fault in faults {
            let (_root, dir) = with_two_checkpoints();
            let file = dir.join("checkpoints/step-000020").join(name);
            let mut bytes = fs::read(&file).unwrap();
            fault(&mut bytes);
            fs::write(&file, bytes).unwrap();
            let run = resume_run(&dir, "sft", &settings(0.1, 1)).unwrap();
            let latest = run.latest_checkpoint().unwrap().unwrap();
            assert_eq!(latest.step, 10, "{name}");
            let state: Value = run.read_state(&latest).unwrap();
            assert_eq!(state, json!({ "cursor": 20 }));
            let left = ["damaged-step-000020", "step-000010"];
            assert_eq!(names(&dir.join("checkpoints")), left, "{name}");
        }
    }
    for name in ["adapter.safetensors", "state.json", "SHA256SUMS"] {
        let (_root, dir) = with_two_checkpoints();
        fs::remove_file(dir.join("checkpoints/step-000020").join(name)).unwrap();
        let run = resume_run(&dir, "sft", &settings(0.1, 1)).unwrap();
        assert_eq!(run.latest_checkpoint().unwrap().unwrap().step, 10, "{name}");
    }
    // One flipped bit gives a format without checksums; then a tensor is damaged.
    let (_root, dir) = with_two_checkpoints();
    let step_20 = dir.join("checkpoints/step-000020");
    let state = fs::read_to_string(step_20.join("state.json")).unwrap();
    let flipped = state.replace(r#""format": 1"#, r#""format": 0"#);
    assert_ne!(flipped, state);
    fs::write(step_20.join("state.json"), flipped).unwrap();
    fs::write(step_20.join("adapter.safetensors"), "x").unwrap();
    let run = resume_run(&dir, "sft", &settings(0.1, 1)).unwrap();
    assert_eq!(run.latest_checkpoint().unwrap().unwrap().step, 10);
    // A file that the checksums do not list.
    let (_root, dir) = with_two_checkpoints();
    fs::write(dir.join("checkpoints/step-000020/more"), "x").unwrap();
    let run = resume_run(&dir, "sft", &settings(0.1, 1)).unwrap();
    assert_eq!(run.latest_checkpoint().unwrap().unwrap().step, 10);
}

#[test]
fn a_run_with_only_damaged_checkpoints_is_left_unchanged() {
    let (_root, dir) = with_two_checkpoints();
    for step in [10, 20] {
        let file = format!("checkpoints/step-0000{step}/adapter.safetensors");
        fs::write(dir.join(file), "x").unwrap();
    }
    let at = dir.join("checkpoints/step-000020");
    refused(
        resume_run(&dir, "sft", &settings(0.1, 1)),
        &format!(
            "{} is damaged (adapter.safetensors does not match SHA256SUMS), and no earlier checkpoint is intact; restore a copy of one, or start a new run",
            at.display()
        ),
    );
    let both = ["step-000010", "step-000020"];
    assert_eq!(names(&dir.join("checkpoints")), both);
    // It does not start over either when its checkpoints have lost their state.
    for step in both {
        fs::remove_file(dir.join("checkpoints").join(step).join("state.json")).unwrap();
    }
    refused(
        resume_run(&dir, "sft", &settings(0.1, 1)),
        &format!(
            "{} is damaged (state.json is missing), and no earlier checkpoint is intact; restore a copy of one, or start a new run",
            at.display()
        ),
    );
    assert_eq!(names(&dir.join("checkpoints")), both);
}

/// Killed while deleting an old checkpoint, writing a sample and writing a batch.
#[test]
fn temporary_files_of_a_killed_run_are_deleted() {
    let (_root, dir) = with_two_checkpoints();
    for folder in [".", "checkpoints", "samples", "failed"] {
        let half = dir.join(folder).join(".tmp-step-000005");
        fs::create_dir_all(&half).unwrap();
        fs::write(half.join("adapter.safetensors"), "half").unwrap();
        fs::write(dir.join(folder).join(".tmp-x"), "half").unwrap();
    }
    // An older version removed the state of a checkpoint before deleting it.
    fs::create_dir(dir.join("checkpoints/step-000005")).unwrap();
    let mut run = resume_run(&dir, "sft", &settings(0.1, 1)).unwrap();
    save(&mut run, 30, 2);
    let left = ["step-000020", "step-000030"];
    assert_eq!(names(&dir.join("checkpoints")), left);
    assert!(names(&dir.join("samples")).is_empty());
    assert!(names(&dir.join("failed")).is_empty());
    assert!(!names(&dir).iter().any(|name| name.starts_with(".tmp-")));
}

#[test]
fn older_checkpoints_are_read_and_newer_ones_refused() {
    let (_root, dir) = with_two_checkpoints();
    let state = dir.join("checkpoints/step-000020/state.json");
    let text = fs::read_to_string(&state).unwrap();
    assert!(text.contains(r#""format": 1"#), "{text}");
    // A newer one is not damaged, so the previous one is no substitute.
    let later = r#"{"format": 2, "seconds": 1}"#;
    fs::write(&state, later).unwrap();
    let sums = dir.join("checkpoints/step-000020/SHA256SUMS");
    let of_state = run::file_hash(&state).unwrap();
    let of_tensors = run::file_hash(&state.with_file_name("adapter.safetensors")).unwrap();
    let text_of_sums = format!("{of_tensors}  adapter.safetensors\n{of_state}  state.json\n");
    fs::write(&sums, text_of_sums).unwrap();
    refused(
        resume_run(&dir, "sft", &settings(0.1, 1)),
        &format!(
            "{} has format 2, and this version reads formats up to 1; use the version that wrote it",
            dir.join("checkpoints/step-000020").display()
        ),
    );
    // An older one has neither format nor checksums.
    fs::write(&state, text.replace(r#""format": 1,"#, "")).unwrap();
    fs::remove_file(sums).unwrap();
    let run = resume_run(&dir, "sft", &settings(0.1, 1)).unwrap();
    let latest = run.latest_checkpoint().unwrap().unwrap();
    let state: Value = run.read_state(&latest).unwrap();
    assert_eq!((latest.step, state), (20, json!({ "cursor": 40 })));
}

#[test]
fn checkpoints_are_kept_by_number_and_by_size() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("r");
    let mut run = Run::create(&dir, "sft", &settings(0.1, 1)).unwrap();
    for (step, kb) in [(1, 400), (2, 300), (3, 300), (4, 2000), (5, 300)] {
        let write = |d: &Path| Ok(fs::write(d.join("x.safetensors"), vec![0; kb * 1000])?);
        let keep = RetentionPolicy { n: 3, mb: Some(1) };
        run.checkpoint(step, keep, &json!({}), write).unwrap();
        let left: &[&str] = match step {
            1 => &["step-000001"],
            2 => &["step-000001", "step-000002"],
            // together they are more than 1 MB
            3 => &["step-000002", "step-000003"],
            // the newest is kept, whatever its size
            4 => &["step-000004"],
            _ => &["step-000005"],
        };
        assert_eq!(names(&dir.join("checkpoints")), left, "step {step}");
    }
}
