//! A program asked by JSON lines: a request `{"id": N, …}` and one reply line `{"id": N, …}`.
//!
//! It is started once and answers for the whole run. Death, silence, a line that is no JSON object, another id and a reply that
//! the caller does not take are alike: the program is killed, started again and asked again, so often as was agreed; then the
//! error says what happened last.

use super::child::Child;
use super::scores::read_reply;
use crate::{Error, Result};
use serde_json::{Map, Value};
use std::thread::sleep;
use std::time::Duration;

/// How long to wait, and how often to try again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// For one reply
    pub timeout: Duration,
    /// Attempts after the first
    pub retries: usize,
}

pub struct Program {
    command: Vec<String>,
    patience: RetryPolicy,
    child: Option<Child>,
    /// Of the next request.
    id: u64,
}

impl Program {
    /// Starts it. `command`: program and arguments; no shell reads them.
    pub fn start(command: &[String], patience: RetryPolicy) -> Result<Self> {
        let mut program = Self {
            command: command.to_vec(),
            patience,
            child: None,
            id: 0,
        };
        program.open().map_err(Error::External)?;
        Ok(program)
    }

    /// Asks `request`, to which the id is added. `read` takes what it wants from the reply or says why that cannot be.
    pub fn call<T>(
        &mut self,
        request: &Map<String, Value>,
        read: impl Fn(&Map<String, Value>) -> std::result::Result<T, String>,
    ) -> Result<T> {
        let attempts = self.patience.retries + 1;
        let mut pause = Duration::from_millis(100);
        for attempt in 1..=attempts {
            let why = match self.attempt(request, &read) {
                Ok(answer) => return Ok(answer),
                Err(why) => why,
            };
            // Whatever it may still say belongs to no request.
            if let Some(mut child) = self.child.take() {
                child.kill();
            }
            let name = self.name();
            if attempt == attempts {
                return Err(Error::External(format!(
                    "{name} failed {attempts} times; the last time {why}"
                )));
            }
            eprintln!(
                "{name}: {why} (attempt {attempt} of {attempts}); it is killed and started again"
            );
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
        let timeout = self.patience.timeout;
        let reply = self.open()?.ask(line, timeout)?;
        read(&read_reply(&reply, id)?)
    }

    /// The running program; started where there is none.
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
