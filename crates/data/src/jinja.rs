//! Chat templates as transformers renders them (`apply_chat_template`: `trim_blocks`,
//! `lstrip_blocks`, `raise_exception`, `strftime_now`, Python's string methods and `json.dumps`),
//! on minijinja.
//!
//! A template comes with a downloaded model and is not trusted. It has no loader, so it reads no
//! files. Its steps, time, memory, output and nesting are limited.

mod environment;
mod strftime;

use crate::{Error, Message, Result};
use environment::environment;
use minijinja::value::Serde;
use minijinja::{ErrorKind, context};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Instructions of minijinja's virtual machine. A conversation of a thousand turns needs about a
/// hundred thousand.
const FUEL: u64 = 1_000_000;

/// The largest known templates have about ten thousand bytes.
const MAX_SOURCE_BYTES: usize = 1 << 17;

/// The engine recurses into expressions and lists as deep as `MAX_SOURCE_BYTES` and `FUEL` allow,
/// with a few hundred bytes per level. The stack is only address space until it is used.
const STACK_BYTES: usize = 1 << 30;

/// Limit of the output, in addition to four times the conversation.
const MAX_TEXT_BYTES: usize = 1 << 20;

/// One instruction may walk a long sequence or double a string, so `FUEL` bounds neither time nor
/// memory.
const MAX_TIME: Duration = Duration::from_secs(10);
const MAX_GROWTH_BYTES: u64 = 2 << 30;
/// Time before the first check. Rendering takes microseconds, and other threads allocate too.
const FIRST_CHECK: Duration = Duration::from_millis(250);
const CHECK_EVERY: Duration = Duration::from_millis(10);

/// Renders in a thread of its own. A thread that exceeds the limits is abandoned, since the error
/// ends the process soon.
pub(crate) fn render(
    source: &str,
    messages: &[Message],
    bos: &str,
    eos: &str,
    add_generation_prompt: bool,
) -> Result<String> {
    if source.len() > MAX_SOURCE_BYTES {
        return Err(Error(format!(
            "chat template: {} bytes long, more than the limit of {MAX_SOURCE_BYTES}",
            source.len()
        )));
    }
    let (source, messages) = (source.to_string(), messages.to_vec());
    let (bos, eos) = (bos.to_string(), eos.to_string());
    let (sender, receiver) = mpsc::sync_channel(1);
    let work = move || {
        let _ = sender.send(render_here(
            &source,
            &messages,
            &bos,
            &eos,
            add_generation_prompt,
        ));
    };
    let started = std::thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(work);
    started.map_err(|e| Error(format!("chat template: cannot start a thread: {e}")))?;
    let (began, before) = (Instant::now(), run::resident_memory_bytes());
    let mut wait = FIRST_CHECK;
    loop {
        match receiver.recv_timeout(wait) {
            Ok(rendered) => return rendered,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error("chat template: the template engine crashed".into()));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        if began.elapsed() > MAX_TIME {
            let secs = MAX_TIME.as_secs();
            return Err(Error(format!(
                "chat template: does not finish within {secs} s"
            )));
        }
        if run::resident_memory_bytes().saturating_sub(before) > MAX_GROWTH_BYTES {
            return Err(Error(
                "chat template: uses more than 2 GiB of memory".into(),
            ));
        }
        wait = CHECK_EVERY;
    }
}

fn render_here(
    source: &str,
    messages: &[Message],
    bos: &str,
    eos: &str,
    add_generation_prompt: bool,
) -> Result<String> {
    let source = without_generation_tags(source);
    let mut environment = environment();
    environment.set_fuel(Some(FUEL));
    let template = environment.template_from_str(&source).map_err(failed)?;
    let values = context! {
        messages => Serde(messages), add_generation_prompt, bos_token => bos, eos_token => eos,
        tools => (), documents => (),
    };
    let asked: usize = messages.iter().map(|m| m.content.len()).sum();
    let mut output = BoundedOutput {
        bytes: Vec::new(),
        n_bytes_left: MAX_TEXT_BYTES + 4 * asked,
    };
    template
        .render_captured_to(values, &mut output)
        .map_err(failed)?;
    Ok(String::from_utf8_lossy(&output.bytes).into_owned())
}

/// Collects the output up to a size.
struct BoundedOutput {
    bytes: Vec<u8>,
    n_bytes_left: usize,
}

impl std::io::Write for BoundedOutput {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.n_bytes_left = self
            .n_bytes_left
            .checked_sub(text.len())
            .ok_or(std::io::ErrorKind::FileTooLarge)?;
        self.bytes.extend_from_slice(text);
        Ok(text.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn failed(error: minijinja::Error) -> Error {
    Error(match error.kind() {
        ErrorKind::OutOfFuel => "chat template: does not finish within the limit of steps".into(),
        ErrorKind::WriteFailure => {
            "chat template: writes more than 1 MiB plus four times the conversation".into()
        }
        kind => {
            let line = error
                .line()
                .map(|n| format!(" (line {n})"))
                .unwrap_or_default();
            let what = error
                .detail()
                .map_or_else(|| kind.to_string(), str::to_string);
            format!("chat template{line}: {what}")
        }
    })
}

/// Replaces `{% generation %}`, which marks the assistant's tokens for transformers' masks and
/// prints nothing.
fn without_generation_tags(source: &str) -> String {
    let mut text = source.to_string();
    for (tag, block) in [("generation", "if true"), ("endgeneration", "endif")] {
        for (open, close) in [("{%", "%}"), ("{%-", "%}"), ("{%", "-%}"), ("{%-", "-%}")] {
            let from = format!("{open} {tag} {close}");
            text = text.replace(&from, &format!("{open} {block} {close}"));
        }
    }
    text
}
