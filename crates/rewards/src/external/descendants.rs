//! The processes that a program started and that left its process group, by `setsid` or as daemons.
//! They are known by a mark in their environment, which every process hands on to those it starts.
//! Linux only: elsewhere they are not found.

use rustix::process::{Pid, Signal, kill_process};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

/// The variable of the mark.
pub(super) const VARIABLE: &str = "WICK_REWARD_PROGRAM";
/// Looks for processes that appear meanwhile, or are slow to end.
const MAX_ROUNDS: usize = 50;

/// A mark that no other program has.
pub(super) fn new_mark() -> String {
    static N_MARKS: AtomicU64 = AtomicU64::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = now.map_or(0, |now| now.as_nanos());
    let n = N_MARKS.fetch_add(1, Ordering::Relaxed);
    format!("{}-{n}-{nanos}", std::process::id())
}

/// Kills the processes that have the mark, until there are none.
pub(super) fn kill_marked(mark: &str) {
    let entry = format!("{VARIABLE}={mark}").into_bytes();
    for _ in 0..MAX_ROUNDS {
        let mut n_found = 0;
        for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let name = process.file_name();
            let pid = name.to_str().and_then(|name| name.parse().ok());
            let Some(pid) = pid.and_then(Pid::from_raw) else {
                continue;
            };
            // Of a process of another user, or that has ended, it cannot be read or is empty.
            let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
            if environment
                .split(|byte| *byte == 0)
                .any(|found| found == entry)
            {
                n_found += 1;
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        if n_found == 0 {
            return;
        }
        sleep(Duration::from_millis(2));
    }
}
