//! The Makefile: what a target needs is asked for before anything is built, and a variable reaches
//! the command as one word. `make -n` prints the commands and runs none.

use std::path::PathBuf;
use std::process::Command;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What `make -n` prints: its exit code, standard output, standard error. Only PATH is inherited:
/// the tests themselves may run under make, which exports its level, flags and variables.
fn make(words: &[&str]) -> (Option<i32>, String, String) {
    let run = Command::new("make")
        .arg("-n")
        .args(words)
        .current_dir(root())
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (run.status.code(), text(run.stdout), text(run.stderr))
}

#[test]
fn a_target_without_what_it_needs_says_so_and_builds_nothing() {
    let none = "RUNS=";
    for (words, expected) in [
        (
            &["plan"][..],
            "make plan needs CONFIG, for example: make plan CONFIG=",
        ),
        (
            &["answers"],
            "make answers needs RUN, for example: make answers RUN=",
        ),
        (
            &["answers", "RUN= "],
            "make answers needs RUN, for example: make answers RUN=",
        ),
        (
            &["score"],
            "make score needs RUN, for example: make score RUN=",
        ),
        (
            &["score", "RUN=a"],
            "make score needs DATA, for example: make score RUN=",
        ),
        (
            &["replay"],
            "make replay needs RUN, for example: make replay RUN=",
        ),
        (
            &["replay", "RUN=a"],
            "make replay needs STEP, for example: make replay RUN=",
        ),
        (
            &["merge", "OUT=b"],
            "make merge needs RUN, for example: make merge RUN=",
        ),
        (
            &["merge", "RUN=a"],
            "make merge needs OUT, for example: make merge RUN=",
        ),
        (
            &["compare", none, "compared="],
            "make compare needs RUNS, for example: make compare RUNS=",
        ),
    ] {
        let (code, out, error) = make(words);
        assert_eq!(code, Some(2), "make {words:?}: {out}");
        assert!(error.contains(expected), "make {words:?}: {error}");
        assert_eq!(out, "", "make {words:?}");
    }
}

#[test]
fn variables_reach_the_command_as_one_word() {
    for (words, expected) in [
        (
            &["merge", "RUN=my run", "OUT=$$(touch x)"][..],
            "--run 'my run' --out '$(touch x)'",
        ),
        (&["answers", "RUN=a'b"], r"--run 'a'\''b'"),
        (
            &["rlhf", "ALGO=ppo"],
            "--config 'configs/tiny/ppo.toml' --run 'runs/ppo'",
        ),
        (&["rlhf", "ALGO=ppo"], "--algo 'ppo'"),
        (&["sft", "SET=train.seed=2"], "--set 'train.seed=2'"),
    ] {
        let (code, out, error) = make(words);
        assert_eq!(code, Some(0), "make {words:?}: {error}");
        assert!(out.contains(expected), "make {words:?}: {out}");
    }
}
