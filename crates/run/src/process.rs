//! A binary as a process: standard output, the error line, the exit code, the number of threads.

use crate::panics;
use crate::redact::redact;
use crate::say;
use crate::signals::{STOPPED, StoppedBySignal, exit_code};
use anyhow::{Context, Result, bail};
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

/// There is nothing more to do, and nothing failed: the help was printed, or the reader of standard
/// output closed it (`… | head`).
#[derive(Debug)]
struct NothingMore;

impl std::fmt::Display for NothingMore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("nothing more to do")
    }
}

impl std::error::Error for NothingMore {}

/// Writes `text` to standard output, without secrets, and adds no newline.
///
/// If the reader has closed the pipe, the error makes [`exit`] end the process quietly with 0,
/// where `println!` would panic.
pub fn print(text: &str) -> Result<()> {
    print_to(&mut std::io::stdout().lock(), text)
}

/// [`print()`], to what takes the place of standard output.
pub fn print_to(out: &mut impl Write, text: &str) -> Result<()> {
    let text = redact(text);
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Err(NothingMore.into()),
        other => other.context("cannot write to standard output"),
    }
}

/// The parsed command line. The help is printed here; an error is one line.
pub fn parsed<T>(result: Result<T, clap::Error>) -> Result<T> {
    let error = match result {
        Ok(parsed) => return Ok(parsed),
        Err(error) => error,
    };
    if !error.use_stderr() {
        let help = error.render();
        print(&match std::io::stdout().is_terminal() {
            true => help.ansi().to_string(),
            false => help.to_string(),
        })?;
        return Err(NothingMore.into());
    }
    bail!(clap_line(&error))
}

/// clap's message in one line: what is wrong, the tip, and where the help is.
fn clap_line(error: &clap::Error) -> String {
    use clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    let text = error.render().to_string();
    let usage = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("Usage: "));
    let is_name = |word: &&str| !word.starts_with(['-', '<', '[']);
    let words = usage.unwrap_or_default().split_whitespace();
    let command: Vec<&str> = words.take_while(is_name).collect();
    let help = match command[..] {
        [] => "--help lists what can be given".to_string(),
        _ => format!("see `{} --help`", command.join(" ")),
    };
    if error.kind() == DisplayHelpOnMissingArgumentOrSubcommand {
        return format!("an argument or a command is missing; {help}");
    }
    let mut line = String::new();
    let end = |l: &&str| !l.starts_with("Usage:") && !l.starts_with("For more information");
    for part in text.lines().map(str::trim).take_while(end) {
        let part = part.strip_prefix("error: ").unwrap_or(part);
        if part.is_empty() {
            continue;
        }
        let joint = if line.is_empty() {
            ""
        } else if line.ends_with(':') {
            " "
        } else if part.starts_with(['-', '<']) {
            ", "
        } else {
            "; "
        };
        line = format!("{line}{joint}{part}");
    }
    format!("{line}; {help}")
}

/// The body of a binary's `main`: checks the number of threads, lets `prepare` check the machine,
/// then runs `pipeline`. An error is one line and exit code 2.
pub fn main(
    prepare: impl FnOnce() -> Result<(), String>,
    pipeline: impl FnOnce() -> Result<()>,
) -> ExitCode {
    panics::report();
    let prepared = check_threads().and_then(|()| prepare().map_err(anyhow::Error::msg));
    exit(prepared.and_then(|()| pipeline()))
}

/// Turns a result into an exit code. An error prints one line `error: …` to stderr and gives 2; a
/// command that Ctrl-C or SIGTERM stopped gives 130.
pub fn exit(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::from(exit_code()),
        Err(error) if error.is::<NothingMore>() => ExitCode::SUCCESS,
        Err(error) if error.is::<StoppedBySignal>() => {
            say!("{}", one_line(&error));
            ExitCode::from(STOPPED)
        }
        Err(error) => {
            say!("error: {}", one_line(&error));
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
    match line.is_empty() {
        true => "an error without a message".to_string(),
        false => line,
    }
}

fn flatten(message: &str) -> String {
    // Frames are indented and never first; a path may begin with a number and a colon.
    let is_frame = |(n, line): &(usize, &str)| {
        let number = line.trim_start().split_once(": ").map(|(number, _)| number);
        *n > 0
            && line.starts_with(' ')
            && number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    message
        .lines()
        .enumerate()
        .take_while(|line| !is_frame(line))
        .map(|(_, line)| line)
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}
