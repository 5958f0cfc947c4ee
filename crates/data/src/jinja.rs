//! Chat templates as transformers runs them (`apply_chat_template`: `trim_blocks`, `lstrip_blocks`, `raise_exception`,
//! `strftime_now`, Python's string methods and `json.dumps`), on minijinja. A template comes with a model from somewhere:
//! it has no loader, so it reads no file, a limit of steps and of time, so it ends, and limits to what it writes, to the memory
//! it takes meanwhile and to the depth of what it nests.

mod environment;
mod strftime;

use crate::{Error, Message, Result};
use environment::environment;
use minijinja::value::Serde;
use minijinja::{ErrorKind, context};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Instructions of minijinja's machine: a conversation of a thousand turns needs some hundred thousand.
const FUEL: u64 = 1_000_000;

/// The largest templates of models known have some ten thousand bytes.
const MAX_SOURCE_BYTES: usize = 1 << 17;

/// The engine goes into expressions and lists by recursion, as deep as `MAX_SOURCE_BYTES` and `FUEL` let them be: some hundred
/// bytes for each level. Address space alone, until it is used.
const STACK_BYTES: usize = 1 << 30;

/// What a template may write, beside four times the conversation.
const MAX_TEXT_BYTES: usize = 1 << 20;

/// One instruction may go over a long sequence, and texts may be doubled, so steps bound neither time nor memory.
const MAX_TIME: Duration = Duration::from_secs(10);
const MAX_GROWTH_BYTES: u64 = 2 << 30;
/// Until then it is not looked at: rendering takes microseconds, and other threads allocate, too.
const PATIENCE: Duration = Duration::from_millis(250);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Renders in a thread of its own, which is left behind where it goes beyond the limits: the error ends the process soon.
pub(crate) fn render(
    source: &str,
    messages: &[Message],
    bos: &str,
    eos: &str,
    add_generation_prompt: bool,
) -> Result<String> {
    if source.len() > MAX_SOURCE_BYTES {
        return Err(Error(format!(
            "chat template: {} bytes long, more than {MAX_SOURCE_BYTES}",
            source.len()
        )));
    }
    let (source, messages) = (source.to_string(), messages.to_vec());
    let (bos, eos) = (bos.to_string(), eos.to_string());
    let (give, take) = mpsc::sync_channel(1);
    let work = move || {
        let _ = give.send(render_here(
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
    started.map_err(|e| Error(format!("chat template: no thread for it: {e}")))?;
    let (began, before) = (Instant::now(), run::resident_memory_bytes());
    let mut wait = PATIENCE;
    loop {
        match take.recv_timeout(wait) {
            Ok(rendered) => return rendered,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error("chat template: it breaks the template engine".into()));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        if began.elapsed() > MAX_TIME {
            let secs = MAX_TIME.as_secs();
            return Err(Error(format!(
                "chat template: does not end within {secs} s"
            )));
        }
        if run::resident_memory_bytes().saturating_sub(before) > MAX_GROWTH_BYTES {
            return Err(Error(
                "chat template: takes more than 2 GiB of memory".into(),
            ));
        }
        wait = LOOK_EVERY;
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
    let mut page = Page {
        bytes: Vec::new(),
        left: MAX_TEXT_BYTES + 4 * asked,
    };
    template
        .render_captured_to(values, &mut page)
        .map_err(failed)?;
    Ok(String::from_utf8_lossy(&page.bytes).into_owned())
}

/// What is rendered, up to a size.
struct Page {
    bytes: Vec<u8>,
    left: usize,
}

impl std::io::Write for Page {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.left = self
            .left
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
        ErrorKind::OutOfFuel => "chat template: does not end within its limit of steps".into(),
        ErrorKind::WriteFailure => {
            "chat template: writes more than four times the conversation and 1 MiB".into()
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

/// `{% generation %}` marks the assistant's tokens for transformers' masks and prints nothing.
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
