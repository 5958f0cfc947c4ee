//! What every binary does on its command line: the shared arguments, printing, and turning a result into an exit code.

use anyhow::{Result, bail};
use serde::de::DeserializeOwned;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// `--config`, `--set`, `--run`, `--resume`: the arguments that every training binary flattens into its clap struct.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct RunArgs {
    /// TOML file with the run's settings (paths in it are relative to the current directory)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Override one setting, e.g. --set train.max_steps=50 (repeatable)
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Run directory to create
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
    /// Continue the run from its last complete checkpoint
    #[arg(long)]
    pub resume: bool,
    /// Prove that these settings resume exactly: one run to its end, others killed KILLS times in all (3 if not said) and resumed;
    /// all must be the same to the last byte. Shorten long runs by --set
    #[arg(long, value_name = "KILLS", num_args = 0..=1, default_missing_value = "3", conflicts_with = "resume")]
    pub verify_resume: Option<usize>,
}

impl RunArgs {
    /// Reads and checks the settings, then runs them, or proves that they resume.
    pub fn execute<T: DeserializeOwned>(
        &self,
        check: impl FnOnce(&T) -> Result<()>,
        run: impl FnOnce(&Self, &T) -> Result<()>,
    ) -> Result<()> {
        let config: T = crate::load_config(self.config.as_deref(), &self.sets)?;
        check(&config)?;
        match self.verify_resume {
            Some(kills) => print(&crate::verify_resume(self, kills)?),
            None => run(self, &config),
        }
    }

    /// The run's directory, which must not be there unless it is resumed; `default` without `--run`.
    pub fn directory(&self, default: &str) -> Result<PathBuf> {
        let dir = self.run.clone().unwrap_or_else(|| default.into());
        if !self.resume && dir.exists() {
            bail!(
                "{} exists; continue it with --resume or choose another --run",
                dir.display()
            );
        }
        Ok(dir)
    }
}

/// What a training binary does beside training.
#[derive(clap::Subcommand, Clone, Debug)]
pub enum Task {
    /// Predict memory, disk, tokens, steps and learning rate of a run, without loading a weight
    Plan(PlanArgs),
}

/// The arguments of `plan`.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(
    after_help = "Example: plan a LLaMA-7B run for a card of 24 GB; the directory needs config.json and the tokenizer, no weights
  plan --config configs/llama-7b/sft.toml --set model.source=models/llama-7b --memory-gb 24

Exits with 2 and one line where the run cannot fit."
)]
pub struct PlanArgs {
    /// TOML file with the run's settings
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Override one setting (repeatable)
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Run directory that would be created; its file system must have room
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
    /// Memory to stay within, GB (10⁹ bytes): train.memory_gb
    #[arg(long, value_name = "GB")]
    pub memory_gb: Option<f64>,
    /// Print everything as JSON, the learning rate of every step included
    #[arg(long)]
    pub json: bool,
}

impl PlanArgs {
    /// The settings with `--memory-gb` among them.
    pub fn load_config<T: DeserializeOwned>(&self) -> Result<T> {
        let limit = self.memory_gb.map(|gb| format!("train.memory_gb={gb:?}"));
        let sets: Vec<String> = self.sets.iter().cloned().chain(limit).collect();
        crate::load_config(self.config.as_deref(), &sets)
    }
}

/// The reader of our standard output went away (`… | head`): not a failure.
#[derive(Debug)]
struct StdoutClosed;

impl std::fmt::Display for StdoutClosed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("standard output is closed")
    }
}

impl std::error::Error for StdoutClosed {}

/// Writes to standard output, as it is (no newline is added). When its reader has gone, the error makes [`exit`] end
/// the process quietly with 0; `println!` would panic.
pub fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Err(StdoutClosed.into()),
        other => Ok(other?),
    }
}

/// What a binary's `main` is: checks what every pipeline stands on, the number of threads and what `kernels` ask of the machine (an
/// error is one line), then runs it.
pub fn main(
    kernels: impl FnOnce() -> Result<(), String>,
    pipeline: impl FnOnce() -> Result<()>,
) -> ExitCode {
    let stands = || kernels().map_err(anyhow::Error::msg);
    exit(
        check_threads()
            .and_then(|()| stands())
            .and_then(|()| pipeline()),
    )
}

/// Turns a result into the process's exit: a clean error prints one line `error: …` and exits 2.
pub fn exit(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<StdoutClosed>() => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing can be done when stderr is gone too.
            let _ = writeln!(std::io::stderr(), "error: {}", one_line(&error));
            ExitCode::from(2)
        }
    }
}

/// Refuses a number of threads that the machine does not have; rayon would take 0 and words for its default in silence.
fn check_threads() -> Result<()> {
    const NAME: &str = "RAYON_NUM_THREADS";
    let Some(given) = std::env::var_os(NAME) else {
        return Ok(());
    };
    let given = given.to_string_lossy();
    let most = std::thread::available_parallelism().map_or(usize::MAX, usize::from);
    match given.trim().parse::<usize>() {
        Ok(n) if (1..=most).contains(&n) => Ok(()),
        Ok(0) => bail!("{NAME} = 0: work needs a thread; give 1 to {most}, or unset it"),
        Ok(n) => bail!(
            "{NAME} = {n} is more than this machine's {most} threads; give 1 to {most}, or unset it"
        ),
        Err(_) => {
            bail!("{NAME} = {given:?} is not a number of threads; give 1 to {most}, or unset it")
        }
    }
}

/// The error and its causes as one line, `error: cause: cause`. A cause that the text before it already quotes is left
/// out, and so are the frames that candle prints below its message under RUST_BACKTRACE.
pub fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let text = flatten(&cause.to_string());
        if line.is_empty() {
            line = text;
        } else if !text.is_empty() && !line.contains(&text) {
            line = format!("{line}: {text}");
        }
    }
    line
}

fn flatten(message: &str) -> String {
    let is_frame = |line: &str| {
        line.trim_start()
            .split_once(": ")
            .is_some_and(|(n, _)| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    message
        .lines()
        .take_while(|line| !is_frame(line))
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}
