//! One running program: lines into its standard input, lines out of its standard output, each with
//! a timeout. What it writes to standard error is shown without control characters. It leads a
//! process group of its own: a Ctrl-C in the terminal does not reach it, and a kill ends everything
//! that it started, in that group or out of it. It never outlives us.

use super::descendants::{self, kill_marked};
use super::foreign_text::printable;
use super::scores::MAX_REPLY_BYTES;
use super::watchdog::Watchdog;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{self, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Time for the last lines of its standard error once it is killed.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// The part of a line of its standard error that is shown.
const MAX_SHOWN_CHARS: usize = 1000;
/// Time that a program has to exit once its input is closed.
const GRACE: Duration = Duration::from_secs(2);

/// A running program with the threads that write and read its pipes.
pub(super) struct Child {
    process: process::Child,
    /// In its environment, and in that of what it starts
    mark: String,
    /// Its process group has been killed, and its id may be another's now
    waited_for: bool,
    /// None: its input is closed
    requests: Option<Sender<Vec<u8>>>,
    lines: Receiver<io::Result<Vec<u8>>>,
    /// Shows its standard error
    shows: JoinHandle<()>,
    _watchdog: Watchdog,
}

impl Child {
    /// Starts the program.
    pub fn spawn(command: &[String]) -> io::Result<Self> {
        let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mark = descendants::new_mark();
        let mut process = Command::new(program)
            .args(arguments)
            .env(descendants::VARIABLE, &mark)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let watchdog = Watchdog::over(process.id(), &mark).inspect_err(|_| {
            let _ = process.kill();
        })?;
        let stdin = process.stdin.take().expect("piped");
        let stdout = process.stdout.take().expect("piped");
        let stderr = process.stderr.take().expect("piped");
        let name = Path::new(program).file_name().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        // Threads, since a program may read nothing or write nothing. They end when the pipes
        // close.
        let (requests, to_write) = channel();
        thread::spawn(move || write_all(stdin, to_write));
        let (read, lines) = sync_channel(1);
        thread::spawn(move || read_lines(stdout, read));
        let shows = thread::spawn(move || show_lines(stderr, &name));
        Ok(Self {
            process,
            mark,
            waited_for: false,
            requests: Some(requests),
            lines,
            shows,
            _watchdog: watchdog,
        })
    }

    /// Its next line after `request`; the error says why there is none.
    pub fn ask(&mut self, request: Vec<u8>, timeout: Duration) -> Result<Vec<u8>, String> {
        if let Some(requests) = &self.requests {
            // A program that has exited is detected by its closed output.
            let _ = requests.send(request);
        }
        match self.lines.recv_timeout(timeout) {
            Ok(Ok(line)) if line.len() as u64 >= MAX_REPLY_BYTES => Err(format!(
                "it wrote a line of more than {} MiB",
                MAX_REPLY_BYTES >> 20
            )),
            Ok(Ok(line)) => Ok(line),
            Ok(Err(e)) => Err(format!("its output cannot be read: {e}")),
            Err(RecvTimeoutError::Timeout) => Err(format!(
                "it gave no answer within {} s",
                timeout.as_secs_f64()
            )),
            Err(RecvTimeoutError::Disconnected) => Err(self.why_closed()),
        }
    }

    /// Why its output is closed, and ends what it has started.
    fn why_closed(&mut self) -> String {
        if !self.exits_within(GRACE) {
            return "it closed its standard output".to_string();
        }
        match self.end() {
            Ok(status) => format!("it ended ({status})"),
            Err(why) => format!("it ended ({why})"),
        }
    }

    fn exits_within(&self, limit: Duration) -> bool {
        let begun = Instant::now();
        while !self.has_exited() {
            if begun.elapsed() >= limit {
                return false;
            }
            thread::sleep(Duration::from_millis(5));
        }
        true
    }

    /// Ends it and everything that it started, now.
    pub fn kill(&mut self) {
        let _ = self.end();
    }

    /// Kills its process group and what left it, and waits for it, in this order: until it is
    /// waited for, the id of the group cannot be another's.
    fn end(&mut self) -> io::Result<ExitStatus> {
        if !self.waited_for {
            let _ = kill_process_group(Pid::from_child(&self.process), Signal::KILL);
            self.waited_for = true;
            kill_marked(&self.mark);
            // Its last words are shown before our error.
            let begun = Instant::now();
            while !self.shows.is_finished() && begun.elapsed() < LAST_WORDS {
                thread::sleep(Duration::from_millis(2));
            }
        }
        self.process.wait()
    }

    /// Whether it has exited. It is not waited for, so its process group stays its own.
    fn has_exited(&self) -> bool {
        let id = WaitId::Pid(Pid::from_child(&self.process));
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        matches!(waitid(id, options), Ok(Some(_)) | Err(_))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.requests = None; // closes its input, which asks it to exit
        self.exits_within(GRACE);
        self.kill();
    }
}

fn write_all(mut stdin: ChildStdin, requests: Receiver<Vec<u8>>) {
    for request in requests {
        if stdin.write_all(&request).is_err() {
            return;
        }
    }
}

fn read_lines(stdout: ChildStdout, lines: SyncSender<io::Result<Vec<u8>>>) {
    let mut stdout = BufReader::new(stdout);
    loop {
        let mut line = Vec::new();
        let read = stdout
            .by_ref()
            .take(MAX_REPLY_BYTES)
            .read_until(b'\n', &mut line);
        let send = match read {
            Ok(0) => return,
            Ok(_) => Ok(line),
            Err(e) => Err(e),
        };
        if lines.send(send).is_err() {
            return;
        }
    }
}

/// Shows what a program writes to its standard error, line by line.
fn show_lines(stderr: ChildStderr, name: &str) {
    let mut stderr = BufReader::new(stderr);
    let mut line = Vec::new();
    // The rest of a longer line is the next one.
    let max_bytes = 4 * MAX_SHOWN_CHARS as u64;
    loop {
        line.clear();
        match stderr.by_ref().take(max_bytes).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = printable(&String::from_utf8_lossy(&line), MAX_SHOWN_CHARS);
        if !text.is_empty() {
            run::say!("{name}: {text}");
        }
    }
}
