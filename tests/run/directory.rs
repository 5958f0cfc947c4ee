//! Creating and opening run directories, the lock.

use super::{metrics, names, settings};
use crate::common::{refused, resume_run};
use run::Run;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

#[test]
fn a_run_stores_what_a_later_stage_needs() {
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

    let found = run::open_saved_run(&dir).unwrap().expect("a run");
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
    assert_eq!(names(&dir.join("adapter")), ["SHA256SUMS", "b"]);
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
fn a_directory_without_a_run_opens_as_none_and_a_damaged_run_fails() {
    let root = tempfile::tempdir().unwrap();
    assert!(run::open_saved_run(root.path()).unwrap().is_none());
    assert!(
        run::open_saved_run(&root.path().join("nowhere"))
            .unwrap()
            .is_none()
    );
    fs::write(root.path().join("run.json"), "{").unwrap();
    let error = run::open_saved_run(root.path()).err().unwrap();
    assert!(
        run::one_line(&error).contains("run.json is damaged"),
        "{error:#}"
    );
}

#[test]
fn an_existing_directory_is_refused_and_unchanged() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("r");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("config.toml"), "").unwrap();
    let name = dir.display();
    let help = "continue a run with --resume, or choose another --run";
    refused(
        Run::create(&dir, "sft", &settings(0.1, 1)),
        &format!("{name} exists and is not a run; {help}"),
    );
    refused(
        resume_run(&dir, "sft", &settings(0.1, 1)),
        &format!("{name} is not a run directory (it has no run.json)"),
    );
    assert_eq!(names(root.path()), ["r"]);
    assert_eq!(names(&dir), ["config.toml"]);
    fs::remove_dir_all(&dir).unwrap();
    refused(
        resume_run(&dir, "sft", &settings(0.1, 1)),
        &format!("{name}: no such run; leave out --resume to begin it"),
    );
    drop(Run::create(&dir, "sft", &settings(0.1, 1)).unwrap());
    refused(
        Run::create(&dir, "sft", &settings(0.1, 1)),
        &format!("{name} is a run already; {help}"),
    );
}

#[test]
fn an_unwritable_path_is_a_one_line_error_and_leaves_nothing() {
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
        &format!("cannot write {shown}/a: {shown} is a file, not a directory"),
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
    // Settings that TOML cannot store: nothing is created either, parents included.
    assert!(Run::create(&root.path().join("a/b/c"), "sft", &[1, 2]).is_err());
    assert_eq!(names(root.path()), ["file"]);
}

#[test]
fn only_one_process_writes_a_run() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("r");
    let run = Run::create(&dir, "sft", &settings(0.1, 1)).unwrap();
    let busy = format!("{} is being written by another process", dir.display());
    refused(resume_run(&dir, "sft", &settings(0.1, 1)), &busy);
    drop(run);
    let run = resume_run(&dir, "sft", &settings(0.1, 1)).unwrap();
    refused(resume_run(&dir, "sft", &settings(0.1, 1)), &busy);
    drop(run);
}

#[test]
fn file_names_cannot_leave_the_run_directory() {
    let root = tempfile::tempdir().unwrap();
    let mut run = Run::create(&root.path().join("r"), "sft", &settings(0.1, 1)).unwrap();
    for name in ["", "../x", "a/b", ".lock"] {
        refused(
            run.write_file(name, b""),
            &format!("{name:?} is not the name of a file in a run directory"),
        );
    }
    assert_eq!(names(root.path()), ["r"]);
}

/// An empty directory, such as a mounted file system, and what a process left that was killed
/// before it had written run.json.
#[test]
fn a_run_is_created_in_an_empty_directory_and_in_what_a_kill_left() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("r");
    fs::create_dir(&dir).unwrap();
    refused(
        resume_run(&dir, "sft", &settings(0.1, 1)),
        &format!(
            "{} is not a run directory (it has no run.json); leave out --resume to begin it",
            dir.display()
        ),
    );
    fs::create_dir(dir.join("lost+found")).unwrap();
    let made = Run::create(&dir, "sft", &settings(0.1, 1)).unwrap();
    drop(made);
    assert!(run::open_saved_run(&dir).unwrap().is_some());

    fs::remove_file(dir.join("run.json")).unwrap();
    fs::write(dir.join(".tmp-abc"), "half").unwrap();
    fs::write(dir.join("metrics.jsonl"), "half").unwrap();
    let args = run::RunArgs {
        run: Some(dir.clone()),
        ..Default::default()
    };
    assert_eq!(args.directory("other").unwrap(), dir);
    drop(Run::create(&dir, "sft", &settings(0.2, 1)).unwrap());
    assert!(!dir.join(".tmp-abc").exists());
    assert!(run::read_metrics(&dir).unwrap().is_empty());
    let stored = run::open_saved_run(&dir).unwrap().unwrap().config;
    assert_eq!(stored["train"]["lr"].as_float(), Some(0.2));
    // Files of somebody else are none of ours.
    fs::remove_file(dir.join("run.json")).unwrap();
    fs::write(dir.join("notes.txt"), "mine").unwrap();
    assert!(Run::create(&dir, "sft", &settings(0.1, 1)).is_err());
}
