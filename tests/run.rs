//! Run directories: creation, checkpoints, resuming, logs, the lock.

use crate::common::refused;
use run::{RetentionPolicy, Run};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use testkit::tensorboard::{events, masked_crc32c};

fn settings(lr: f64, save_every: u64) -> Value {
    json!({ "train": { "lr": lr, "save_every": save_every, "seed": 11 }, "targets": ["q", "v"] })
}

fn metrics(loss: f64) -> BTreeMap<String, f64> {
    BTreeMap::from([
        ("loss/policy".to_string(), loss),
        ("objective/kl".to_string(), 0.25),
    ])
}

fn json_of(path: PathBuf) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Names in a directory, sorted, the lock left out.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.retain(|name| name != ".lock");
    names.sort();
    names
}

fn save(run: &mut Run, step: u64, keep: usize) {
    let tensors = |dir: &Path| {
        Ok(fs::write(
            dir.join("adapter.safetensors"),
            step.to_string(),
        )?)
    };
    run.checkpoint(
        step,
        RetentionPolicy { n: keep, mb: None },
        &json!({ "cursor": step * 2 }),
        tensors,
    )
    .unwrap();
}

#[test]
fn a_run_holds_what_a_later_stage_needs() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("new/parents/mine");
    let mut run = Run::create(&dir, "sft", &settings(1e-4, 10)).unwrap();
    run.record("base", json!("models/base")).unwrap();
    run.write_file("template.json", b"{}").unwrap();
    run.sample(100, "# Step 100\n").unwrap();
    run.replace_dir("adapter", |d| Ok(fs::write(d.join("a"), "first")?))
        .unwrap();
    run.replace_dir("adapter", |d| Ok(fs::write(d.join("b"), "second")?))
        .unwrap();
    run.log(1, &metrics(0.5)).unwrap();
    run.finish(&BTreeMap::from([("eval/loss".to_string(), f64::NAN)]))
        .unwrap();
    drop(run);

    let found = run::open_finished(&dir).unwrap().expect("a run");
    assert_eq!((found.stage.as_str(), found.status()), ("sft", "finished"));
    assert_eq!(found.config["train"]["lr"].as_float(), Some(1e-4));
    assert_eq!(found.config["targets"].as_array().unwrap().len(), 2);
    assert_eq!(found.info["base"], "models/base");
    assert_eq!(found.info["seed"], 11);
    assert_eq!(found.info["summary"]["eval/loss"], "NaN");
    assert!(found.info["wall_secs"].as_f64().unwrap() >= 0.0);
    assert!(found.info["peak_memory_bytes"].as_u64().unwrap() > 1 << 20);
    assert!(found.info["machine"]["threads"].as_u64().unwrap() >= 1);
    assert!(
        found.info["argv"].is_array() && found.info["started"].as_str().unwrap().ends_with('Z')
    );
    assert_eq!(
        fs::read_to_string(dir.join("samples/step-000100.md")).unwrap(),
        "# Step 100\n"
    );
    assert_eq!(names(&dir.join("adapter")), ["b"]);
    let mut files = names(&dir);
    let events = files.remove(2);
    assert!(events.starts_with("events.out.tfevents."), "{events}");
    assert_eq!(
        files,
        [
            "adapter",
            "config.toml",
            "metrics.jsonl",
            "run.json",
            "samples",
            "template.json",
            "timings.jsonl"
        ]
    );
}

#[test]
fn what_is_not_a_run_is_none_and_what_is_damaged_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    assert!(run::open_finished(root.path()).unwrap().is_none());
    assert!(
        run::open_finished(&root.path().join("nowhere"))
            .unwrap()
            .is_none()
    );
    fs::write(root.path().join("run.json"), "{").unwrap();
    let error = run::open_finished(root.path()).err().unwrap();
    assert!(
        run::one_line(&error).contains("run.json is damaged"),
        "{error:#}"
    );
}

#[test]
fn an_existing_directory_is_refused_and_untouched() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("r");
    fs::create_dir(&dir).unwrap();
    let name = dir.display();
    let help = "continue a run with --resume, or choose another --run";
    refused(
        Run::create(&dir, "sft", &settings(0.1, 1)),
        &format!("{name} exists and is not a run; {help}"),
    );
    refused(
        Run::resume(&dir, "sft", &settings(0.1, 1)),
        &format!("{name} is not a run directory (it has no run.json)"),
    );
    assert_eq!(names(root.path()), ["r"]);
    assert!(names(&dir).is_empty());
    fs::remove_dir(&dir).unwrap();
    refused(
        Run::resume(&dir, "sft", &settings(0.1, 1)),
        &format!("{name}: no such run; leave out --resume to begin it"),
    );
    drop(Run::create(&dir, "sft", &settings(0.1, 1)).unwrap());
    refused(
        Run::create(&dir, "sft", &settings(0.1, 1)),
        &format!("{name} is a run already; {help}"),
    );
}

#[test]
fn an_unwritable_place_is_one_line_and_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    fs::write(&file, "x").unwrap();
    let shown = file.display();
    refused(
        Run::create(&file.join("runs/r"), "sft", &settings(0.1, 1)),
        &format!("cannot create {shown}/runs: Not a directory (os error 20)"),
    );
    refused(
        run::atomic_write(&file.join("a"), b""),
        &format!("cannot write {shown}/a: no directory {shown}"),
    );
    assert_eq!(names(root.path()), ["file"]);
    if Path::new("/proc/self").exists() {
        let error = run::one_line(
            &Run::create(Path::new("/proc/r"), "sft", &settings(0.1, 1))
                .err()
                .unwrap(),
        );
        assert!(
            error.starts_with("cannot create /proc/r: cannot write into /proc: "),
            "{error}"
        );
    }
    // Settings that TOML cannot hold: nothing is made either, parents included.
    assert!(Run::create(&root.path().join("a/b/c"), "sft", &[1, 2]).is_err());
    assert_eq!(names(root.path()), ["file"]);
}

#[test]
fn checkpoints_are_whole_or_absent() {
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
            "step 20 is not saved; what was saved before is whole, go on from it with --resume: cannot write {}: no storage space",
            step_20.display()
        ),
    );
    assert_eq!(names(&checkpoints), ["step-000010", "step-000015"]);

    // A process that died left a temporary directory, and a directory without state.json.
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
    let run = Run::resume(&dir, "sft", &settings(0.1, 1)).unwrap();
    assert_eq!(
        names(&checkpoints),
        ["damaged-step-000099", "step-000010", "step-000015"]
    );
    fs::write(latest.dir.join("state.json"), "{").unwrap();
    let error = run::one_line(&run.read_state::<Value>(&latest).unwrap_err());
    assert!(
        error.contains("step-000015/state.json is not of this version or is damaged (delete "),
        "{error}"
    );
}

/// A run with checkpoints 10 and 20, closed.
fn with_two_checkpoints() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("r");
    let mut run = Run::create(&dir, "sft", &settings(0.1, 1)).unwrap();
    save(&mut run, 10, 2);
    save(&mut run, 20, 2);
    (root, dir)
}

#[test]
fn a_damaged_checkpoint_is_set_aside_and_the_one_before_it_used() {
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
            let run = Run::resume(&dir, "sft", &settings(0.1, 1)).unwrap();
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
        let run = Run::resume(&dir, "sft", &settings(0.1, 1)).unwrap();
        assert_eq!(run.latest_checkpoint().unwrap().unwrap().step, 10, "{name}");
    }
    // One bit makes the format one that had no sums; then a tensor of it is broken.
    let (_root, dir) = with_two_checkpoints();
    let step_20 = dir.join("checkpoints/step-000020");
    let state = fs::read_to_string(step_20.join("state.json")).unwrap();
    let flipped = state.replace(r#""format": 1"#, r#""format": 0"#);
    assert_ne!(flipped, state);
    fs::write(step_20.join("state.json"), flipped).unwrap();
    fs::write(step_20.join("adapter.safetensors"), "x").unwrap();
    let run = Run::resume(&dir, "sft", &settings(0.1, 1)).unwrap();
    assert_eq!(run.latest_checkpoint().unwrap().unwrap().step, 10);
    // A file more than the sums know.
    let (_root, dir) = with_two_checkpoints();
    fs::write(dir.join("checkpoints/step-000020/more"), "x").unwrap();
    let run = Run::resume(&dir, "sft", &settings(0.1, 1)).unwrap();
    assert_eq!(run.latest_checkpoint().unwrap().unwrap().step, 10);
}

#[test]
fn a_run_without_a_whole_checkpoint_is_left_as_it_is() {
    let (_root, dir) = with_two_checkpoints();
    for step in [10, 20] {
        let file = format!("checkpoints/step-0000{step}/adapter.safetensors");
        fs::write(dir.join(file), "x").unwrap();
    }
    let at = dir.join("checkpoints/step-000020");
    refused(
        Run::resume(&dir, "sft", &settings(0.1, 1)),
        &format!(
            "{} is damaged (adapter.safetensors is not what SHA256SUMS says), and no checkpoint before it is whole; put a copy of one there, or begin a new run",
            at.display()
        ),
    );
    let both = ["step-000010", "step-000020"];
    assert_eq!(names(&dir.join("checkpoints")), both);
    // Nor does it begin anew when its checkpoints lost their state.
    for step in both {
        fs::remove_file(dir.join("checkpoints").join(step).join("state.json")).unwrap();
    }
    refused(
        Run::resume(&dir, "sft", &settings(0.1, 1)),
        &format!(
            "{} is damaged (state.json is missing), and no checkpoint before it is whole; put a copy of one there, or begin a new run",
            at.display()
        ),
    );
    assert_eq!(names(&dir.join("checkpoints")), both);
}

/// Killed while it deleted an old checkpoint, wrote a sample and kept a batch.
#[test]
fn what_a_kill_leaves_is_swept() {
    let (_root, dir) = with_two_checkpoints();
    for folder in [".", "checkpoints", "samples", "failed"] {
        let half = dir.join(folder).join(".tmp-step-000005");
        fs::create_dir_all(&half).unwrap();
        fs::write(half.join("adapter.safetensors"), "half").unwrap();
        fs::write(dir.join(folder).join(".tmp-x"), "half").unwrap();
    }
    // An older version took the state from a checkpoint that it was to delete.
    fs::create_dir(dir.join("checkpoints/step-000005")).unwrap();
    let mut run = Run::resume(&dir, "sft", &settings(0.1, 1)).unwrap();
    save(&mut run, 30, 2);
    let left = ["step-000020", "step-000030"];
    assert_eq!(names(&dir.join("checkpoints")), left);
    assert!(names(&dir.join("samples")).is_empty());
    assert!(names(&dir.join("failed")).is_empty());
    assert!(!names(&dir).iter().any(|name| name.starts_with(".tmp-")));
}

#[test]
fn checkpoints_of_other_versions() {
    let (_root, dir) = with_two_checkpoints();
    let state = dir.join("checkpoints/step-000020/state.json");
    let text = fs::read_to_string(&state).unwrap();
    assert!(text.contains(r#""format": 1"#), "{text}");
    // A later one: not damaged, so the one before it is no substitute.
    let later = r#"{"format": 2, "seconds": 1}"#;
    fs::write(&state, later).unwrap();
    let sums = dir.join("checkpoints/step-000020/SHA256SUMS");
    let of_state = run::file_hash(&state).unwrap();
    let of_tensors = run::file_hash(&state.with_file_name("adapter.safetensors")).unwrap();
    let text_of_sums = format!("{of_tensors}  adapter.safetensors\n{of_state}  state.json\n");
    fs::write(&sums, text_of_sums).unwrap();
    refused(
        Run::resume(&dir, "sft", &settings(0.1, 1)),
        &format!(
            "{} is of format 2, and this version reads up to 1: use the version that wrote it",
            dir.join("checkpoints/step-000020").display()
        ),
    );
    // An earlier one had neither format nor sums.
    fs::write(&state, text.replace(r#""format": 1,"#, "")).unwrap();
    fs::remove_file(sums).unwrap();
    let run = Run::resume(&dir, "sft", &settings(0.1, 1)).unwrap();
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
            // the newest stays, whatever its size
            4 => &["step-000004"],
            _ => &["step-000005"],
        };
        assert_eq!(names(&dir.join("checkpoints")), left, "step {step}");
    }
}

#[test]
fn resuming_cuts_the_logs_back_to_the_checkpoint() {
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

/// The run began by a clock that was ahead: seconds of work come from another one, and order does not come from dates.
#[test]
fn a_clock_that_goes_backwards_changes_nothing() {
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
fn a_run_resumes_only_as_what_it_was() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("r");
    let name = dir.display();
    let mut run = Run::create(&dir, "sft", &settings(0.1, 1)).unwrap();
    drop(
        Run::resume(&dir, "sft", &settings(0.3, 1))
            .err()
            .expect("locked"),
    );
    save(&mut run, 1, 1);
    drop(run);
    let help = "give it those it began with, or choose another --run";
    refused(
        Run::resume(&dir, "reward-model", &settings(0.1, 1)),
        &format!("{name} is a run of sft, not of reward-model"),
    );
    let mut other = settings(0.2, 1);
    other["extra"] = json!(true);
    refused(
        Run::resume(&dir, "sft", &other),
        &format!(
            "{name} cannot be resumed with other settings: extra was unset and is true, train.lr was 0.1 and is 0.2; {help}"
        ),
    );
    // PPO's passes over one batch are no length of the run.
    let mut inner = settings(0.1, 1);
    inner["algorithm"] = json!({ "epochs": 2 });
    refused(
        Run::resume(&dir, "sft", &inner),
        &format!(
            "{name} cannot be resumed with other settings: algorithm.epochs was unset and is 2; {help}"
        ),
    );
    drop(Run::resume(&dir, "sft", &settings(0.1, 7)).unwrap());
    let stored = run::open_finished(&dir).unwrap().unwrap().config;
    assert_eq!(stored["train"]["save_every"].as_integer(), Some(7));
}

#[test]
fn a_finished_run_stays_one_until_something_is_done_in_it() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("r");
    let mut run = Run::create(&dir, "sft", &settings(0.1, 1)).unwrap();
    run.log(1, &metrics(0.5)).unwrap();
    save(&mut run, 1, 1);
    let adapter = |d: &Path| Ok(fs::write(d.join("a"), "weights")?);
    run.replace_dir("adapter", adapter).unwrap();
    run.finish(&BTreeMap::new()).unwrap();
    drop(run);
    let status = || json_of(dir.join("run.json"))["status"].clone();
    // A stage refuses after it has opened the run, as for other data.
    drop(Run::resume(&dir, "sft", &settings(0.1, 1)).unwrap());
    assert_eq!(status(), "finished");

    // Somebody made room.
    fs::rename(dir.join("checkpoints"), root.path().join("elsewhere")).unwrap();
    refused(
        Run::resume(&dir, "sft", &settings(0.1, 1)),
        &format!(
            "{} is finished and has no checkpoint to go on from; beginning it anew would overwrite its adapter/: choose another --run",
            dir.display()
        ),
    );
    assert_eq!(status(), "finished");
    assert_eq!(run::read_metrics(&dir).unwrap().len(), 1);

    fs::rename(root.path().join("elsewhere"), dir.join("checkpoints")).unwrap();
    let mut run = Run::resume(&dir, "sft", &settings(0.1, 1)).unwrap();
    run.log(2, &metrics(0.5)).unwrap();
    drop(run);
    assert_eq!(status(), "failed");
}

#[test]
fn without_a_checkpoint_a_run_begins_anew() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("r");
    let mut run = Run::create(&dir, "sft", &settings(0.1, 1)).unwrap();
    run.log(0, &metrics(1.0)).unwrap();
    drop(run);
    // As what it was: it may have left more than its logs, such as a pool that was scored by its settings.
    let error = Run::resume(&dir, "sft", &settings(0.2, 1)).err().unwrap();
    let error = run::one_line(&error);
    assert!(error.contains("train.lr was 0.1 and is 0.2"), "{error}");
    drop(Run::resume(&dir, "sft", &settings(0.1, 3)).unwrap());
    assert!(run::read_metrics(&dir).unwrap().is_empty());
    assert!(events(&dir).is_empty());
    let stored = run::open_finished(&dir).unwrap().unwrap().config;
    assert_eq!(stored["train"]["save_every"].as_integer(), Some(3));
}

#[test]
fn only_one_process_writes_a_run() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("r");
    let run = Run::create(&dir, "sft", &settings(0.1, 1)).unwrap();
    let busy = format!("{} is being written by another process", dir.display());
    refused(Run::resume(&dir, "sft", &settings(0.1, 1)), &busy);
    drop(run);
    let run = Run::resume(&dir, "sft", &settings(0.1, 1)).unwrap();
    refused(Run::resume(&dir, "sft", &settings(0.1, 1)), &busy);
    drop(run);
}

#[test]
fn names_stay_inside_the_run() {
    let root = tempfile::tempdir().unwrap();
    let run = Run::create(&root.path().join("r"), "sft", &settings(0.1, 1)).unwrap();
    for name in ["", "../x", "a/b", ".lock"] {
        refused(
            run.write_file(name, b""),
            &format!("{name:?} is not a name of a file in a run directory"),
        );
    }
    assert_eq!(names(root.path()), ["r"]);
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
