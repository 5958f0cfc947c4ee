//! Ctrl-C and SIGTERM: the first asks the loops to stop at the next step, the second ends the process with 130.
//! SIGHUP is left alone, so that `nohup` works.

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();
static SAID: AtomicBool = AtomicBool::new(false);

/// From here on a signal sets [`stop_requested`]. [`Run`](crate::Run) calls it; other long loops may. Again is harmless.
pub fn stop_on_signals() -> Result<()> {
    let mut installed = Ok(());
    STOP.get_or_init(|| {
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // In this order: the second signal finds the flag set by the first.
            let handlers = flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop))
                .and_then(|_| flag::register(signal, Arc::clone(&stop)));
            if let Err(e) = handlers {
                installed = Err(e);
            }
        }
        stop
    });
    installed.context("cannot listen for Ctrl-C")
}

/// Whether the user has asked to stop. Loops ask once a step, then save a checkpoint and return; the first `true` is
/// announced on stderr.
pub fn stop_requested() -> bool {
    let stop = STOP.get().is_some_and(|stop| stop.load(Ordering::Relaxed));
    if stop && !SAID.swap(true, Ordering::Relaxed) {
        eprintln!("stopping: saving the state (a second Ctrl-C ends at once, without)");
    }
    stop
}
