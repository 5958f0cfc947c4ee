//! A standard output whose reader is gone ends a command quietly, a full one with a line.

use crate::common::refused;
use crate::pipeline::world::{World, tiny};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitCode, Output, Stdio};

const CHILD: &str = "STDOUT_TEST_CHILD";

/// What the binary does with a command line whose standard output is gone: this test again in a
/// child, whose output is closed once the test harness has written there.
fn child(words: &str) -> Output {
    let name = std::thread::current().name().unwrap().to_string();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &name, "--nocapture", "--test-threads=1"])
        .env(CHILD, words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "ready"));
    drop(lines);
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    child.wait_with_output().unwrap()
}

/// In the child: runs the command and ends the process as the binary does.
fn run_command(line: &str) -> ! {
    println!("\nready");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let words = std::iter::once("wick").chain(line.split(' '));
    let code = run::main(ops::prepare_process, || {
        run::parsed(wick::Cli::try_parse(words))?.execute()
    });
    let is_success = format!("{code:?}") == format!("{:?}", ExitCode::SUCCESS);
    std::process::exit(if is_success { 0 } else { 2 })
}

/// Everything that a command prints goes through this function.
#[test]
fn a_full_standard_output_is_an_error() {
    let mut full = std::fs::File::create("/dev/full").unwrap();
    let expected = "cannot write to standard output: No space left on device (os error 28)";
    refused(run::print_to(&mut full, "text"), expected);
    let mut short = std::io::Cursor::new([0; 3]);
    let error = run::print_to(&mut short, "text").unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("cannot write to standard output")
    );
    let (reader, mut writer) = std::io::pipe().unwrap();
    drop(reader);
    let gone = run::exit(run::print_to(&mut writer, "text"));
    assert_eq!(format!("{gone:?}"), format!("{:?}", ExitCode::SUCCESS));
}

#[test]
fn a_standard_output_that_is_gone_ends_every_command_quietly() {
    if let Ok(line) = std::env::var(CHILD) {
        run_command(&line);
    }
    let world = World::with_reward();
    world
        .rl("ppo", "model.reward=~/rm algorithm.name=ppo train.steps=2")
        .unwrap();
    let [sft, rm, ppo, out] = ["sft", "rm", "ppo", "out"].map(|name| world.text(name));
    let compare = format!("compare --runs {sft} {ppo} --n 2 --out {out} --reward {rm}");
    let prompts = tiny("prompts.json");
    let sets = world
        .rl_args("none", "model.reward=~/rm algorithm.name=ppo")
        .sets;
    let plan: String = sets.iter().map(|set| format!(" --set {set}")).collect();
    let commands = [
        "--help".to_string(),
        "--version".into(),
        "score --help".into(),
        "list".into(),
        "rlhf --list".into(),
        "explain objective/kl".into(),
        "rlhf --explain objective/kl".into(),
        "completions bash".into(),
        "man".into(),
        format!("plan rlhf{plan}"),
        format!("plan rlhf --json{plan}"),
        format!("rlhf plan{plan}"),
        format!("replay {ppo} --step 2"),
        format!(
            "score --run {rm} --data {} --max-rows 4",
            tiny("comparisons.json")
        ),
        format!(
            "score --run {sft} --data {} --max-rows 4",
            tiny("demonstrations.json")
        ),
        format!("answers --run {sft} --prompt hello --max-new-tokens 2"),
        format!("answers --run {sft} --questions {prompts} --max-new-tokens 2 --out {out}.jsonl"),
        format!("{compare} --prompts {prompts}"),
        format!("table --compared {out}"),
        format!("plot --runs {ppo} --metric objective/kl --out {out}.svg"),
        format!("merge --run {sft} --out {out}-merged"),
    ];
    for command in &commands {
        let ended = child(command);
        let stderr = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(0), "{command}: {stderr}");
        let loud = ["error", "panicked"]
            .iter()
            .any(|word| stderr.contains(word));
        assert!(!loud, "{command}: {stderr}");
    }
}
