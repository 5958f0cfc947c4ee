//! Running a side: a process that ends with one line of JSON.

use crate::stage_run::Timing;
use crate::work::Place;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// A program of scripts/bench/peers with its job.
pub(crate) fn python(place: &Place, program: &str, steps: usize, job: Value) -> Result<Timing> {
    answer(command(place, program, steps, job)?)
}

pub(crate) fn command(
    place: &Place,
    program: &str,
    steps: usize,
    mut job: Value,
) -> Result<Command> {
    let whole = |path: &Path| -> Result<Value> {
        let path = std::path::absolute(path)?;
        Ok(path.to_string_lossy().into())
    };
    job["threads"] = place.threads.into();
    job["steps"] = steps.into();
    job["model"] = whole(&place.model())?;
    job["out"] = whole(&place.peers.join("runs/peer"))?;
    if let Some(gguf) = job["gguf"].as_str() {
        job["gguf"] = whole(&place.peers.join(gguf))?;
    }
    job["program"] = whole(&place.peers.join("llama.cpp/bin/llama-batched-bench"))?;
    if let Some(rows) = job["rows"].as_str() {
        job["rows"] = whole(Path::new(rows))?;
    }
    let mut command = Command::new(place.peers.join("env/bin/python"));
    command
        .arg(Path::new("scripts/bench/peers").join(program))
        .arg(job.to_string());
    Ok(command)
}

/// The last line of a process's output that is JSON.
pub(crate) fn answer<T: serde::de::DeserializeOwned>(command: Command) -> Result<T> {
    let out = finish(command)?;
    let line = out.lines().rev().find(|line| line.starts_with('{'));
    let line = line.context("the process ended without a line of JSON")?;
    serde_json::from_str(line).with_context(|| format!("not what was expected: {line}"))
}

/// Runs a process to its end and gives its output; a failure shows the end of what it said.
pub(crate) fn finish(mut command: Command) -> Result<String> {
    let shown = format!("{:?}", command.get_program());
    let out = command.output().with_context(|| shown.clone())?;
    if !out.status.success() {
        let said = String::from_utf8_lossy(&out.stderr);
        let last: Vec<&str> = said.lines().rev().take(5).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        bail!("{shown} ended with {}: {}", out.status, last.join(" | "));
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}
