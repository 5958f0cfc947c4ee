//! A flipped byte in any file of a run is named by whoever reads the file, or changes nothing.

use crate::pipeline::world::World;
use candle_core::Device;
use models::Fetch;
use policy::{PolicyMeta, TemplateChoice};
use rewards::RewardModel;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// The files below `dir`, relative to it.
fn files(dir: &Path, under: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir.join(under)).unwrap() {
        let path = under.join(entry.unwrap().file_name());
        match dir.join(&path).is_dir() {
            true => files(dir, &path, found),
            false => found.push(path),
        }
    }
}

/// The error as a line; an empty one if there is none.
fn error<T>(result: anyhow::Result<T>) -> String {
    result.err().map_or(String::new(), |e| run::one_line(&e))
}

/// Opens what `file` belongs to, as a later stage does. The message has to name the file; an empty
/// one says that what was read is what had been written.
fn message(world: &World, base: &models::CausalLm, run: &str, file: &Path, whole: &[u8]) -> String {
    let dir = world.path(run);
    let first = file.iter().next().unwrap().to_str().unwrap();
    let name = file.file_name().unwrap().to_str().unwrap();
    let open = |text: &str| {
        error(PolicyMeta::open(
            text,
            TemplateChoice::Auto,
            None,
            Fetch::Whole,
        ))
    };
    match first {
        "adapter" | "model" => open(&world.text(run)),
        "best" => open(&world.text(&format!("{run}/best"))),
        "reward" => error(RewardModel::load(&dir.join("reward"), base).map_err(Into::into)),
        "checkpoints" => {
            let (_, damaged) = run::newest_intact(&dir, u64::MAX).unwrap();
            let step = file.iter().nth(1).unwrap();
            // Of two checkpoints the newest is read first; the older one when that is gone.
            let older = run::newest_intact(&dir, 2).unwrap().1;
            let all = damaged.into_iter().chain(older);
            let mut of_step = all.filter(|(checkpoint, _)| checkpoint.dir.ends_with(step));
            of_step.next().map_or(String::new(), |(_, what)| what)
        }
        "run.json" => {
            let now = run::open_saved_run(&dir);
            let before: Value = serde_json::from_slice(whole).unwrap();
            match now {
                // Only a damaged name of the hash itself passes; everything else is as it was.
                Ok(Some(now)) => {
                    let keys = before.as_object().unwrap().iter();
                    for (key, value) in keys.filter(|(key, _)| *key != "sha256") {
                        assert_eq!(&now.info[key], value);
                    }
                    String::new()
                }
                other => error(other),
            }
        }
        "config.toml" | "template.json" | "tokenizer.json" | "special.json" | "heldout.json" => {
            error(run::open_saved_run(&dir))
        }
        "metrics.jsonl" | "timings.jsonl" => {
            let count = |bytes: &[u8]| bytes.iter().filter(|b| **b == b'\n').count();
            let rows = run::read_metrics(&dir).unwrap();
            assert!(
                rows.len() + 2 >= count(whole),
                "{run} {name}: {}",
                rows.len()
            );
            String::new()
        }
        _ if first.starts_with("events.out.tfevents.") => {
            let kept = run::events_up_to(&fs::read(dir.join(file)).unwrap(), Some(u64::MAX));
            assert!(2 * kept.len() > whole.len(), "more than one record is lost");
            String::new()
        }
        // read by people only
        "samples" | ".lock" => String::new(),
        _ => panic!(
            "{run}/{}: a new kind of file; say here who checks it",
            file.display()
        ),
    }
}

#[test]
fn a_flipped_byte_in_any_file_of_a_run_is_named_or_harmless() {
    let world = World::with_reward();
    world.rl("ppo", "algorithm.name=ppo").unwrap();
    world.sft("full", "method=full").unwrap();
    let base = policy::load_base(&world.text("base"), &Device::Cpu)
        .unwrap()
        .model;
    let rows = |run: &str| run::read_metrics(&world.path(run)).unwrap();
    let mut n_named = 0;
    for run in ["sft", "rm", "ppo", "full"] {
        let mut found = Vec::new();
        files(&world.path(run), Path::new(""), &mut found);
        assert!(found.len() > 15, "{run}: {found:?}");
        let intact = rows(run);
        for file in found {
            let path = world.path(run).join(&file);
            let whole = fs::read(&path).unwrap();
            assert_eq!(
                message(&world, &base, run, &file, &whole),
                "",
                "{}",
                path.display()
            );
            let n = whole.len();
            let mut offsets = vec![0, n / 3, n / 2, n.saturating_sub(2)];
            offsets.retain(|at| *at < n);
            for at in offsets {
                let mut bytes = whole.clone();
                bytes[at] ^= 1;
                // Another file: linked ones would change with it.
                fs::remove_file(&path).unwrap();
                fs::write(&path, bytes).unwrap();
                let line = message(&world, &base, run, &file, &whole);
                let shown = format!("{} at {at}: {line}", path.display());
                let name = file.file_name().unwrap().to_str().unwrap();
                let first = file.iter().next().unwrap().to_str().unwrap();
                if first.ends_with(".jsonl") {
                    // What is still read is what had been written.
                    for row in rows(run) {
                        let same = |other: &&run::MetricsRow| {
                            other.step == row.step && other.metrics.len() >= row.metrics.len()
                        };
                        let before = intact.iter().filter(same);
                        let mut before = before.filter(|other| {
                            row.metrics
                                .iter()
                                .all(|(name, v)| other.metrics.get(name) == Some(v))
                        });
                        assert!(before.next().is_some(), "{shown}: {row:?}");
                    }
                } else if line.is_empty() {
                    let unread = ["samples", ".lock", "run.json"].contains(&first);
                    assert!(unread || first.starts_with("events."), "{shown}");
                } else {
                    // A damaged name in SHA256SUMS is a file that is not there.
                    let named = [name, "SHA256SUMS", "cannot be read"];
                    assert!(named.iter().any(|name| line.contains(name)), "{shown}");
                    n_named += 1;
                }
            }
            fs::remove_file(&path).unwrap();
            fs::write(&path, &whole).unwrap();
        }
    }
    assert!(n_named > 150, "{n_named}");
}

/// Without checksums, as older versions and PEFT write them, results are read as before.
#[test]
fn results_without_checksums_are_accepted() {
    let world = World::with_reward();
    for dir in ["sft/adapter", "rm/reward"] {
        fs::remove_file(world.path(dir).join("SHA256SUMS")).unwrap();
    }
    world.rl("ppo", "algorithm.name=ppo train.steps=1").unwrap();
    assert_eq!(world.info("ppo")["status"], "finished");
}
