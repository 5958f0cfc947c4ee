//! A standard error that is closed, full or no longer read ends no run, and a wrong command line is
//! one line.

use crate::pipeline::world::{World, tiny};
use run::RunArgs;
use std::process::{Command, ExitCode};

const CHILD: &str = "STREAMS_TEST_CHILD";

/// What the binaries' `main` does with a command line.
fn wick(words: &[&str]) -> ExitCode {
    run::main(ops::prepare_process, || {
        run::parsed(wick::Cli::try_parse(words))?.execute()
    })
}

/// The words of a training command.
fn training(stage: &str, args: &RunArgs) -> Vec<String> {
    let run = args.run.as_ref().unwrap().to_str().unwrap();
    let mut words = vec![stage.to_string(), "--run".into(), run.into()];
    words.extend(
        args.sets
            .iter()
            .flat_map(|set| ["--set".to_string(), set.clone()]),
    );
    words
}

/// Runs this test again as a child whose standard error is redirected by the shell.
fn child(words: &[String], redirection: &str) -> std::process::Output {
    let name = std::thread::current().name().unwrap().to_string();
    let script = match redirection {
        // a reader that goes away after one byte
        "pipe" => {
            "{ \"$0\" \"$@\" 2>&3 3>&- >/dev/null; echo $? >&4; } 3>&1 | head -c 1 >/dev/null"
        }
        redirection => &format!("\"$0\" \"$@\" >/dev/null {redirection}; echo $? >&4"),
    };
    Command::new("bash")
        .args(["-c", &format!("exec 4>&1; {script}")])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &name, "--nocapture", "--test-threads=1"])
        .env(CHILD, words.join("\n"))
        .output()
        .unwrap()
}

#[test]
fn a_closed_or_full_standard_error_ends_no_run() {
    if let Ok(words) = std::env::var(CHILD) {
        let words: Vec<&str> = std::iter::once("wick").chain(words.lines()).collect();
        assert_eq!(
            format!("{:?}", wick(&words)),
            format!("{:?}", ExitCode::SUCCESS)
        );
        return;
    }
    let world = World::with_reward();
    let ppo = |run: &str| world.rl_args(run, "model.reward=~/rm algorithm.name=ppo train.steps=2");
    let words = |line: &str| -> Vec<String> { line.split(' ').map(String::from).collect() };
    let (sft, out) = (world.text("sft"), world.text("out"));
    let data = tiny("demonstrations.json");
    let questions = tiny("questions.jsonl");
    let plan = |args: &RunArgs| {
        let mut words = training("plan", args);
        words.insert(1, "rlhf".into());
        words
    };
    let runs = [
        (
            "sft-full",
            training("sft", &world.sft_args("sft-full", "train.max_steps=2")),
        ),
        (
            "rm-full",
            training("rm", &world.reward_args("rm-full", "train.max_steps=2")),
        ),
        ("ppo-full", training("rlhf", &ppo("ppo-full"))),
    ];
    let others = [
        plan(&ppo("none")),
        words(&format!("score --run {sft} --data {data} --max-rows 4")),
        words(&format!("merge --run {sft} --out {out}-merged")),
        words(&format!(
            "answers --run {sft} --questions {questions} --out {out}.jsonl --max-new-tokens 2"
        )),
        words(&format!(
            "compare --runs {sft} {} --prompts {data} --n 2 --out {out} --reward {}",
            world.text("ppo-full"),
            world.text("rm")
        )),
    ];
    let all = runs.iter().map(|(_, words)| words).chain(&others);
    for words in all {
        let output = child(words, "2>/dev/full");
        assert_eq!(output.stdout, b"0\n", "{words:?}");
    }
    for (run, _) in &runs {
        assert_eq!(world.info(run)["status"], "finished");
    }
    for (i, redirection) in ["2>&-", "pipe"].into_iter().enumerate() {
        let run = format!("ppo-{i}");
        let output = child(&training("rlhf", &ppo(&run)), redirection);
        assert_eq!(output.stdout, b"0\n", "{redirection}");
        assert_eq!(world.info(&run)["status"], "finished");
    }
}

#[test]
fn a_wrong_command_line_is_one_line() {
    for (line, expected) in [
        (
            "wick sft --rum x",
            "unexpected argument '--rum' found; tip: a similar argument exists: '--resume'; see `wick sft --help`",
        ),
        (
            "wick merge",
            "the following required arguments were not provided: --run <RUN>, --out <DIR>; see `wick merge --help`",
        ),
        (
            "wick zzz x",
            "unrecognized subcommand 'zzz'; see `wick --help`",
        ),
    ] {
        let parsed = wick::Cli::try_parse(line.split(' '));
        let error = run::parsed(parsed).expect_err(line);
        assert_eq!(run::one_line(&error), expected);
    }
}

/// `wick sft … && wick rm …` must not go on with half a run. In a process of its own: the signal
/// stays with it. Other commands have the shell's 130, since the signal kills them.
#[test]
fn a_command_that_a_signal_stopped_ends_with_130() {
    const STOPPED: &str = "STOPPED_TEST_CHILD";
    if std::env::var(STOPPED).is_ok() {
        let world = World::with_reward();
        let rl = |run: &str| world.rl_args(run, "model.reward=~/rm algorithm.name=ppo");
        world.rl("rl", "algorithm.name=ppo train.steps=2").unwrap();
        run::stop_on_signals().unwrap();
        let pid = std::process::id().to_string();
        Command::new("kill").args(["-INT", &pid]).status().unwrap();
        let mut verify = training("sft", &world.sft_args("verified", ""));
        verify.push("--verify-resume".into());
        let replay = ["replay".to_string(), world.text("rl"), "--step=2".into()];
        for (name, words) in [
            ("verify", verify),
            ("replay", replay.to_vec()),
            ("sft", training("sft", &world.sft_args("sft-half", ""))),
            ("rm", training("rm", &world.reward_args("rm-half", ""))),
            ("rlhf", training("rlhf", &rl("rl-half"))),
        ] {
            let words = words.iter().map(String::as_str);
            let words: Vec<&str> = std::iter::once("wick").chain(words).collect();
            println!("\n{name} {:?}", wick(&words));
        }
        for run in ["sft-half", "rm-half", "rl-half"] {
            assert_eq!(world.info(run)["status"], "stopped");
        }
        std::process::exit(0);
    }
    let output = crate::common::again_in_a_child([(STOPPED, "1")]);
    let text = String::from_utf8_lossy(&output.stdout);
    for name in ["verify", "replay", "sft", "rm", "rlhf"] {
        let expected = format!("{name} {:?}", ExitCode::from(130));
        assert!(text.lines().any(|line| line == expected), "{name}: {text}");
    }
    let said = String::from_utf8_lossy(&output.stderr);
    for line in [
        "stopped by a signal; nothing is proved",
        "stopped before step 2",
    ] {
        assert!(said.lines().any(|said| said == line), "{line}: {said}");
    }
}
