//! Results of a killed timeline are not used: a resumed run has those of its checkpoint.

use super::{metrics, names, save, settings};
use crate::common::{refused, resume_run};
use run::{RetentionPolicy, Run};
use std::fs;
use std::io;
use std::path::Path;

fn put(run: &Run, result: &str, text: &str) {
    run.replace_dir(result, |dir| Ok(fs::write(dir.join("weights.bin"), text)?))
        .unwrap();
}

fn text(dir: &Path, result: &str) -> String {
    fs::read_to_string(dir.join(result).join("weights.bin")).unwrap()
}

#[test]
fn a_resumed_run_has_the_results_samples_and_pools_of_its_checkpoint() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("r");
    let mut run = Run::create(&dir, "sft", &settings(0.1, 1)).unwrap();
    put(&run, "best", "of step 2");
    put(&run, "adapter", "of step 2");
    run.log(2, &metrics(0.5)).unwrap();
    run.sample(2, "2").unwrap();
    run.write_with_sum("pool-000002.jsonl", b"2").unwrap();
    save(&mut run, 2, 2);
    // Killed after step 3, whose evaluation was better.
    run.log(3, &metrics(0.25)).unwrap();
    run.sample(3, "3").unwrap();
    run.write_with_sum("pool-000003.jsonl", b"3").unwrap();
    put(&run, "best", "of step 3");
    put(&run, "reward", "of step 3");
    fs::remove_dir_all(dir.join("adapter")).unwrap();
    drop(run);

    let mut run = resume_run(&dir, "sft", &settings(0.1, 1)).unwrap();
    assert_eq!(text(&dir, "best"), "of step 2");
    assert_eq!(text(&dir, "adapter"), "of step 2");
    assert!(run::check_sums(&dir.join("best")).unwrap());
    assert!(!dir.join("reward").exists());
    assert_eq!(names(&dir.join("samples")), ["step-000002.md"]);
    let pools: Vec<String> = names(&dir)
        .into_iter()
        .filter(|n| n.starts_with("pool"))
        .collect();
    assert_eq!(pools, ["pool-000002.jsonl", "pool-000002.sha256"]);

    // A later result changes no checkpoint.
    put(&run, "best", "of step 4");
    run.log(4, &metrics(0.25)).unwrap();
    save(&mut run, 4, 2);
    put(&run, "best", "of step 5");
    drop(run);
    fs::remove_dir_all(dir.join("checkpoints/step-000004")).unwrap();
    drop(resume_run(&dir, "sft", &settings(0.1, 1)).unwrap());
    assert_eq!(text(&dir, "best"), "of step 2");

    // Without a checkpoint the run starts over, with no result.
    fs::remove_dir_all(dir.join("checkpoints")).unwrap();
    drop(resume_run(&dir, "sft", &settings(0.1, 1)).unwrap());
    assert!(!dir.join("best").exists() && !dir.join("adapter").exists());
}

/// A finished run keeps its results, whatever its checkpoint says.
#[test]
fn a_finished_run_keeps_its_results() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("r");
    let mut run = Run::create(&dir, "sft", &settings(0.1, 1)).unwrap();
    run.log(2, &metrics(0.5)).unwrap();
    save(&mut run, 2, 2);
    put(&run, "adapter", "the last");
    run.finish(&Default::default()).unwrap();
    drop(run);
    drop(resume_run(&dir, "sft", &settings(0.1, 1)).unwrap());
    assert_eq!(text(&dir, "adapter"), "the last");
}

/// It is kept, so the next checkpoint would link it and call its bytes intact.
#[test]
fn a_damaged_result_of_a_finished_run_is_named_when_it_resumes() {
    let root = tempfile::tempdir().unwrap();
    for result in ["adapter", "best", "model", "reward"] {
        let dir = root.path().join(result);
        let mut run = Run::create(&dir, "sft", &settings(0.1, 1)).unwrap();
        put(&run, result, "whole");
        run.log(2, &metrics(0.5)).unwrap();
        save(&mut run, 2, 2);
        run.finish(&Default::default()).unwrap();
        drop(run);
        // Another file: that of the checkpoint is a link to it.
        let file = dir.join(result).join("weights.bin");
        fs::remove_file(&file).unwrap();
        fs::write(&file, "whoLe").unwrap();
        let shown = dir.join(result);
        refused(
            resume_run(&dir, "sft", &settings(0.1, 1)),
            &format!(
                "{} is damaged: weights.bin does not match SHA256SUMS; restore it, or make it \
                 again (delete SHA256SUMS if you changed it on purpose)",
                shown.display()
            ),
        );
        fs::write(&file, "whole").unwrap();
        drop(resume_run(&dir, "sft", &settings(0.1, 1)).unwrap());
    }
}

/// Killed between a checkpoint and the deletion of the oldest.
#[test]
fn a_checkpoint_too_many_is_deleted_by_the_resumed_run() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("r");
    let mut run = Run::create(&dir, "sft", &settings(0.1, 1)).unwrap();
    for step in 1..=3 {
        save(&mut run, step, 3);
    }
    drop(run);
    let run = resume_run(&dir, "sft", &settings(0.1, 1)).unwrap();
    run.prune(RetentionPolicy { n: 2, mb: None }).unwrap();
    let kept = ["step-000002", "step-000003"];
    assert_eq!(names(&dir.join("checkpoints")), kept);
}

/// On a file system that cannot exchange two directories in one step.
#[test]
fn a_result_that_cannot_be_replaced_is_kept_or_named() {
    #[track_caller]
    fn check(rename: fn(&Path, &Path) -> io::Result<()>, expected: &str, says: Option<&str>) {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("adapter");
        fs::create_dir(&target).unwrap();
        fs::write(target.join("weights.bin"), "old").unwrap();
        let aside = tempfile::tempdir_in(root.path()).unwrap();
        fs::write(aside.path().join("weights.bin"), "new").unwrap();
        fs::write(aside.path().join("is_new"), "").unwrap();
        let by = run::Renames {
            rename,
            exchange: |_, _| Err(io::ErrorKind::Unsupported.into()),
        };
        let error = run::put_in_place(aside, &target, &by).err();
        let error = error.map(|e| e.to_string());
        let named = error.as_ref().and_then(|e| e.split_once("; it is in "));
        let place = named.map_or(target.clone(), |(_, place)| place.into());
        let found = fs::read_to_string(place.join("weights.bin")).unwrap();
        assert_eq!(found, expected);
        assert_eq!(
            error
                .map(|e| e.split(';').next().unwrap().to_string())
                .as_deref(),
            says
        );
        assert_eq!(
            fs::read_dir(root.path()).unwrap().count(),
            1,
            "nothing else is left"
        );
    }
    check(|from, to| fs::rename(from, to), "new", None);
    let new_fails = |from: &Path, to: &Path| match from.join("is_new").exists() {
        true => Err(io::Error::other("a full disk")),
        false => fs::rename(from, to),
    };
    check(new_fails, "old", Some("a full disk"));
    let into_place_fails = |from: &Path, to: &Path| match to.ends_with("adapter") {
        true => Err(io::Error::other("a full disk")),
        false => fs::rename(from, to),
    };
    check(into_place_fails, "old", Some("a full disk"));
}
