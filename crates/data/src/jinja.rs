//! Chat templates as transformers renders them (`apply_chat_template`: `trim_blocks`,
//! `lstrip_blocks`, `raise_exception`, `strftime_now`, Python's string methods and `json.dumps`),
//! on minijinja.
//!
//! A template comes with a downloaded model and is not trusted. It has no loader, so it reads no
//! files. Its steps, time, memory, output and nesting are limited.

mod environment;
mod floats;
mod json;
mod limits;
mod strftime;
mod tags;

use crate::{Error, Message, Result};
use environment::environment;
use limits::Limit;
use minijinja::value::Serde;
use minijinja::{ErrorKind, context};
use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};
use tags::Tags;

pub(crate) use tags::{Tagged, has_generation_tags};

/// Instructions of minijinja's virtual machine. A conversation of a thousand turns needs about a
/// hundred thousand.
const FUEL: u64 = 1_000_000;

/// The largest known templates have about ten thousand bytes.
const MAX_SOURCE_BYTES: usize = 1 << 17;

/// The engine recurses into expressions and lists as deep as `MAX_SOURCE_BYTES` and `FUEL` allow,
/// with a few hundred bytes per level. The stack is only address space until it is used.
const STACK_BYTES: usize = 1 << 30;

/// Limit of the output and of every text that a filter makes, in addition to four times the
/// conversation.
const MAX_TEXT_BYTES: usize = 1 << 20;

/// One instruction may walk a long sequence or double a string, so `FUEL` bounds neither time nor
/// memory.
const MAX_TIME: Duration = Duration::from_secs(10);
const MAX_GROWTH_BYTES: u64 = 512 << 20;
/// Rendering takes microseconds. A loop of large strings fills a gigabyte in a tenth of a second.
const CHECK_EVERY: Duration = Duration::from_millis(1);

/// Renderings at the same time, each of which may use memory.
static IN_PROGRESS: AtomicU64 = AtomicU64::new(0);

struct InProgress(Cell<u64>);

impl InProgress {
    fn begin() -> Self {
        Self(Cell::new(IN_PROGRESS.fetch_add(1, Ordering::Relaxed) + 1))
    }

    /// The most so far.
    fn most(&self) -> u64 {
        self.0
            .set(self.0.get().max(IN_PROGRESS.load(Ordering::Relaxed)));
        self.0.get()
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        IN_PROGRESS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why a thread was abandoned. It uses time and memory until the process ends, so nothing else is
/// rendered, and callers that ignore errors do not hide this one.
static ABANDONED: OnceLock<String> = OnceLock::new();

/// One turn as templates see it.
#[derive(Clone)]
pub(crate) struct Turn {
    pub message: Message,
    /// Alpaca's input, for templates that ask for it.
    pub alpaca_input: Option<String>,
}

impl From<&Message> for Turn {
    fn from(message: &Message) -> Self {
        Self {
            message: message.clone(),
            alpaca_input: None,
        }
    }
}

/// As TRL hands it over: without fields that are null. Where a call has no text, transformers alone
/// gives `content` as None, which templates print as a word.
impl serde::Serialize for Turn {
    fn serialize<S: serde::Serializer>(
        &self,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let Message {
            role,
            content,
            fields,
            ..
        } = &self.message;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("role", role)?;
        if !fields.contains_key("content") {
            map.serialize_entry("content", content)?;
        }
        if let Some(input) = &self.alpaca_input {
            map.serialize_entry("alpaca_input", input)?;
        }
        for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// What a template renders.
pub(crate) struct Rendering {
    pub source: String,
    pub turns: Vec<Turn>,
    /// What the assistant may call; none if it is empty
    pub tools: Vec<serde_json::Value>,
    pub bos: String,
    pub eos: String,
    pub add_generation_prompt: bool,
    /// The time of `strftime_now`, seconds since 1970.
    pub secs: u64,
}

/// Renders in a thread of its own. A thread that exceeds the limits is abandoned: the error, which
/// all later calls repeat, ends the process soon.
pub(crate) fn render(what: Rendering) -> Result<String> {
    render_with(what, Tags::Ignored)
}

/// Renders as [`render`], and says which text the `{% generation %}` blocks mark.
pub(crate) fn render_tagged(what: Rendering) -> Result<Tagged> {
    let tools = serde_json::Value::from(what.tools.clone()).to_string();
    let texts: Vec<_> = what.turns.iter().map(|turn| turn.message.text()).collect();
    let texts = texts.iter().map(|text| text.as_ref());
    let tags = Tags::not_in(texts.chain([what.source.as_str(), tools.as_str()]));
    tags.split(&render_with(what, tags)?)
}

fn render_with(what: Rendering, tags: Tags) -> Result<String> {
    if let Some(why) = ABANDONED.get() {
        return Err(Error(why.clone()));
    }
    if what.source.len() > MAX_SOURCE_BYTES {
        return Err(Error(format!(
            "chat template: {} bytes long, more than the limit of {MAX_SOURCE_BYTES}",
            what.source.len()
        )));
    }
    let (sender, receiver) = mpsc::sync_channel(1);
    let work = move || {
        let _ = sender.send(render_here(&what, tags));
    };
    let (began, before) = (Instant::now(), run::resident_memory_bytes());
    let in_progress = InProgress::begin();
    let started = std::thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(work);
    started.map_err(|e| Error(format!("chat template: cannot start a thread: {e}")))?;
    loop {
        match receiver.recv_timeout(CHECK_EVERY) {
            Ok(rendered) => return rendered,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error("chat template: the template engine crashed".into()));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        let exceeded = if began.elapsed() > MAX_TIME {
            format!("does not finish within {} s", MAX_TIME.as_secs())
        } else if run::resident_memory_bytes().saturating_sub(before)
            > MAX_GROWTH_BYTES * in_progress.most()
        {
            format!("uses more than {} MiB of memory", MAX_GROWTH_BYTES >> 20)
        } else {
            continue;
        };
        let why = ABANDONED.get_or_init(|| format!("chat template: {exceeded}"));
        return Err(Error(why.clone()));
    }
}

/// Whether a template exceeded its limits of time or memory.
pub(crate) fn was_abandoned() -> bool {
    ABANDONED.get().is_some()
}

fn render_here(what: &Rendering, tags: Tags) -> Result<String> {
    let source = tags.put_into(&what.source);
    let tools = serde_json::Value::from(what.tools.clone());
    let turns = what.turns.iter().map(|turn| turn.message.n_bytes());
    let asked = turns.sum::<usize>() + tools.to_string().len();
    let max_bytes = MAX_TEXT_BYTES + 4 * asked;
    let mut environment = environment(what.secs, Limit(max_bytes), tags);
    environment.set_fuel(Some(FUEL));
    let template = environment.template_from_str(&source).map_err(failed)?;
    let tools = match what.tools.is_empty() {
        true => minijinja::Value::from(()),
        false => minijinja::Value::from(Serde(&tools)),
    };
    let values = context! {
        messages => Serde(&what.turns), add_generation_prompt => what.add_generation_prompt,
        bos_token => what.bos.as_str(), eos_token => what.eos.as_str(), tools, documents => (),
    };
    let mut output = BoundedOutput::new(max_bytes);
    template
        .render_captured_to(values, &mut output)
        .map_err(failed)?;
    Ok(output.into_text())
}

/// Collects the output up to a size.
struct BoundedOutput {
    bytes: Vec<u8>,
    n_bytes_left: usize,
}

impl BoundedOutput {
    fn new(max_bytes: usize) -> Self {
        Self {
            bytes: Vec::new(),
            n_bytes_left: max_bytes,
        }
    }

    fn into_text(self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
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
