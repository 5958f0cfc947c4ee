//! Running one side of a comparison: a process whose output ends with one line of JSON.

use crate::setup::Setup;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The command of a program of scripts/bench/peers; its only argument is the job, as JSON.
pub(crate) fn command(
    setup: &Setup,
    program: &str,
    steps: usize,
    mut job: Value,
) -> Result<Command> {
    let whole = |path: &Path| -> Result<Value> {
        let path = std::path::absolute(path)?;
        Ok(path.to_string_lossy().into())
    };
    job["threads"] = setup.threads.into();
    job["steps"] = steps.into();
    job["model"] = whole(&setup.model())?;
    job["out"] = whole(&setup.peers.join("runs/peer"))?;
    if let Some(gguf) = job["gguf"].as_str() {
        job["gguf"] = whole(&setup.peers.join(gguf))?;
    }
    job["program"] = whole(&setup.llama_cpp())?;
    if let Some(rows) = job["rows"].as_str() {
        job["rows"] = whole(Path::new(rows))?;
    }
    let mut command = setup.python();
    command
        .arg(Path::new("scripts/bench/peers").join(program))
        .arg(job.to_string());
    Ok(command)
}

/// Runs a process and parses the last line of its output that is JSON.
pub(crate) fn answer<T: serde::de::DeserializeOwned>(command: Command) -> Result<T> {
    answer_within(command, None)
}

/// [`answer`], of a process that is stopped if it takes longer than `limit`.
pub(crate) fn answer_within<T: serde::de::DeserializeOwned>(
    command: Command,
    limit: Option<Duration>,
) -> Result<T> {
    let out = output(command, limit)?;
    let line = out.lines().rev().find(|line| line.starts_with('{'));
    let line = line.context("the process printed no line of JSON")?;
    serde_json::from_str(line).with_context(|| format!("unexpected output: {line}"))
}

/// Runs a process and returns its output. On failure the error shows the last lines of its stderr.
pub(crate) fn finish(command: Command) -> Result<String> {
    output(command, None)
}

fn output(mut command: Command, limit: Option<Duration>) -> Result<String> {
    let shown = format!("{:?}", command.get_program());
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| shown.clone())?;
    let [stdout, stderr] = [reader(child.stdout.take()), reader(child.stderr.take())];
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if limit.is_some_and(|limit| began.elapsed() > limit) {
            child.kill()?;
            child.wait()?;
            bail!("stopped after {:.0} s", began.elapsed().as_secs_f64());
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let [stdout, stderr] = [stdout, stderr].map(|text| text.join().unwrap_or_default());
    if !status.success() {
        let last: Vec<&str> = stderr.lines().rev().take(5).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        bail!("{shown} ended with {status}: {}", last.join(" | "));
    }
    Ok(stdout)
}

/// Reads a pipe to its end, so that its process never waits for a reader.
fn reader(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // what came before an error is shown
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
