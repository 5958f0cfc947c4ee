//! A refused `--resume` leaves every byte of the run as it was, and a new length is accepted only
//! beyond what the run has.

use super::world::{World, tiny};
use run::file_hash;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const SETS: [(&str, &str); 3] = [
    ("sft", "data.path=~/demonstrations.json"),
    ("rm", "data.path=~/comparisons.json"),
    ("rl", "algorithm.name=ppo data.path=~/prompts.json"),
];

fn trained(world: &World, run: &str, sets: &str) -> anyhow::Result<()> {
    match &run[..2] {
        "sf" => world.sft(run, sets),
        "rm" => world.reward(run, sets),
        _ => world.rl(run, sets),
    }
}

/// The hashes of all files below a directory.
fn bytes(dir: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(bytes(&path)),
            false => drop(found.insert(path.clone(), file_hash(&path).unwrap())),
        }
    }
    found
}

/// A world with a run of each stage. Each has what a kill leaves: a temporary file, and a damaged
/// newest checkpoint.
fn world() -> World {
    let world = World::new();
    for file in ["demonstrations.json", "comparisons.json", "prompts.json"] {
        fs::copy(tiny(file), world.path(file)).unwrap();
    }
    for (run, sets) in SETS {
        trained(&world, run, sets).unwrap();
        let dir = world.path(run);
        fs::write(dir.join(".tmp-left"), "half").unwrap();
        let newest = dir.join("checkpoints/step-000004/state.json");
        fs::write(&newest, fs::read_to_string(&newest).unwrap() + " ").unwrap();
    }
    world
}

/// Changes the files at these places, and changes them back.
struct Changed(Vec<(PathBuf, Vec<u8>)>);

impl Changed {
    fn append(world: &World, names: &[&str]) -> Self {
        let change = |name: &&str| {
            let file = world.path(name);
            let old = fs::read(&file).unwrap();
            fs::write(&file, [old.as_slice(), b"\n"].concat()).unwrap();
            (file, old)
        };
        Self(names.iter().map(change).collect())
    }
}

impl Drop for Changed {
    fn drop(&mut self) {
        for (file, old) in &self.0 {
            fs::write(file, old).unwrap();
        }
    }
}

/// What may change at a resume, and must not be stored by one that is refused.
const ALLOWED: &str = "train.save_every=1 train.eval_every=1";

fn length(run: &str, n: usize) -> String {
    match run {
        "rl" => format!("train.steps={n}"),
        _ => format!("train.max_steps={n}"),
    }
}

/// Resumes with other settings or after changes to files: refused, and no byte is another one.
#[track_caller]
fn check(world: &World, run: &str, sets: &str, changed: &[&str], expected: &str) {
    let _changed = Changed::append(world, changed);
    let of_run = SETS.into_iter().find(|(name, _)| *name == run).unwrap().1;
    let before = bytes(&world.path(run));
    let sets = format!("resume {of_run} {} {ALLOWED} {sets}", length(run, 9));
    let error = trained(world, run, &sets).expect_err(expected);
    let error = run::one_line(&error);
    assert!(error.contains(expected), "{run}: {error}");
    assert!(bytes(&world.path(run)) == before, "{run}: {expected}");
}

#[test]
fn a_refused_resume_leaves_every_byte_of_the_run() {
    let world = world();
    for (run, _) in SETS {
        check(
            &world,
            run,
            "train.seed=7",
            &[],
            "train.seed was 1 and is 7",
        );
        let short = "the run has 2 steps already";
        check(&world, run, &length(run, 1), &[], short);
        check(&world, run, &length(run, 2), &[], short);
        check(&world, run, "train.memory_gb=0.001", &[], "train.memory_gb");
        check(&world, run, "train.nonsense=1", &[], "nonsense");
        for file in ["config.toml", "checkpoints/step-000002/state.json"] {
            check(&world, run, "", &[&format!("{run}/{file}")], "is damaged");
        }
        let info = world.path(run).join("run.json");
        let text = fs::read_to_string(&info).unwrap();
        fs::write(&info, text.replace("\"finished\"", "\"Finished\"")).unwrap();
        check(&world, run, "", &[], "run.json is damaged");
        fs::write(&info, text).unwrap();
    }
    let changed = "has changed since";
    check(&world, "sft", "", &["demonstrations.json"], changed);
    check(&world, "rm", "", &["comparisons.json"], changed);
    check(&world, "rl", "", &["prompts.json"], changed);
    // files that are read as before, made elsewhere
    for result in ["sft/adapter", "rm/reward"] {
        fs::remove_file(world.path(result).join("SHA256SUMS")).unwrap();
    }
    let adapter = "sft/adapter/adapter_config.json";
    check(&world, "rm", "", &[adapter], changed);
    check(&world, "rl", "", &[adapter], changed);
    check(&world, "rl", "", &["rm/reward/reward.json"], changed);
    // another base, which the adapters still fit
    let base = world.path("base");
    fs::rename(&base, world.path("first")).unwrap();
    world.model("base", 2);
    check(&world, "sft", "", &[], "base has changed since");
    fs::remove_dir_all(&base).unwrap();
    fs::rename(world.path("first"), &base).unwrap();
    // another stage, another process
    let before = bytes(&world.path("rm"));
    let error = world.sft("rm", "resume").unwrap_err().to_string();
    assert!(error.contains("is a run of reward-model"), "{error}");
    assert!(bytes(&world.path("rm")) == before);
    let lock = fs::File::open(world.path("rm/.lock")).unwrap();
    lock.lock().unwrap();
    check(&world, "rm", "", &[], "being written by another process");
    drop(lock);
    goes_on(&world);
}

/// With nothing in the way each run goes on, from the checkpoint before the damaged one.
fn goes_on(world: &World) {
    for (run, sets) in SETS.into_iter().rev() {
        let sets = format!("resume {sets} {ALLOWED} {}", length(run, 5));
        trained(world, run, &sets).unwrap();
        let (info, settings) = (world.info(run), world.settings(run));
        assert_eq!(info["status"], "finished");
        assert_eq!(info["resumed"].as_array().unwrap().len(), 1);
        assert_eq!(settings["train"]["save_every"].as_integer(), Some(1));
        let run = world.path(run);
        assert!(run.join("checkpoints/damaged-step-000004").is_dir());
        assert!(!run.join(".tmp-left").exists());
    }
}
