//! `--verify-resume`: proves for the user's own settings that a run which is killed and resumed
//! ends like one that was not.
//!
//! The command runs to its end once. Then it runs again with SIGKILL at random moments, every
//! second time while a file is being written, and `--resume` after each kill. In the end every file
//! of the two run directories must be equal, except those that depend on wall-clock time.

use crate::args::RunArgs;
use crate::checkpoint_list::{CHECKPOINTS, list};
use crate::files::{Replace, TEMPORARY, ensure_new};
use crate::run_info::INFO;
use crate::signals::{self, StoppedBySignal};
use crate::verify_compare::{compare, content};
use anyhow::{Context, Result, bail, ensure};
use rand::Rng;
use signal_hook::consts::SIGKILL;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The time of all runs of a verification, seconds since 1970.
const VERIFIED_AT: &str = "1767225600";
/// Interval at which the child process is polled.
const POLL: Duration = Duration::from_micros(200);
/// Kills in a row without a new checkpoint, after which the time before a kill is doubled.
const MAX_WITHOUT_PROGRESS: usize = 4;
/// Runs for each kill, most of which end before their kill is due.
const MAX_RUNS_PER_KILL: usize = 20;

/// Verifies that the run of `args` resumes exactly, with `kills` kills; returns a line for the
/// user.
///
/// # Errors
/// If files differ; the error names them and the directories of both runs, which are kept.
pub fn verify_resume(args: &RunArgs, kills: usize) -> Result<String> {
    ensure!(
        !args.resume,
        "--verify-resume creates its own runs; leave out --resume"
    );
    ensure!(
        kills > 0,
        "--verify-resume 0: the number of kills must be at least 1"
    );
    let scratch = tempfile::tempdir().context("cannot create a temporary directory")?;
    let dir = args
        .run
        .clone()
        .unwrap_or_else(|| scratch.path().join("verify"));
    ensure_new(&dir, "--run", Replace::Never)?;
    signals::stop_on_signals()?;
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let checked = check(args, kills, &dir);
    if checked.is_err() && args.run.is_none() && !signals::signalled() {
        let _ = scratch.keep(); // the error names files in it
    }
    checked
}

fn check(args: &RunArgs, kills: usize, dir: &Path) -> Result<String> {
    let whole = dir.join("whole");
    let (args, secs) = run_whole(args, &whole)?;
    let args = &args;
    let expected = content(&whole)?;
    let last = newest_checkpoint(&whole);

    // `proofs`: kills after which the run went on from a checkpoint
    let (mut killed, mut runs, mut proofs) = (0, 0, 0);
    while killed < kills {
        runs += 1;
        ensure!(
            runs <= MAX_RUNS_PER_KILL * kills,
            "{runs} runs ended before they could be killed {kills} times after a checkpoint; \
             nothing is proved: take more steps, or fewer kills"
        );
        let run = dir.join(format!("killed-{runs}"));
        // Uninterrupted runs would prove little, and a run that is always killed in its first
        // second would never end.
        let mut reach = (4.0 * secs / kills as f64).max(secs / 4.0);
        let mut without_progress = 0;
        loop {
            let before = newest_checkpoint(&run);
            let kill = (killed < kills).then(|| Kill {
                after: Duration::from_secs_f64(rand::rng().random_range(0.0..reach.min(secs))),
                in_a_write: killed % 2 == 1,
                // The last kill makes up for others that came too early.
                before_checkpoint: last.filter(|_| proofs == 0 && killed + 1 == kills),
            });
            let to_be_killed = kill.is_some();
            let end = Attempt::start(args, &run)?.end(kill)?;
            // Any other signal is a crash, and so is SIGKILL if we did not send it.
            if !(to_be_killed && end.signal() == Some(SIGKILL)) {
                succeeded(end, &run)?;
                break;
            }
            killed += 1;
            let at = newest_checkpoint(&run);
            proofs += usize::from(at.is_some() && at < last);
            crate::say!("killed {killed} of {kills}, at {}", place(&run));
            without_progress = if newest_checkpoint(&run) == before {
                without_progress + 1
            } else {
                0
            };
            if without_progress > MAX_WITHOUT_PROGRESS {
                reach *= 2.0;
                without_progress = 0;
            }
        }
        compare(&expected, &content(&run)?, &whole, &run)?;
    }
    ensure!(
        proofs > 0,
        "no kill fell between the first checkpoint and the last, so nothing is proved about \
         resuming; lower train.save_every"
    );
    Ok(format!(
        "the same to the last byte after {killed} kills over {runs} runs, {proofs} of them between \
         two checkpoints: {} files, {} bytes\n",
        expected.len(),
        expected.values().map(Vec::len).sum::<usize>()
    ))
}

/// Runs to the end. If that wrote one checkpoint only, a resumed run could never begin at one: runs
/// again with a shorter cadence. Returns the arguments and the seconds of the run.
fn run_whole(args: &RunArgs, whole: &Path) -> Result<(RunArgs, f64)> {
    let mut args = args.clone();
    loop {
        crate::say!("running to the end in {}", whole.display());
        let began = Instant::now();
        let status = Attempt::start(&args, whole)?.end(None)?;
        let secs = began.elapsed().as_secs_f64();
        succeeded(status, whole)?;
        let all = list(&whole.join(CHECKPOINTS))?;
        let steps: Vec<u64> = all.iter().map(|checkpoint| checkpoint.step).collect();
        let Some(set) = shorter_cadence(&steps, &args.sets)? else {
            return Ok((args, secs));
        };
        crate::say!("its one checkpoint is at its end; again with {set}");
        args.sets.push(set);
        std::fs::remove_dir_all(whole)
            .with_context(|| format!("cannot delete {}", whole.display()))?;
    }
}

/// The setting with which a run is made again, where the steps of its checkpoints leave none that a
/// resumed run could begin at. `None`: there is one, or the settings `sets` have that cadence
/// already and the run keeps its last checkpoint only.
///
/// # Errors
/// If the run is too short for any cadence.
///
/// ```
/// let with = run::shorter_cadence(&[8], &[]).unwrap().unwrap();
/// assert_eq!(with, "train.save_every=2");
/// assert_eq!(run::shorter_cadence(&[4, 8], &[]).unwrap(), None);
/// assert_eq!(run::shorter_cadence(&[8], &[with]).unwrap(), None);
/// assert!(run::shorter_cadence(&[1], &[]).is_err());
/// ```
pub fn shorter_cadence(steps: &[u64], sets: &[String]) -> Result<Option<String>> {
    let (first, last) = (steps.first(), steps.last().copied().unwrap_or(0));
    if first.is_some_and(|first| *first < last) {
        return Ok(None);
    }
    ensure!(
        last > 1,
        "a run of {last} steps cannot be resumed within; take at least 2 steps"
    );
    let set = format!("train.save_every={}", (last / 4).max(1));
    Ok((!sets.contains(&set)).then_some(set))
}

/// When a run is killed: after some time, or at the first write after that time.
struct Kill {
    after: Duration,
    in_a_write: bool,
    /// Only while its newest checkpoint is before this step
    before_checkpoint: Option<u64>,
}

/// The command in a child process. Its output goes to a file beside the run.
struct Attempt {
    child: Child,
    run: PathBuf,
}

impl Attempt {
    fn start(args: &RunArgs, run: &Path) -> Result<Self> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(log_of(run))?;
        let mut command = Command::new(program);
        command
            .args(subcommand())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        if let Some(config) = &args.config {
            command.arg("--config").arg(config);
        }
        for set in &args.sets {
            command.arg("--set").arg(set);
        }
        // A chat template may print the date, which each run freezes when it begins.
        command.env("SOURCE_DATE_EPOCH", VERIFIED_AT);
        command.arg("--run").arg(run);
        // A run that was killed before it created its directory starts over.
        if run.join(INFO).exists() {
            command.arg("--resume");
        }
        let child = command.spawn().context("cannot start this program again")?;
        let run = run.to_path_buf();
        Ok(Self { child, run })
    }

    /// Waits for the end of the process, or kills it.
    fn end(mut self, kill: Option<Kill>) -> Result<ExitStatus> {
        let began = Instant::now();
        loop {
            let status = self.child.try_wait()?;
            // Before the status: a terminal sends Ctrl-C to the child, too. Dropped, it is ended.
            if signals::signalled() {
                let why = "stopped by a signal; nothing is proved";
                return Err(StoppedBySignal(why.to_string()).into());
            }
            if let Some(status) = status {
                return Ok(status);
            }
            if let Some(kill) = &kill
                && began.elapsed() >= kill.after
                && (!kill.in_a_write || is_writing(&self.run))
                && kill.before_checkpoint.is_none_or(|last| {
                    newest_checkpoint(&self.run).is_some_and(|newest| newest < last)
                })
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
        // If an error or a signal interrupted the attempt.
        let _ = self.child.kill();
        let _ = self.child.wait();
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

/// Whether a file is being written into `run`, or `run` is being created.
fn is_writing(run: &Path) -> bool {
    let temporary = |dir: &Path| {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries
            .map(|e| e.file_name())
            .any(|name| name.to_string_lossy().starts_with(TEMPORARY))
    };
    let within = [CHECKPOINTS, "samples"].map(|name| run.join(name));
    temporary(run) || within.iter().any(|dir| temporary(dir)) || !run.exists()
}

fn newest_checkpoint(run: &Path) -> Option<u64> {
    let all = list(&run.join(CHECKPOINTS)).ok()?;
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
        "the run ended with {status}: {last} (full output: {})",
        log.display()
    )
}

/// The subcommand with which this process was called: `sft` of `wick sft --config …`, nothing for a
/// binary without subcommands.
fn subcommand() -> impl Iterator<Item = std::ffi::OsString> {
    let is_option = |arg: &std::ffi::OsString| arg.to_string_lossy().starts_with('-');
    std::env::args_os()
        .skip(1)
        .take_while(move |arg| !is_option(arg))
}
