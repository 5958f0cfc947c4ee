//! Running one side of a comparison: a process whose output ends with one line of JSON.

use crate::setup::Setup;
use crate::timing::Timing;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Runs a program of scripts/bench/peers.
pub(crate) fn python(setup: &Setup, program: &str, steps: usize, job: Value) -> Result<Timing> {
    answer(command(setup, program, steps, job)?)
}

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
    job["program"] = whole(&setup.peers.join("llama.cpp/bin/llama-batched-bench"))?;
    if let Some(rows) = job["rows"].as_str() {
        job["rows"] = whole(Path::new(rows))?;
    }
    let mut command = Command::new(setup.peers.join("env/bin/python"));
    command
        .arg(Path::new("scripts/bench/peers").join(program))
        .arg(job.to_string());
    Ok(command)
}

/// Runs a process and parses the last line of its output that is JSON.
pub(crate) fn answer<T: serde::de::DeserializeOwned>(command: Command) -> Result<T> {
    let out = finish(command)?;
    let line = out.lines().rev().find(|line| line.starts_with('{'));
    let line = line.context("the process printed no line of JSON")?;
    serde_json::from_str(line).with_context(|| format!("unexpected output: {line}"))
}

/// Runs a process and returns its output. On failure the error shows the last lines of its stderr.
pub(crate) fn finish(mut command: Command) -> Result<String> {
    let shown = format!("{:?}", command.get_program());
    let out = command.output().with_context(|| shown.clone())?;
    if !out.status.success() {
        let stderr = String::from_utf8_lossy(&out.stderr);
        let last: Vec<&str> = stderr.lines().rev().take(5).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        bail!("{shown} ended with {}: {}", out.status, last.join(" | "));
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}
