//! A standard output whose reader is gone ends a command quietly, a full one with a line.

use crate::common::refused;
use crate::evaluate::judge_server::{JudgeServer, Play};
use crate::pipeline::world::{World, tiny};
use serde_json::json;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Output, Stdio};

const CHILD: &str = "STDOUT_TEST_CHILD";
/// The file that is the child's standard output, where that will be full
const FULL: &str = "STDOUT_TEST_FULL";
/// The largest file of a child, in KiB. What a command writes elsewhere is far smaller.
const LIMIT: u64 = 1 << 16;

/// The arguments with which a child runs this test alone.
fn this_test() -> [String; 4] {
    let name = std::thread::current().name().unwrap().to_string();
    ["--exact", &name, "--nocapture", "--test-threads=1"].map(String::from)
}

/// `judge`: the address of a judge.
fn environment<'a>(words: &'a str, judge: &'a str) -> [(&'static str, &'a str); 3] {
    let judge = [("WICK_JUDGE_URL", judge), ("WICK_JUDGE_MODEL", "judge")];
    [(CHILD, words), judge[0], judge[1]]
}

/// What the binary does with a command line whose standard output is gone: this test again in a
/// child, whose output is closed once the test harness has written there.
fn with_closed_output(words: &str, judge: &str) -> Output {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(this_test())
        .envs(environment(words, judge))
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

/// The same with a standard output that is full: a file that has reached the largest size.
fn with_full_output(words: &str, judge: &str, file: &Path) -> Output {
    let script = format!("trap '' XFSZ; ulimit -f {LIMIT}; exec \"$0\" \"$@\" >>\"${FULL}\"");
    Command::new("bash")
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap())
        .args(this_test())
        .envs(environment(words, judge))
        .env(FULL, file)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// In the child: runs the command and ends the process as the binary does.
fn run_command(line: &str) -> ! {
    println!("\nready");
    match std::env::var_os(FULL) {
        Some(file) => {
            let file = File::options().write(true).open(file).unwrap();
            file.set_len(LIMIT * 1024).unwrap();
        }
        None => drop(std::io::stdin().read_line(&mut String::new()).unwrap()),
    }
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
    let mut full = File::create("/dev/full").unwrap();
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

/// Command lines of every command that prints, and the files that they write. `out`: a prefix for
/// those.
fn commands(world: &World, out: &str) -> Vec<(String, Vec<String>)> {
    let [sft, rm, ppo] = ["sft", "rm", "ppo"].map(|name| world.text(name));
    let out = world.text(out);
    let prompts = tiny("prompts.json");
    let (pairs, rows) = (tiny("comparisons.json"), tiny("demonstrations.json"));
    let sets = world
        .rl_args("none", "model.reward=~/rm algorithm.name=ppo")
        .sets;
    let plan: String = sets.iter().map(|set| format!(" --set {set}")).collect();
    let compare = format!("compare --runs {sft} {ppo} --n 2 --out {out} --reward {rm}");
    let short = "--max-new-tokens 2";
    let answers = json!({"question_id": 1, "answer_id": "x", "model_id": "m", "tstamp": 0.0,
        "choices": [{"index": 0, "turns": ["A."]}]});
    let answers = world.write("answers.jsonl", &answers.to_string());
    let question = r#"{"question_id": 1, "category": "generic", "text": "Which?"}"#;
    let questions = world.write("questions.jsonl", question);
    let nothing = [
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
        format!("score --run {rm} --data {pairs} --max-rows 4"),
        format!("score --run {sft} --data {rows} --max-rows 4"),
        format!("answers --run {sft} --prompt hello {short}"),
        format!("data inspect {rows}"),
        format!("data inspect {pairs} --json"),
    ];
    let written = [
        (
            format!("answers --run {sft} --questions {prompts} {short} --out {out}.jsonl"),
            vec![".jsonl"],
        ),
        (
            format!("{compare} --prompts {prompts}"),
            vec!["/compare.md", "/compare.json", "/responses.jsonl"],
        ),
        (
            format!("table --compared {out} --out {out}.md"),
            vec![".md"],
        ),
        (
            format!("plot --runs {ppo} --metric objective/kl --out {out}.svg"),
            vec![".svg"],
        ),
        (
            format!("merge --run {sft} --out {out}-merged"),
            vec!["-merged/model.safetensors"],
        ),
        (
            format!("judge --answers {answers} --questions {questions} --out {out}-judged"),
            vec!["-judged/judge.md", "-judged/verdicts.jsonl"],
        ),
        (format!("man {out}-man"), vec!["-man/wick.1"]),
    ];
    let written = written.map(|(line, ends)| {
        let files = ends.into_iter().map(|end| format!("{out}{end}"));
        (line, files.collect())
    });
    let nothing = nothing.map(|line| (line, Vec::new()));
    nothing.into_iter().chain(written).collect()
}

/// `sft` and `rm` print nothing but their plans, which are rlhf's.
#[test]
fn a_standard_output_that_is_gone_or_full_ends_every_command_as_documented() {
    if let Ok(line) = std::env::var(CHILD) {
        run_command(&line);
    }
    let world = World::with_reward();
    world
        .rl("ppo", "model.reward=~/rm algorithm.name=ppo train.steps=2")
        .unwrap();
    let server = JudgeServer::new(|_, _| Play::Say("[[9]]"));
    let judge = server.config().url;
    let file = world.path("full");
    let full = "error: cannot write to standard output: File too large (os error 27)";
    let all: Vec<_> = commands(&world, "gone")
        .into_iter()
        .map(|c| (c, false))
        .collect();
    let named = |name: &str| all.iter().any(|((line, _), _)| line.starts_with(name));
    for command in wick::command().get_subcommands() {
        let name = command.get_name();
        let trains = ["sft", "rm"].contains(&name);
        assert!(trains || named(name), "{name} is not tried");
    }
    let also_full = commands(&world, "full-out").into_iter().map(|c| (c, true));
    for ((command, files), is_full) in all.into_iter().chain(also_full) {
        File::create(&file).unwrap();
        let ended = match is_full {
            true => with_full_output(&command, &judge, &file),
            false => with_closed_output(&command, &judge),
        };
        let stderr = String::from_utf8_lossy(&ended.stderr);
        let errors: Vec<&str> = stderr
            .lines()
            .filter(|line| line.contains("error"))
            .collect();
        let expected = match is_full {
            true => (Some(2), vec![full]),
            false => (Some(0), Vec::new()),
        };
        assert_eq!(
            (ended.status.code(), errors),
            expected,
            "{command}: {stderr}"
        );
        assert!(!stderr.contains("panicked"), "{command}: {stderr}");
        for file in files {
            assert!(Path::new(&file).exists(), "{command} did not write {file}");
        }
    }
}
