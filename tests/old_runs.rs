//! Runs made by commit 0c171de open, replay and resume (tests/fixtures/runs-0c171de, made by
//! scripts/golden/old_runs.sh). What the later version computes equals what that commit recorded.

use crate::common::again_in_a_child_at;
use run::{MetricsRow, RunArgs};
use std::fs;
use std::path::{Path, PathBuf};

/// The tests repeat the recorded runs, which one thread made. Their paths are relative, so each
/// test runs in a process of its own in a directory that looks like a clone.
const CHILD: &str = "OLD_RUNS_TEST_CHILD";

/// Another processor may round libm's results otherwise; on the same one the numbers are equal.
const TOLERANCE: f64 = 1e-5;

/// In the child process: runs `test`. Otherwise: starts the child and checks that it passes.
#[track_caller]
fn in_a_clone(test: impl FnOnce()) {
    if std::env::var(CHILD).is_ok() {
        test();
        return println!("\nthe child ran");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = tempfile::tempdir().unwrap();
    let data = fs::canonicalize(root.join("../data")).unwrap();
    std::os::unix::fs::symlink(data, dir.path().join("data")).unwrap();
    copy(
        &root.join("fixtures/runs-0c171de"),
        &dir.path().join("runs"),
    );
    let simd = if cfg!(target_arch = "x86_64") {
        "avx2"
    } else {
        "portable"
    };
    let variables = [
        (CHILD, "1"),
        ("RAYON_NUM_THREADS", "1"),
        (ops::Level::VARIABLE, simd),
    ];
    let output = again_in_a_child_at(dir.path(), variables);
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    assert!(text.lines().any(|line| line == "the child ran"), "{text}");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// The rows of metrics.jsonl, without timings.
fn metrics(run: &str) -> Vec<MetricsRow> {
    let mut rows = run::read_metrics(Path::new(run)).unwrap();
    let is_timing = |name: &str| name.starts_with("time/") || name.ends_with("tokens_per_sec");
    for row in &mut rows {
        row.metrics.retain(|name, _| !is_timing(name));
        assert!(!row.metrics.is_empty());
    }
    rows
}

#[track_caller]
fn assert_same_metrics(found: &str, recorded: &str) {
    let (found, recorded) = (metrics(found), metrics(recorded));
    assert!(recorded.iter().any(|row| row.step == 4));
    assert_eq!(found.len(), recorded.len());
    for (found, recorded) in found.iter().zip(&recorded) {
        assert_eq!(found.step, recorded.step);
        // a later version may log more
        for (name, value) in &recorded.metrics {
            assert!(
                found.metrics.contains_key(name),
                "step {}: no {name}",
                found.step
            );
            let off = (found.metrics[name] - value).abs();
            assert!(
                off <= TOLERANCE * value.abs().max(0.1),
                "step {}, {name}: {} instead of {value}",
                found.step,
                found.metrics[name]
            );
        }
    }
}

/// Largest difference between the tensors of two safetensors files, which have the same names.
#[track_caller]
fn assert_same_tensors(found: &str, recorded: &str) {
    let load = |path| candle_core::safetensors::load(path, &candle_core::Device::Cpu).unwrap();
    let (found, recorded) = (load(found), load(recorded));
    assert!(!recorded.is_empty());
    assert_eq!(found.len(), recorded.len());
    for (name, recorded) in &recorded {
        let (found, recorded) = (testkit::values(&found[name]), testkit::values(recorded));
        testkit::assert_close_slices(name, &found, &recorded, TOLERANCE);
    }
}

/// The killed run of a stage, resumed with the settings it recorded.
fn resume_args(run: &str) -> RunArgs {
    RunArgs {
        config: Some(Path::new(run).join("config.toml")),
        sets: Vec::new(),
        run: Some(PathBuf::from(run)),
        resume: true,
        verify_resume: None,
    }
}

#[test]
fn an_old_sft_run_resumes_with_the_recorded_numbers() {
    in_a_clone(|| {
        let args = resume_args("runs/sft-killed");
        let config: sft::Config = run::load_config(args.config.as_deref(), &[]).unwrap();
        sft::run(&args, &config).unwrap();
        assert_same_metrics("runs/sft-killed", "runs/sft");
        let adapter = "adapter/adapter_model.safetensors";
        assert_same_tensors(
            &format!("runs/sft-killed/{adapter}"),
            &format!("runs/sft/{adapter}"),
        );
    });
}

#[test]
fn an_old_reward_model_run_resumes_with_the_recorded_numbers() {
    in_a_clone(|| {
        let args = resume_args("runs/rm-killed");
        let config: reward_model::Config = run::load_config(args.config.as_deref(), &[]).unwrap();
        reward_model::run(&args, &config).unwrap();
        assert_same_metrics("runs/rm-killed", "runs/rm");
        for file in ["adapter_model", "head"] {
            let path = |run| format!("runs/{run}/reward/{file}.safetensors");
            assert_same_tensors(&path("rm-killed"), &path("rm"));
        }
    });
}

#[test]
fn an_old_ppo_run_resumes_with_the_recorded_numbers() {
    in_a_clone(|| {
        let args = resume_args("runs/ppo-killed");
        let config: esrl_rlhf::Config = run::load_config(args.config.as_deref(), &[]).unwrap();
        esrl_rlhf::run(&args, &config).unwrap();
        assert_same_metrics("runs/ppo-killed", "runs/ppo");
        let adapter = "adapter/adapter_model.safetensors";
        assert_same_tensors(
            &format!("runs/ppo-killed/{adapter}"),
            &format!("runs/ppo/{adapter}"),
        );
    });
}

#[test]
fn steps_of_an_old_ppo_run_replay_with_the_recorded_numbers() {
    in_a_clone(|| {
        // from the start, since the run has no checkpoints; from the checkpoint of step 2
        for (run, step) in [("runs/ppo", 4), ("runs/ppo-killed", 2)] {
            let text = esrl_rlhf::replay(&esrl_rlhf::ReplayConfig {
                base: None,
                run: run.into(),
                step,
                rows: vec![0],
                html: None,
                force: false,
            })
            .unwrap();
            let recorded = " metrics equal those that the run recorded";
            assert!(text.contains(recorded), "{run}, step {step}: {text}");
        }
    });
}

#[test]
fn old_runs_are_scored() {
    in_a_clone(|| {
        for (run, data) in [
            ("runs/sft", "data/tiny/demonstrations.json"),
            ("runs/ppo", "data/tiny/demonstrations.json"),
            ("runs/rm", "data/tiny/comparisons-clean.json"),
        ] {
            let config = evaluate::ScoreConfig {
                max_rows: Some(8),
                ..evaluate::ScoreConfig::new(run, Path::new(data))
            };
            evaluate::score(&config).unwrap_or_else(|e| panic!("{run}: {e:#}"));
        }
    });
}
