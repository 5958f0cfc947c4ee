//! Progress of a loop on stderr: a bar on a terminal, a plain line every few seconds elsewhere
//! (logs, pipes, CI).

use crate::say::{printable, say};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

const LINE_EVERY: Duration = Duration::from_secs(5);

/// Progress with tokens/s and the remaining time, on stderr.
pub struct Progress {
    what: String,
    total: u64,
    /// Position at which this process started; above 0 in a resumed run.
    first: u64,
    position: u64,
    tokens: u64,
    began: Instant,
    last_line: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Starts at 0 of `total`; `what` names the work.
    pub fn new(what: &str, total: u64) -> Self {
        let now = Instant::now();
        let what = printable(what);
        let bar = std::io::stderr().is_terminal().then(|| bar(&what, total));
        Self {
            what,
            total,
            first: 0,
            position: 0,
            tokens: 0,
            began: now,
            last_line: now,
            bar,
        }
    }

    /// Like [`new`](Self::new), for work of which `first` was done by an earlier process; the
    /// remaining time does not count it.
    pub fn starting_at(what: &str, total: u64, first: u64) -> Self {
        let progress = Self {
            first,
            position: first,
            ..Self::new(what, total)
        };
        if let Some(bar) = &progress.bar {
            bar.set_position(first);
        }
        progress
    }

    /// Sets the position. `tokens` is the number since the last call, `message` a short text such
    /// as `loss 1.234`.
    pub fn update(&mut self, position: u64, tokens: u64, message: &str) {
        self.position = position;
        self.tokens += tokens;
        let done = position.saturating_sub(self.first);
        let left = self.total.saturating_sub(position);
        let text = status(done, left, self.tokens, self.began.elapsed());
        if let Some(bar) = &self.bar {
            bar.set_position(position);
            bar.set_message(printable(&join(&text, message)));
        } else if self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            self.line(&join(&text, message));
        }
    }

    /// Prints the last line with the time taken. The position stays where the work ended.
    pub fn finish(&mut self, message: &str) {
        let elapsed = self.began.elapsed();
        let done = self.position.saturating_sub(self.first);
        let rate = status(done, 0, self.tokens, elapsed);
        let text = join(&join(&format!("in {}", duration(elapsed)), &rate), message);
        match &self.bar {
            // `finish` would move a bar that was stopped early to its end.
            Some(bar) => bar.abandon_with_message(printable(&text)),
            None => self.line(&text),
        }
    }

    fn line(&self, text: &str) {
        say(format_args!(
            "{} {}/{} {text}",
            self.what, self.position, self.total
        ));
    }
}

/// `1234 tokens/s, 2m05s left`, as far as known.
fn status(done: u64, left: u64, tokens: u64, elapsed: Duration) -> String {
    let secs = elapsed.as_secs_f64();
    let mut parts = Vec::new();
    if tokens > 0 && secs > 0.0 {
        parts.push(format!("{:.0} tokens/s", tokens as f64 / secs));
    }
    if left > 0 && done > 0 {
        // fails beyond the range of Duration (max_steps = i64::MAX means "no end")
        if let Ok(eta) = Duration::try_from_secs_f64(secs * left as f64 / done as f64) {
            parts.push(format!("{} left", duration(eta)));
        }
    }
    parts.join(", ")
}

fn join(text: &str, message: &str) -> String {
    [text, message]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("  ")
}

fn duration(duration: Duration) -> String {
    let secs = duration.as_secs_f64().round() as u64;
    match secs {
        0..60 => format!("{secs}s"),
        60..3600 => format!("{}m{:02}s", secs / 60, secs % 60),
        _ => format!("{}h{:02}m", secs / 3600, secs / 60 % 60),
    }
}

fn bar(what: &str, total: u64) -> ProgressBar {
    let (_rows, columns) = console::Term::stderr().size();
    let style = ProgressStyle::with_template(template(columns));
    let style = style
        .expect("the templates are constants")
        .progress_chars("=> ");
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    bar.with_style(style).with_prefix(what.to_string())
}

/// The bar's template for a terminal of `columns`. A line that wrapped would stay on the screen at
/// each update, so the message is cut, and a narrow terminal has no bar.
fn template(columns: u16) -> &'static str {
    match columns {
        0..60 => "{prefix} {pos}/{len} {wide_msg}",
        _ => "{prefix} {bar:20} {pos}/{len} {wide_msg}",
    }
}
