//! A program that speaks JSON lines: started once, restarted where it fails, killed with its
//! children.

use super::{map, sh};
use rewards::external::{Program, RetryPolicy};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

fn retry(millis: u64, retries: usize) -> RetryPolicy {
    RetryPolicy {
        timeout: Duration::from_millis(millis),
        retries,
    }
}

/// Asks for the reply's `answer`.
fn ask(program: &mut Program) -> rewards::Result<u64> {
    program.call(&map(json!({"question": "?"})), |reply| {
        let answer = reply.get("answer").and_then(Value::as_u64);
        answer.ok_or_else(|| "there is no answer".to_string())
    })
}

/// The program's own message when a call fails in the end, after `retries`.
#[track_caller]
fn fails(script: &str, retry: RetryPolicy) -> String {
    let mut program = Program::start(&sh(script), retry).unwrap();
    let message = ask(&mut program).expect_err(script).to_string();
    assert_eq!(message.lines().count(), 1, "{message}");
    let times = match retry.retries + 1 {
        1 => "failed: ".to_string(),
        n => format!("failed {n} times; the last time "),
    };
    assert!(message.contains(&times), "{message}");
    message
}

/// A program that counts its requests and answers the count; each start leaves a line in `starts`.
fn counting(dir: &Path) -> String {
    let starts = dir.join("starts");
    format!(
        "echo start >> {}; n=0; while read -r line; do echo \"{{\\\"id\\\": ${{line#*:}}\" | \
         sed \"s/,.*/, \\\"answer\\\": $n}}/\"; n=$((n+1)); done",
        starts.display()
    )
}

fn lines(file: &Path) -> usize {
    std::fs::read_to_string(file).unwrap().lines().count()
}

#[test]
fn a_program_is_started_once_and_answers_each_request() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = Program::start(&sh(&counting(dir.path())), retry(5000, 0)).unwrap();
    for n in 0..5 {
        assert_eq!(ask(&mut program).unwrap(), n);
    }
    assert_eq!(lines(&dir.path().join("starts")), 1);
}

#[test]
fn a_failing_program_is_restarted_until_it_answers() {
    // dies at the first start, is silent at the second, talks nonsense at the third
    let dir = tempfile::tempdir().unwrap();
    let script = format!(
        "n=$(ls {0} | wc -l); touch {0}/$n; case $n in 0) exit 3;; 1) sleep 60;; 2) echo nonsense; sleep 60;; esac; {1}",
        dir.path().join("").display(),
        counting(tempfile::tempdir().unwrap().keep().as_path()),
    );
    let mut program = Program::start(&sh(&script), retry(3000, 3)).unwrap();
    assert_eq!(ask(&mut program).unwrap(), 0);
    assert_eq!(ask(&mut program).unwrap(), 1, "and goes on");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 4);
}

#[test]
fn the_error_says_what_a_program_did_wrong() {
    let soon = retry(300, 1);
    let long = retry(20_000, 1);
    let message = fails("read -r line; exit 3", long);
    assert!(message.contains("it ended (exit status: 3)"), "{message}");
    assert!(message.starts_with("the program `sh -c read"), "{message}");
    let message = fails("kill -9 $$", long);
    assert!(message.contains("it ended (signal: 9"), "{message}");
    let message = fails("read -r line; echo the score is 3; cat > /dev/null", long);
    assert!(
        message.contains("it wrote \"the score is 3\", which is not JSON: "),
        "{message}"
    );
    let message = fails("echo '[1, 2]'; cat > /dev/null", long);
    assert!(message.contains("which is not a JSON object"), "{message}");
    let message = fails("printf '{\"id\": 0, \"answ'", long);
    assert!(message.contains("which is not JSON: "), "{message}");
    let message = fails("echo '{\"id\": 7, \"answer\": 1}'; cat > /dev/null", long);
    assert!(
        message.contains("it answered id 7 to request 1"),
        "{message}"
    );
    let message = fails("echo '{\"answer\": 1}'; cat > /dev/null", long);
    assert!(message.contains("its answer has no id"), "{message}");
    let message = fails(
        "read -r l; n=${l#*:}; echo \"{\\\"id\\\": ${n%%,*}}\"; cat > /dev/null",
        long,
    );
    assert!(message.contains("there is no answer"), "{message}");
    let message = fails("exec sleep 60", soon);
    assert!(
        message.contains("it gave no answer within 0.3 s"),
        "{message}"
    );
    let message = fails("exec >&-; exec sleep 60", long);
    assert!(message.contains("closed its standard output"), "{message}");
}

#[test]
fn a_program_that_reads_nothing_times_out() {
    let mut program = Program::start(&sh("exec sleep 60"), retry(300, 0)).unwrap();
    let request = map(json!({"long": "x".repeat(1 << 20)}));
    let begun = Instant::now();
    let answer: rewards::Result<()> = program.call(&request, |_| Ok(()));
    assert!(answer.is_err());
    drop(program);
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "it was not waited for"
    );
}

#[test]
fn killing_a_program_kills_its_children() {
    let dir = tempfile::tempdir().unwrap();
    let pid = dir.path().join("pid");
    for left in [
        format!("sleep 600 & echo $! > {}", pid.display()),
        daemon(&pid),
    ] {
        let script = format!("{left}; while [ ! -s {} ]; do :; done; wait", pid.display());
        let mut program = Program::start(&sh(&script), retry(3000, 0)).unwrap();
        assert!(ask(&mut program).is_err());
        assert!(
            ends(&pid),
            "what the program left behind still runs: {left}"
        );
        std::fs::remove_file(&pid).unwrap();
    }
}

#[test]
fn a_program_that_ends_leaves_no_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let pid = dir.path().join("pid");
    let answer = "read -r line; echo '{\"id\": 0, \"answer\": 5}'; cat > /dev/null";
    let script = format!("{}; {answer}", daemon(&pid));
    let mut program = Program::start(&sh(&script), retry(20_000, 0)).unwrap();
    assert_eq!(ask(&mut program).unwrap(), 5);
    assert!(written(&pid), "the daemon was not started");
    drop(program);
    assert!(ends(&pid), "a daemon outlives its program");
}

/// A command that leaves a process in a session of its own, whose parent has ended, and that writes
/// its id into the file.
fn daemon(pid: &Path) -> String {
    let script = pid.with_extension("sh");
    let text = format!("echo $$ > {}; exec sleep 600", pid.display());
    std::fs::write(&script, text).unwrap();
    format!("(setsid sh {} &)", script.display())
}

/// Waits for something, at most 30 seconds.
fn wait(done: impl Fn() -> bool) -> bool {
    let begun = Instant::now();
    while !done() && begun.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(10));
    }
    done()
}

/// Whether a process writes its id into the file.
fn written(pid: &Path) -> bool {
    wait(|| std::fs::read_to_string(pid).is_ok_and(|text| text.ends_with('\n')))
}

/// Whether the process whose id is in the file ends.
fn ends(pid: &Path) -> bool {
    let id = std::fs::read_to_string(pid).unwrap();
    let status = Path::new("/proc").join(id.trim()).join("status");
    wait(|| std::fs::read_to_string(&status).map_or(true, |text| text.contains("State:\tZ")))
}

#[test]
fn a_missing_program_is_an_error_at_once() {
    let command = ["no-such-program".to_string()];
    let error = match Program::start(&command, retry(100, 5)) {
        Ok(_) => panic!("it was started"),
        Err(error) => error.to_string(),
    };
    assert!(
        error.contains("the program `no-such-program` cannot be started"),
        "{error}"
    );
}

#[test]
fn a_program_exits_when_its_input_closes() {
    let dir = tempfile::tempdir().unwrap();
    let end = dir.path().join("end");
    let script = format!(
        "read -r line; echo '{{\"id\": 0, \"answer\": 5}}'; cat > /dev/null; touch {}",
        end.display()
    );
    let mut program = Program::start(&sh(&script), retry(20_000, 0)).unwrap();
    assert_eq!(ask(&mut program).unwrap(), 5);
    drop(program);
    assert!(end.exists(), "it was given the time to end by itself");
}

#[test]
fn a_line_is_bounded() {
    let script = "head -c 17000000 /dev/zero | tr '\\0' a; cat > /dev/null";
    let message = fails(script, retry(60_000, 0));
    assert!(
        message.contains("it wrote a line of more than 16 MiB"),
        "{message}"
    );
}

#[test]
fn control_characters_of_a_program_reach_no_message() {
    let script = "printf 'bad \\033[2J\\007line \\342\\200\\256x\\n'; cat > /dev/null";
    let message = fails(script, retry(20_000, 0));
    assert!(
        message.contains("it wrote \"bad \\u{1b}[2J\\u{7}line \\u{202e}x\""),
        "{message}"
    );
}

/// Runs in two processes: the second, which has `PARENT` set, starts a program and is killed.
#[test]
fn a_program_ends_with_a_process_that_is_killed() {
    const PARENT: &str = "WICK_TEST_KILLED_PARENT";
    if let Some(pid) = std::env::var_os(PARENT) {
        let pid = Path::new(&pid);
        let child = pid.with_extension("child");
        let (daemon, child) = (daemon(pid), child.display());
        let script = format!("{daemon}; sleep 600 & echo $! > {child}; exec sleep 600");
        let _program = Program::start(&sh(&script), retry(3000, 0)).unwrap();
        std::thread::sleep(Duration::from_secs(600));
    }
    let dir = tempfile::tempdir().unwrap();
    let pid = dir.path().join("pid");
    let child = pid.with_extension("child");
    let name = "external_rewards::program::a_program_ends_with_a_process_that_is_killed";
    let mut parent = std::process::Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact"])
        .env(PARENT, &pid)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    assert!(
        written(&pid) && written(&child),
        "the program was not started"
    );
    parent.kill().unwrap(); // SIGKILL: it can clean up nothing
    parent.wait().unwrap();
    assert!(
        ends(&child),
        "a program outlives the process that started it"
    );
    assert!(ends(&pid), "a daemon of it does");
}
