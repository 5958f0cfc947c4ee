//! Which runs may be resumed, and with which settings.

use super::{json_of, metrics, save, settings};
use crate::common::{again_in_a_child, refused, resume_run};
use run::Run;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use testkit::tensorboard::events;

#[test]
fn a_run_resumes_only_with_its_stage_and_settings() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("r");
    let name = dir.display();
    let mut run = Run::create(&dir, "sft", &settings(0.1, 1)).unwrap();
    drop(
        resume_run(&dir, "sft", &settings(0.3, 1))
            .err()
            .expect("locked"),
    );
    save(&mut run, 1, 1);
    drop(run);
    let help = "leave out --config and --set to use its own, or choose another --run";
    refused(
        resume_run(&dir, "reward-model", &settings(0.1, 1)),
        &format!("{name} is a run of sft, not of reward-model"),
    );
    let mut other = settings(0.2, 1);
    other["extra"] = json!(true);
    refused(
        resume_run(&dir, "sft", &other),
        &format!(
            "{name} cannot be resumed with other settings: extra was unset and is true, train.lr was 0.1 and is 0.2; {help}"
        ),
    );
    // PPO's passes over one batch are not the length of the run.
    let mut inner = settings(0.1, 1);
    inner["algorithm"] = json!({ "epochs": 2 });
    refused(
        resume_run(&dir, "sft", &inner),
        &format!(
            "{name} cannot be resumed with other settings: algorithm.epochs was unset and is 2; {help}"
        ),
    );
    drop(resume_run(&dir, "sft", &settings(0.1, 7)).unwrap());
    let stored = run::open_saved_run(&dir).unwrap().unwrap().config;
    assert_eq!(stored["train"]["save_every"].as_integer(), Some(7));
}

#[test]
fn a_finished_run_stays_finished_until_it_is_written_to() {
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
    // A stage fails after it opened the run, for example because of other data.
    drop(resume_run(&dir, "sft", &settings(0.1, 1)).unwrap());
    assert_eq!(status(), "finished");

    // Somebody deleted the checkpoints to make room.
    fs::rename(dir.join("checkpoints"), root.path().join("elsewhere")).unwrap();
    refused(
        resume_run(&dir, "sft", &settings(0.1, 1)),
        &format!(
            "{} is finished and has no checkpoint to resume from; starting over would overwrite its adapter/: choose another --run",
            dir.display()
        ),
    );
    assert_eq!(status(), "finished");
    assert_eq!(run::read_metrics(&dir).unwrap().len(), 1);

    fs::rename(root.path().join("elsewhere"), dir.join("checkpoints")).unwrap();
    let mut run = resume_run(&dir, "sft", &settings(0.1, 1)).unwrap();
    run.log(2, &metrics(0.5)).unwrap();
    drop(run);
    assert_eq!(status(), "failed");
}

#[test]
fn a_run_without_checkpoints_starts_over() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("r");
    let mut run = Run::create(&dir, "sft", &settings(0.1, 1)).unwrap();
    run.log(0, &metrics(1.0)).unwrap();
    drop(run);
    // Only with its settings: it may have left more than logs, such as a pool scored with them.
    let error = resume_run(&dir, "sft", &settings(0.2, 1)).err().unwrap();
    let error = run::one_line(&error);
    assert!(error.contains("train.lr was 0.1 and is 0.2"), "{error}");
    drop(resume_run(&dir, "sft", &settings(0.1, 3)).unwrap());
    assert!(run::read_metrics(&dir).unwrap().is_empty());
    assert!(events(&dir).is_empty());
    let stored = run::open_saved_run(&dir).unwrap().unwrap().config;
    assert_eq!(stored["train"]["save_every"].as_integer(), Some(3));
}

/// In a process of its own, whose standard error is read.
#[test]
fn a_run_that_goes_on_with_other_threads_says_so() {
    const CHILD: &str = "RESUME_TEST_USED_CHILD";
    let used = |threads: u64| {
        let facts = json!({"threads": threads, "simd": "avx2"});
        facts.as_object().unwrap().clone()
    };
    if let Ok(dir) = std::env::var(CHILD) {
        let dir = Path::new(&dir);
        let resume = || resume_run(dir, "sft", &settings(0.1, 1)).unwrap();
        let mut run = Run::create(dir, "sft", &settings(0.1, 1)).unwrap();
        run.record_used(used(2)).unwrap();
        save(&mut run, 1, 1);
        drop(run);
        resume().record_used(used(2)).unwrap();
        eprintln!("others:");
        resume().record_used(used(3)).unwrap();
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("r");
    let output = again_in_a_child([(CHILD, &dir)]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let (same, others) = stderr.split_once("others:").unwrap();
    assert!(!same.contains("continuing with"), "{same}");
    let expected = "continuing with threads 3 (was 2): the last bits of the results may differ from \
                    those of an uninterrupted run";
    assert!(others.lines().any(|line| line == expected), "{others}");
    assert_eq!(
        json_of(dir.join("run.json"))["resumed"][1]["used"]["threads"],
        3
    );
}
