//! A binary as a process: standard output, the error line, the exit code, the number of threads.

use anyhow::{Result, bail};
use std::io::Write;
use std::process::ExitCode;

/// The reader of standard output closed it (`… | head`). That is not a failure.
#[derive(Debug)]
struct StdoutClosed;

impl std::fmt::Display for StdoutClosed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("standard output is closed")
    }
}

impl std::error::Error for StdoutClosed {}

/// Writes `text` to standard output and adds no newline.
///
/// If the reader has closed the pipe, the error makes [`exit`] end the process quietly with 0,
/// where `println!` would panic.
pub fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Err(StdoutClosed.into()),
        other => Ok(other?),
    }
}

/// The body of a binary's `main`: checks the number of threads, lets `prepare` check the machine,
/// then runs `pipeline`. An error is one line and exit code 2.
pub fn main(
    prepare: impl FnOnce() -> Result<(), String>,
    pipeline: impl FnOnce() -> Result<()>,
) -> ExitCode {
    let prepared = check_threads().and_then(|()| prepare().map_err(anyhow::Error::msg));
    exit(prepared.and_then(|()| pipeline()))
}

/// Turns a result into an exit code. An error prints one line `error: …` to stderr and gives 2.
pub fn exit(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<StdoutClosed>() => ExitCode::SUCCESS,
        Err(error) => {
            // If stderr is closed too, nobody can be told.
            let _ = writeln!(std::io::stderr(), "error: {}", one_line(&error));
            ExitCode::from(2)
        }
    }
}

/// Checks RAYON_NUM_THREADS. Rayon itself would silently use its default for 0 or for a word.
fn check_threads() -> Result<()> {
    const NAME: &str = "RAYON_NUM_THREADS";
    let Some(given) = std::env::var_os(NAME) else {
        return Ok(());
    };
    let given = given.to_string_lossy();
    let most = std::thread::available_parallelism().map_or(usize::MAX, usize::from);
    match given.trim().parse::<usize>() {
        Ok(n) if (1..=most).contains(&n) => Ok(()),
        Ok(0) => bail!("{NAME} = 0; set it to 1 to {most}, or unset it"),
        Ok(n) => bail!(
            "{NAME} = {n}, but this machine has {most} threads; set it to 1 to {most}, or unset it"
        ),
        Err(_) => {
            bail!(
                "{NAME} = {given:?} is not a number of threads; set it to 1 to {most}, or unset it"
            )
        }
    }
}

/// The error and its causes as one line, `error: cause: cause`.
///
/// A cause that the preceding text already quotes is left out, and so are the stack frames that
/// candle appends to its messages under RUST_BACKTRACE.
///
/// ```
/// let error = anyhow::anyhow!("no such file").context("cannot read a.json");
/// assert_eq!(run::one_line(&error), "cannot read a.json: no such file");
/// ```
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
