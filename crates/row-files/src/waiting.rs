//! Names a pipe from which nothing comes: opening one that nobody writes into takes for ever.

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

/// A shorter wait needs no words.
const SILENT: Duration = Duration::from_secs(1);

/// Says on stderr what is waited for, unless it is dropped before.
pub(crate) struct Waiting {
    /// Dropping it ends the wait
    _end: Sender<()>,
}

impl Waiting {
    /// None for a regular file, which is there at once.
    pub fn for_data(path: &Path) -> Option<Self> {
        if std::fs::metadata(path).is_ok_and(|found| found.is_file()) {
            return None;
        }
        let (sender, receiver) = channel();
        let shown = path.display().to_string();
        let wait = move || {
            if receiver.recv_timeout(SILENT) == Err(RecvTimeoutError::Timeout) {
                run::say!("{shown}: waiting for data: nothing has been written into it yet");
            }
        };
        // without a thread nothing is said
        let thread = thread::Builder::new().spawn(wait);
        thread.ok().map(|_| Self { _end: sender })
    }
}
