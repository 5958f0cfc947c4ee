//! `--verify-resume`: proves for the user's own settings that a run which is killed and resumed ends as one that was not.
//!
//! The command is run as it is, then again with SIGKILL at random moments, every second one while a file is being written, and
//! `--resume` after each. Then every file of the two run directories must be the same, but for those that a clock enters.

use crate::checkpoint::STATE;
use crate::cli::RunArgs;
use crate::files::TEMPORARY;
use crate::finished::INFO;
use crate::metrics::{TIMINGS, is_timing};
use anyhow::{Context, Result, bail, ensure};
use rand::Rng;
use serde_json::Value;
use signal_hook::consts::SIGKILL;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often a child is looked at.
const POLL: Duration = Duration::from_micros(200);
/// Kills in a row that may bring a run no further before the waits before a kill get longer.
const PATIENCE: usize = 4;

/// Says what was compared; an error names the first difference and leaves both runs where they are.
pub fn verify_resume(args: &RunArgs, kills: usize) -> Result<String> {
    ensure!(
        !args.resume,
        "--verify-resume makes runs of its own; leave out --resume"
    );
    ensure!(
        kills > 0,
        "--verify-resume 0: how often shall the run be killed?"
    );
    let scratch = tempfile::tempdir().context("no place for the runs")?;
    let dir = args
        .run
        .clone()
        .unwrap_or_else(|| scratch.path().join("verify"));
    ensure!(
        !dir.exists(),
        "{} exists; choose another --run",
        dir.display()
    );
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let checked = check(args, kills, &dir);
    if checked.is_err() && args.run.is_none() {
        let _ = scratch.keep(); // the error names files in it
    }
    checked
}

fn check(args: &RunArgs, kills: usize, dir: &Path) -> Result<String> {
    let whole = dir.join("whole");
    eprintln!("running to the end in {}", whole.display());
    let began = Instant::now();
    let status = Attempt::start(args, &whole)?.end(None)?;
    let secs = began.elapsed().as_secs_f64();
    succeeded(status, &whole)?;
    let expected = content(&whole)?;

    let (mut killed, mut runs) = (0, 0);
    while killed < kills {
        runs += 1;
        let run = dir.join(format!("killed-{runs}"));
        // Whole runs between two kills would prove little, and a run that is killed in its first second would never end.
        let mut reach = (4.0 * secs / kills as f64).max(secs / 4.0);
        let mut without_progress = 0;
        loop {
            let before = newest_checkpoint(&run);
            let kill = (killed < kills).then(|| Kill {
                after: Duration::from_secs_f64(rand::rng().random_range(0.0..reach.min(secs))),
                in_a_write: killed % 2 == 1,
            });
            let to_be_killed = kill.is_some();
            let end = Attempt::start(args, &run)?.end(kill)?;
            // Any other signal is a crash of its own, and without a kill so is that one.
            if !(to_be_killed && end.signal() == Some(SIGKILL)) {
                succeeded(end, &run)?;
                break;
            }
            killed += 1;
            eprintln!("killed {killed} of {kills}, at {}", place(&run));
            without_progress = if newest_checkpoint(&run) == before {
                without_progress + 1
            } else {
                0
            };
            if without_progress > PATIENCE {
                reach *= 2.0;
                without_progress = 0;
            }
        }
        compare(&expected, &content(&run)?, &whole, &run)?;
    }
    Ok(format!(
        "the same to the last byte after {killed} kills over {runs} runs: {} files, {} bytes\n",
        expected.len(),
        expected.values().map(Vec::len).sum::<usize>()
    ))
}

/// When a run is killed: after some time, or at the first write after it.
struct Kill {
    after: Duration,
    in_a_write: bool,
}

/// The command in a process of its own; its output goes to a file beside the run.
struct Attempt {
    child: Child,
    run: PathBuf,
}

impl Attempt {
    fn start(args: &RunArgs, run: &Path) -> Result<Self> {
        let program = std::env::current_exe().context("where this program is")?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(log_of(run))?;
        let mut command = Command::new(program);
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        if let Some(config) = &args.config {
            command.arg("--config").arg(config);
        }
        for set in &args.sets {
            command.arg("--set").arg(set);
        }
        command.arg("--run").arg(run);
        // Killed before it had made its directory, it begins again.
        if run.join(INFO).exists() {
            command.arg("--resume");
        }
        let child = command.spawn().context("cannot start this program again")?;
        let run = run.to_path_buf();
        Ok(Self { child, run })
    }

    /// Waits for the end, or brings it.
    fn end(mut self, kill: Option<Kill>) -> Result<ExitStatus> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if let Some(kill) = &kill
                && began.elapsed() >= kill.after
                && (!kill.in_a_write || is_writing(&self.run))
            {
                self.child.kill()?;
                return Ok(self.child.wait()?);
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let _ = self.child.kill(); // of an attempt that an error cut short
    }
}

trait Signal {
    fn signal(&self) -> Option<i32>;
}

impl Signal for ExitStatus {
    fn signal(&self) -> Option<i32> {
        std::os::unix::process::ExitStatusExt::signal(self)
    }
}

/// Whether something is being written into `run`, or `run` is being made.
fn is_writing(run: &Path) -> bool {
    let temporary = |dir: &Path| {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries
            .map(|e| e.file_name())
            .any(|name| name.to_string_lossy().starts_with(TEMPORARY))
    };
    let within = ["checkpoints", "samples"].map(|name| run.join(name));
    temporary(run) || within.iter().any(|dir| temporary(dir)) || !run.exists()
}

fn newest_checkpoint(run: &Path) -> Option<u64> {
    let all = crate::checkpoint::list(&run.join("checkpoints")).ok()?;
    all.last().map(|checkpoint| checkpoint.step)
}

fn place(run: &Path) -> String {
    match (run.exists(), newest_checkpoint(run)) {
        (false, _) => "the start".to_string(),
        (true, None) => "no checkpoint yet".to_string(),
        (true, Some(step)) => format!("checkpoint {step}"),
    }
}

fn log_of(run: &Path) -> PathBuf {
    run.with_extension("log")
}

fn succeeded(status: ExitStatus, run: &Path) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    let log = log_of(run);
    let text = std::fs::read_to_string(&log).unwrap_or_default();
    let last = text.lines().last().unwrap_or_default();
    bail!(
        "the run ended with {status}: {last} (all it said: {})",
        log.display()
    )
}

/// The files below `run` by path, but for those that a clock or the history of the run enters.
fn content(run: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    collect(run, "", &mut found)?;
    Ok(found)
}

fn collect(dir: &Path, under: &str, found: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    let of_a_clock = |name: &str| {
        [INFO, TIMINGS, ".lock", "SHA256SUMS"].contains(&name)
            || name.starts_with("events.out.tfevents")
    };
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let full = format!("{under}{name}");
        if path.is_dir() {
            collect(&path, &format!("{full}/"), found)?;
        } else if !of_a_clock(&name) {
            let context = || format!("cannot read {full}");
            let mut bytes = std::fs::read(&path).with_context(context)?;
            if name == STATE {
                let mut state = serde_json::from_slice(&bytes).with_context(context)?;
                forget_time(&mut state);
                bytes = state.to_string().into_bytes();
            }
            found.insert(full, bytes);
        }
    }
    Ok(())
}

/// Leaves out of a checkpoint's state what a clock says.
fn forget_time(state: &mut Value) {
    if let Value::Object(map) = state {
        map.retain(|key, _| key != "secs" && !is_timing(key));
        map.values_mut().for_each(forget_time);
    }
}

fn compare(
    expected: &BTreeMap<String, Vec<u8>>,
    got: &BTreeMap<String, Vec<u8>>,
    whole: &Path,
    run: &Path,
) -> Result<()> {
    let names: std::collections::BTreeSet<&String> = expected.keys().chain(got.keys()).collect();
    let differ: Vec<&String> = names
        .into_iter()
        .filter(|n| expected.get(*n) != got.get(*n))
        .collect();
    if differ.is_empty() {
        return Ok(());
    }
    let mut list = String::new();
    for name in differ.iter().take(5) {
        let what = match (expected.contains_key(*name), got.contains_key(*name)) {
            (true, true) => "differs",
            (true, false) => "is missing",
            _ => "is too many",
        };
        write!(
            list,
            "{}{name} {what}",
            if list.is_empty() { "" } else { ", " }
        )?;
    }
    bail!(
        "the killed run is not the whole one: {list}{}; compare {} and {}",
        if differ.len() > 5 { ", …" } else { "" },
        whole.display(),
        run.display()
    )
}
