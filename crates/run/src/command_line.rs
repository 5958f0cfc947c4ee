//! The command line of this process, and of the commands that it suggests.

use std::path::Path;

/// The command line, with the program's file name instead of its path.
pub(crate) fn argv() -> Vec<String> {
    let mut args: Vec<String> = std::env::args_os()
        .map(|a| a.to_string_lossy().into_owned())
        .collect();
    if let Some(program) = args.first_mut() {
        *program = Path::new(program)
            .file_name()
            .map_or(String::new(), |n| n.to_string_lossy().into_owned());
    }
    args
}

/// How the user of this process starts another command: `wick rm`, or the stage's own binary where
/// one of those runs, as under make.
///
/// ```
/// // not in a program called wick
/// assert_eq!(run::command("rm"), "reward-model");
/// assert_eq!(run::command("merge"), "evaluate merge");
/// ```
pub fn command(name: &str) -> String {
    let program = std::env::args_os().next().unwrap_or_default();
    if Path::new(&program)
        .file_stem()
        .is_some_and(|stem| stem == "wick")
    {
        return format!("wick {name}");
    }
    match name {
        "sft" => "sft".into(),
        "rm" => "reward-model".into(),
        "rlhf" => "esrl-rlhf".into(),
        other => format!("evaluate {other}"),
    }
}

/// This process's command, to be given again with more options. None: it is none of ours, as in a
/// program that uses the libraries.
pub(crate) fn command_line() -> Option<String> {
    const OURS: [&str; 3] = ["wick", "evaluate", "esrl-rlhf"];
    let args = argv();
    let program = args.first()?.as_str();
    let words = args.iter().map(|word| quoted(word));
    OURS.contains(&program)
        .then(|| words.collect::<Vec<_>>().join(" "))
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-./=:,@%+".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_string(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}
