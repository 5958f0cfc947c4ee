//! Ctrl-C and SIGTERM: the first asks the loops to stop after the current step, the second ends the
//! process with exit code 130. SIGHUP is not handled, so that `nohup` works.

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();
static ANNOUNCED: AtomicBool = AtomicBool::new(false);
/// A run ended before its last step, since a signal asked for it.
static STOPPED_EARLY: AtomicBool = AtomicBool::new(false);

/// Installs the handlers that make [`stop_requested`] true. `Run` calls it; other long loops may.
/// Further calls do nothing.
pub fn stop_on_signals() -> Result<()> {
    let mut installed = Ok(());
    STOP.get_or_init(|| {
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // In this order: the second signal finds the flag that the first one set.
            let handlers =
                flag::register_conditional_shutdown(signal, STOPPED.into(), Arc::clone(&stop))
                    .and_then(|_| flag::register(signal, Arc::clone(&stop)));
            if let Err(e) = handlers {
                installed = Err(e);
            }
        }
        stop
    });
    installed.context("cannot handle Ctrl-C")
}

/// Whether the user asked to stop. Loops check it once per step, then save a checkpoint and return.
/// The first `true` is announced on stderr.
pub fn stop_requested() -> bool {
    let stop = signalled();
    if stop && !ANNOUNCED.swap(true, Ordering::Relaxed) {
        crate::say!("stopping: saving the state (press Ctrl-C again to quit without saving)");
    }
    stop
}

/// [`stop_requested`] without the announcement, for what has no state to save.
pub(crate) fn signalled() -> bool {
    STOP.get().is_some_and(|stop| stop.load(Ordering::Relaxed))
}

/// The error of a command that a signal ended, and that saved nothing to go on from.
#[derive(Debug)]
pub struct StoppedBySignal(pub String);

impl std::fmt::Display for StoppedBySignal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StoppedBySignal {}

/// Makes [`exit_code`] that of a command which a signal ended.
pub(crate) fn note_stopped_early() {
    STOPPED_EARLY.store(true, Ordering::Relaxed);
}

/// The exit code of a command that a signal ended.
pub(crate) const STOPPED: u8 = 130;

/// The exit code of a command without an error: 0, or 130 if a signal stopped its run early, so
/// that `wick sft … && wick rm …` does not go on with half a run.
pub(crate) fn exit_code() -> u8 {
    match STOPPED_EARLY.load(Ordering::Relaxed) {
        true => STOPPED,
        false => 0,
    }
}
