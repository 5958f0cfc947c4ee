//! The crate `row-files`: what is said while nothing comes.

use super::containers::read;
use crate::common::again_in_a_child;
use serde_json::json;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

#[test]
fn a_pipe_without_data_is_named_after_a_second() {
    const PIPE: &str = "PIPE_OF_ROWS";
    if let Some(path) = std::env::var_os(PIPE) {
        assert_eq!(read(Path::new(&path)).unwrap().0[0].1, json!({"a": 1}));
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("late");
    assert!(
        Command::new("mkfifo")
            .arg(&path)
            .status()
            .unwrap()
            .success()
    );
    let to = path.clone();
    let writer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(3000));
        std::fs::write(to, "{\"a\": 1}\n").unwrap();
    });
    let output = again_in_a_child([(PIPE, &path)]);
    writer.join().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("1 passed"), "{said}");
    let line = format!(
        "{}: waiting for data: nothing has been written into it yet\n",
        path.display()
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.matches(&line).count(), 1, "{said}");
}
