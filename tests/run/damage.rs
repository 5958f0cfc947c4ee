//! A flipped bit in any file of a run is named by whoever reads the file, or changes nothing.
//!
//! `WICK_FLIPS=100` flips as many more bits of each file, at random; `WICK_SEED` gives others.

use crate::pipeline::world::World;
use candle_core::Device;
use models::{CausalLm, Fetch};
use policy::{PolicyMeta, TemplateChoice};
use rand::Rng;
use rewards::RewardModel;
use run::MetricsRow;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// What the readers of a file say: a message that names it, or nothing if what they read is what
/// had been written. `Err` is a fault: they took something else for it.
type Said = Result<Option<String>, String>;

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

fn first(file: &Path) -> &str {
    file.iter().next().unwrap().to_str().unwrap()
}

/// A run, and what was read of it before any damage.
struct Intact<'a> {
    world: &'a World,
    base: &'a CausalLm,
    run: &'a str,
    rows: Vec<MetricsRow>,
}

impl Intact<'_> {
    /// Reads what `file` belongs to, as a later stage does; `whole` is what it had been.
    fn read(&self, file: &Path, whole: &[u8]) -> Said {
        let dir = self.world.path(self.run);
        let open = |name: &str| {
            let text = self.world.text(name);
            named(
                file,
                PolicyMeta::open(
                    text.as_str().into(),
                    TemplateChoice::Auto,
                    None,
                    Fetch::Whole,
                ),
            )
        };
        match first(file) {
            "adapter" | "model" => open(self.run),
            "best" => open(&format!("{}/best", self.run)),
            "reward" => {
                let loaded = RewardModel::load(&dir.join("reward"), self.base);
                named(file, loaded.map_err(Into::into))
            }
            "checkpoints" => checkpoint(&dir, file),
            "run.json" => info(&dir, file, whole),
            "config.toml"
            | "template.json"
            | "tokenizer.json"
            | "special.json"
            | "heldout.json"
            | "trained_prompts.bin" => named(file, run::open_saved_run(&dir)),
            "metrics.jsonl" | "timings.jsonl" => {
                let rows = run::read_metrics(&dir).map_err(|e| run::one_line(&e))?;
                self.rows(&rows)
            }
            // read by people only
            "samples" | ".lock" => Ok(None),
            name if name.starts_with("events.out.tfevents.") => events(&dir.join(file), whole),
            _ => Err("a new kind of file; say here who checks it".into()),
        }
    }

    /// What is still read of the metrics is what had been written. The reader names what is not.
    fn rows(&self, rows: &[MetricsRow]) -> Said {
        for row in rows {
            let part_of = |other: &MetricsRow| {
                let mut metrics = row.metrics.iter();
                other.step == row.step && metrics.all(|(k, v)| other.metrics.get(k) == Some(v))
            };
            if !self.rows.iter().any(part_of) {
                return Err(format!("{row:?} was never written"));
            }
        }
        if rows.len() + 2 < self.rows.len() {
            return Err(format!("{} of {} rows left", rows.len(), self.rows.len()));
        }
        Ok((rows != self.rows).then(|| "a damaged line".to_string()))
    }
}

/// The error of a reader; one that does not name the file is a fault.
fn named<T>(file: &Path, read: anyhow::Result<T>) -> Said {
    let Err(error) = read else { return Ok(None) };
    let line = run::one_line(&error);
    let name = file.file_name().unwrap().to_str().unwrap();
    // A damaged name in SHA256SUMS is a file that is not there.
    let names = [name, "SHA256SUMS", "cannot be read"];
    match names.iter().any(|name| line.contains(name)) {
        true => Ok(Some(line)),
        false => Err(format!("does not name the file: {line}")),
    }
}

fn checkpoint(dir: &Path, file: &Path) -> Said {
    let newest = |step| run::newest_intact(dir, step).map_err(|e| run::one_line(&e));
    let of_file = file.iter().nth(1).unwrap();
    // Of two checkpoints the newest is read first; the older one when that is gone.
    let all = newest(u64::MAX)?.1.into_iter().chain(newest(2)?.1);
    let mut of_step = all.filter(|(checkpoint, _)| checkpoint.dir.ends_with(of_file));
    match of_step.next() {
        Some((_, what)) => named(file, Err::<(), _>(anyhow::Error::msg(what))),
        None => Ok(None),
    }
}

/// Only a damaged name of the hash itself passes; everything else is as it was.
fn info(dir: &Path, file: &Path, whole: &[u8]) -> Said {
    let Ok(Some(now)) = run::open_saved_run(dir) else {
        return named(file, run::open_saved_run(dir));
    };
    let before: Value = serde_json::from_slice(whole).unwrap();
    let mut keys = before.as_object().unwrap().iter();
    match keys.find(|(key, value)| *key != "sha256" && now.info.get(key) != Some(value)) {
        Some((key, _)) => Err(format!("{key} was changed")),
        None => Ok(None),
    }
}

fn events(file: &Path, whole: &[u8]) -> Said {
    let kept = run::events_up_to(&fs::read(file).unwrap(), Some(u64::MAX)).len();
    match 2 * kept > whole.len() {
        true => Ok((kept < whole.len()).then(|| "bytes left out".to_string())),
        false => Err("more than one record is lost".into()),
    }
}

/// Another file: linked ones would change with it.
fn replace(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Bytes of a file and the bits of them that are flipped.
fn places(n: usize, more: usize, rng: &mut impl Rng) -> Vec<(usize, u8)> {
    if n == 0 {
        return Vec::new();
    }
    let fixed = [0, n / 3, n / 2, n.saturating_sub(2), n - 1].map(|at| (at, 1));
    let random = (0..more).map(|_| (rng.random_range(0..n), 1 << rng.random_range(0..8)));
    fixed.into_iter().chain(random).collect()
}

/// Counts of one kind of file: flips that were named, and flips that changed nothing.
#[derive(Default)]
struct Count {
    named: usize,
    harmless: usize,
    wrong: usize,
}

#[test]
fn a_flipped_byte_in_any_file_of_a_run_is_named_or_harmless() {
    let var = |name: &str| std::env::var(name).map_or(0, |n| n.parse().unwrap());
    let more = var("WICK_FLIPS");
    let mut rng = run::stream(var("WICK_SEED") as u64, "flips", 0, 0);
    let world = World::with_reward();
    world.rl("ppo", "algorithm.name=ppo").unwrap();
    world.sft("full", "method=full").unwrap();
    let base = policy::load_base(&world.text("base"), &Device::Cpu).unwrap();
    let mut counts: BTreeMap<String, Count> = BTreeMap::new();
    let mut faults = Vec::new();
    for run in ["sft", "rm", "ppo", "full"] {
        let mut found = Vec::new();
        files(&world.path(run), Path::new(""), &mut found);
        assert!(found.len() > 15, "{run}: {found:?}");
        let intact = Intact {
            world: &world,
            base: &base.model,
            run,
            rows: run::read_metrics(&world.path(run)).unwrap(),
        };
        for file in found {
            let path = world.path(run).join(&file);
            let whole = fs::read(&path).unwrap();
            assert_eq!(intact.read(&file, &whole), Ok(None), "{}", path.display());
            let kind = first(&file).split(".run").next().unwrap();
            let kind = kind.trim_end_matches(|c: char| c.is_ascii_digit());
            let count = counts.entry(kind.to_string()).or_default();
            let unread = ["samples", ".lock", "run.json"].contains(&kind);
            for (at, bits) in places(whole.len(), more, &mut rng) {
                let mut bytes = whole.clone();
                bytes[at] ^= bits;
                replace(&path, &bytes);
                let fault = match catch_unwind(AssertUnwindSafe(|| intact.read(&file, &whole))) {
                    Ok(Ok(Some(_))) => {
                        count.named += 1;
                        continue;
                    }
                    Ok(Ok(None)) if unread => {
                        count.harmless += 1;
                        continue;
                    }
                    Ok(Ok(None)) => "nobody noticed".to_string(),
                    Ok(Err(fault)) => fault,
                    Err(_) => "panicked".to_string(),
                };
                count.wrong += 1;
                faults.push(format!("{} at {at} by {bits:#x}: {fault}", path.display()));
            }
            replace(&path, &whole);
        }
    }
    println!("{:24}   named  harmless  wrong", "flipped bits of");
    for (kind, n) in &counts {
        println!("{kind:24}{:8}{:10}{:7}", n.named, n.harmless, n.wrong);
    }
    let sum = |of: fn(&Count) -> usize| counts.values().map(of).sum::<usize>();
    let (named, harmless) = (sum(|n| n.named), sum(|n| n.harmless));
    println!(
        "flips: {named} named, {harmless} harmless, {} wrong",
        faults.len()
    );
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(named > 150, "{named}");
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
