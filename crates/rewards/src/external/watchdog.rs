//! Ends a reward program that outlives this process. However this process ends, SIGKILL included,
//! its pipes close. A shell waits for that, then kills the program's process group and the
//! processes that left the group.

use super::descendants::VARIABLE;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// Waits beside one program. Dropping it ends only the shell.
pub(super) struct Watchdog(Child);

impl Watchdog {
    /// Watches over the process group of this id and the processes with the mark. These are looked
    /// for several times, as one of them may just be starting another.
    pub fn over(group: u32, mark: &str) -> io::Result<Self> {
        let script = r#"read -r _
            kill -s KILL -- "-$0"
            for round in 1 2 3 4 5; do
                for file in $(grep -lsF -- "$1" /proc/[0-9]*/environ); do
                    pid=${file#/proc/}
                    kill -s KILL "${pid%/environ}"
                done
            done"#;
        let entry = format!("{VARIABLE}={mark}");
        let shell = Command::new("/bin/sh")
            .args(["-c", script, &group.to_string(), &entry])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0) // a Ctrl-C must not end it before us
            .spawn()?;
        Ok(Self(shell))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // Killed before its input closes, so that it kills nothing. An error means that it is gone.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
