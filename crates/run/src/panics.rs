//! Panics: reported in one line, or caught where a library panics on damaged files.

use crate::say;
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook};

thread_local! {
    /// Whether a panic of this thread is caught by [`catch_panic`].
    static IS_CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// From now on a panic is one line on stderr.
pub(crate) fn report() {
    set_hook(Box::new(report_panic));
}

/// A panic is a fault of this program: one line that says where.
fn report_panic(panic: &PanicHookInfo<'_>) {
    if IS_CAUGHT.get() {
        return;
    }
    let what = panic.payload_as_str().unwrap_or("no message");
    let at = panic.location().map(ToString::to_string);
    say!(
        "error: internal error at {}: {what}; please report it with the command you ran",
        at.as_deref().unwrap_or("an unknown place")
    );
    if std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
        say!("{}", Backtrace::force_capture());
    }
}

/// What `work` returns; if it panics, the message of the panic, which is not reported otherwise.
/// For libraries that panic on damaged files. What `work` changed is not to be used after a panic.
///
/// ```
/// assert_eq!(run::catch_panic(|| 1), Ok(1));
/// assert_eq!(run::catch_panic(|| panic!("damaged")), Err::<(), _>("damaged".to_string()));
/// ```
pub fn catch_panic<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let before = IS_CAUGHT.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    IS_CAUGHT.set(before);
    result.map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(ToString::to_string);
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        text.unwrap_or_else(|| "no message".to_string())
    })
}
