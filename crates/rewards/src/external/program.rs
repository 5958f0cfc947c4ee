//! A program that speaks JSON lines: a request `{"id": N, …}` and one reply line `{"id": N, …}`.
//!
//! It is started once and answers for the whole run. If it exits, is silent, or writes a line that
//! is not a JSON object, has another id or is refused by the caller, it is killed, restarted and
//! asked again, up to [`RetryPolicy::retries`] times. Then the error is that of the last attempt.

use super::child::Child;
use super::scores::read_reply;
use crate::{Error, Result};
use serde_json::{Map, Value};
use std::thread::sleep;
use std::time::Duration;

/// Timeout and retries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Of one reply
    pub timeout: Duration,
    /// Attempts after the first
    pub retries: usize,
}

/// An external program.
pub struct Program {
    command: Vec<String>,
    retry: RetryPolicy,
    child: Option<Child>,
    /// Id of the next request
    id: u64,
}

impl Program {
    /// Starts it. `command`: program and arguments; no shell is involved.
    pub fn start(command: &[String], retry: RetryPolicy) -> Result<Self> {
        let mut program = Self {
            command: command.to_vec(),
            retry,
            child: None,
            id: 0,
        };
        program.open().map_err(Error::External)?;
        Ok(program)
    }

    /// Sends `request` with an id. `read` parses the reply; its error counts as a failed attempt.
    pub fn call<T>(
        &mut self,
        request: &Map<String, Value>,
        read: impl Fn(&Map<String, Value>) -> std::result::Result<T, String>,
    ) -> Result<T> {
        let attempts = self.retry.retries + 1;
        let mut pause = Duration::from_millis(100);
        for attempt in 1..=attempts {
            let why = match self.attempt(request, &read) {
                Ok(answer) => return Ok(answer),
                Err(why) => why,
            };
            // A late answer would belong to no request.
            if let Some(mut child) = self.child.take() {
                child.kill();
            }
            let name = self.name();
            if attempt == attempts {
                return Err(Error::External(match attempts {
                    1 => format!("{name} failed: {why}"),
                    n => format!("{name} failed {n} times; the last time {why}"),
                }));
            }
            run::say!("{name}: {why} (attempt {attempt} of {attempts}); restarting it");
            sleep(pause);
            pause = (2 * pause).min(Duration::from_secs(10));
        }
        unreachable!("the loop ends at the last attempt")
    }

    fn attempt<T>(
        &mut self,
        request: &Map<String, Value>,
        read: impl Fn(&Map<String, Value>) -> std::result::Result<T, String>,
    ) -> std::result::Result<T, String> {
        let id = self.id;
        self.id += 1;
        let mut line = Map::from_iter([("id".to_string(), id.into())]);
        line.extend(request.clone());
        let mut line = serde_json::to_vec(&line).map_err(|e| e.to_string())?;
        line.push(b'\n');
        let timeout = self.retry.timeout;
        let reply = self.open()?.ask(line, timeout)?;
        read(&read_reply(&reply, id)?)
    }

    /// The running program, started if there is none.
    fn open(&mut self) -> std::result::Result<&mut Child, String> {
        if self.child.is_none() {
            let child = Child::spawn(&self.command)
                .map_err(|e| format!("{} cannot be started: {e}", self.name()))?;
            self.child = Some(child);
        }
        Ok(self.child.as_mut().expect("just started"))
    }

    fn name(&self) -> String {
        format!("the program `{}`", self.command.join(" "))
    }
}
