//! The small parts of the `run` crate: random streams, time stamps, files, the commit, signals.

use crate::common::refused;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::time::{Duration, UNIX_EPOCH};

/// The values were printed by scripts/golden/stream.py.
#[test]
fn streams_are_pinned() {
    use rand::RngCore;
    let check = |seed, purpose, step, row, expected: [u32; 4]| {
        let mut rng = run::stream(seed, purpose, step, row);
        assert_eq!([(); 4].map(|()| rng.next_u32()), expected);
    };
    check(
        0,
        "",
        0,
        0,
        [0x0db7_2b32, 0x87cd_d7f3, 0x97a3_2922, 0x4b68_25a3],
    );
    check(
        1,
        "sample",
        2,
        3,
        [0x3aa9_13d3, 0x9ef9_708d, 0xe5fc_842b, 0x9f25_4a7f],
    );
    check(
        1,
        "sample",
        3,
        2,
        [0xca56_fe55, 0xc450_56be, 0x7461_edb3, 0x6bcd_aa21],
    );
    check(
        7,
        "größe",
        1 << 40,
        1 << 63,
        [0x1c89_bd45, 0xca75_25a8, 0x3086_2bb9, 0x5c6e_6aaf],
    );
}

#[test]
fn times_are_formatted_as_rfc3339() {
    let check = |secs, expected| {
        assert_eq!(
            run::rfc3339(UNIX_EPOCH + Duration::from_secs(secs)),
            expected
        )
    };
    check(0, "1970-01-01T00:00:00Z");
    check(951_782_399, "2000-02-28T23:59:59Z");
    check(951_782_400, "2000-02-29T00:00:00Z");
    check(1_709_164_800, "2024-02-29T00:00:00Z");
    check(1_741_503_900, "2025-03-09T07:05:00Z");
    check(4_107_542_400, "2100-03-01T00:00:00Z");
}

#[test]
fn files_are_hashed_and_written_atomically() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("abc");
    run::atomic_write(&file, b"old").unwrap();
    run::atomic_write(&file, b"abc").unwrap();
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    // FIPS 180-2, example 1
    let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(run::file_hash(&file).unwrap(), expected);
    let missing = root.path().join("none");
    let expected = format!(
        "cannot read {}: No such file or directory (os error 2)",
        missing.display()
    );
    refused(run::file_hash(&missing), &expected);
    run::require_space(&missing, 1).unwrap();
    let error = run::one_line(&run::require_space(&missing, u64::MAX).unwrap_err());
    assert!(error.contains("needs 18446744073710 MB, and "), "{error}");
}

#[test]
fn atomic_write_writes_through_pipes_and_devices() {
    let root = tempfile::tempdir().unwrap();
    let pipe = root.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let reader = {
        let pipe = pipe.clone();
        std::thread::spawn(move || fs::read(pipe).unwrap())
    };
    run::atomic_write(&pipe, b"through").unwrap();
    assert_eq!(reader.join().unwrap(), b"through");
    assert!(!pipe.metadata().unwrap().is_file());
    run::atomic_write(std::path::Path::new("/dev/null"), b"gone").unwrap();
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
}

#[test]
fn the_commit_is_read_without_git() {
    let root = tempfile::tempdir().unwrap();
    let git = root.path().join(".git");
    let commit = || run::git_commit(&root.path().join("target/release/sft"));
    assert_eq!(run::git_commit(&root.path().join("x")), None);
    fs::create_dir_all(git.join("refs/heads")).unwrap();
    fs::write(git.join("HEAD"), "0123abcd\n").unwrap();
    assert_eq!(commit().as_deref(), Some("0123abcd"));
    fs::write(git.join("HEAD"), "ref: refs/heads/main\n").unwrap();
    fs::write(
        git.join("packed-refs"),
        "# pack-refs with: peeled\nfeed01 refs/heads/main\n",
    )
    .unwrap();
    assert_eq!(commit().as_deref(), Some("feed01"));
    fs::write(git.join("refs/heads/main"), "beef02\n").unwrap();
    assert_eq!(commit().as_deref(), Some("beef02"));
}

/// The test runs itself as a child process that loops until a signal asks it to stop.
#[test]
fn the_first_signal_asks_to_stop_and_the_second_quits() {
    const CHILD: &str = "RUN_TEST_SIGNAL_CHILD";
    if let Ok(mode) = std::env::var(CHILD) {
        run::stop_on_signals().unwrap();
        println!("\nready");
        while !run::stop_requested() {
            std::thread::sleep(Duration::from_millis(1));
        }
        println!("\nstopping");
        if mode == "stubborn" {
            loop {
                std::thread::park();
            }
        }
        std::process::exit(0);
    }
    let name = std::thread::current()
        .name()
        .expect("tests have names")
        .to_string();
    for (mode, signal, code) in [("obedient", "-INT", 0), ("stubborn", "-TERM", 130)] {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &name, "--nocapture", "--test-threads=1"])
            .env(CHILD, mode)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut wait_for =
            |text: &str| assert!(lines.any(|line| line.unwrap() == text), "no {text:?}");
        let send = || {
            let command = format!("kill {signal} {}", child.id());
            assert!(
                std::process::Command::new("sh")
                    .args(["-c", &command])
                    .status()
                    .unwrap()
                    .success()
            );
        };
        wait_for("ready");
        send();
        wait_for("stopping");
        if mode == "stubborn" {
            send();
        }
        assert_eq!(child.wait().unwrap().code(), Some(code));
        let mut said = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        assert!(said.contains("stopping: saving the state"), "{said}");
    }
}
