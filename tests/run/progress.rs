//! The progress bar on a narrow terminal.

use run::Progress;
use std::process::Command;

const CHILD: &str = "PROGRESS_TEST_CHILD";

/// `script` gives the command a terminal, and prints what the command writes there.
#[test]
fn a_bar_on_a_narrow_terminal_is_one_line() {
    if std::env::var_os(CHILD).is_some() {
        let mut progress = Progress::new("samples for normalisation", 100);
        for position in 1..=90 {
            let message = "loss 1.2345  reward 0.1234  kl 0.01  response length 123.4";
            progress.update(position, 1000, message);
        }
        progress.finish("a message that is far longer than the terminal is wide");
        return;
    }
    let name = std::thread::current().name().unwrap().to_string();
    let test = std::env::current_exe().unwrap();
    let shown = |columns: usize| {
        let command = format!(
            "stty rows 24 cols {columns}; exec {} --exact {name} --nocapture --test-threads=1 > /dev/null",
            test.display()
        );
        let output = Command::new("script")
            .args(["-qec", &command, "/dev/null"])
            .env(CHILD, "bar")
            .env("TERM", "xterm")
            .env_remove("COLUMNS")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    for columns in [40, 50, 80] {
        let text = shown(columns);
        let lines: Vec<String> = text.split(['\r', '\n']).map(without_escapes).collect();
        let widest = lines.iter().map(|line| line.chars().count()).max();
        assert!(widest <= Some(columns), "{columns} columns: {lines:?}");
        let last = lines.iter().rev().find(|line| !line.trim().is_empty());
        assert!(last.unwrap().contains(" 90/100 in "), "{lines:?}");
        assert_eq!(text.contains("=>"), columns >= 60, "{lines:?}");
    }
}

/// A line without the sequences that move the cursor or clear the line.
fn without_escapes(line: &str) -> String {
    let mut text = String::new();
    let mut parts = line.split('\u{1b}');
    text.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let end = part
            .find(|c: char| c.is_ascii_alphabetic())
            .map_or(0, |at| at + 1);
        text.push_str(&part[end..]);
    }
    text
}
