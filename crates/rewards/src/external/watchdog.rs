//! Ends a program that outlives us. However this process ends, SIGKILL included, its pipes close.
//! A shell that waits for that kills the program's process group.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// Waits beside one program. Dropping it ends only the shell.
pub(super) struct Watchdog(Child);

impl Watchdog {
    /// Watches over the process group of this id.
    pub fn over(group: u32) -> io::Result<Self> {
        let script = "read -r _; kill -s KILL -- \"-$0\"";
        let shell = Command::new("/bin/sh")
            .args(["-c", script, &group.to_string()])
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
