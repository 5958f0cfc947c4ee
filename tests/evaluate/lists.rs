//! No list of runs or files on the command line may name one twice.

use super::world::{World, refused};
use anyhow::Result;
use evaluate::judge::{JudgeCommand, judge};
use evaluate::{CompareConfig, PlotConfig, TableConfig, compare, plot, table};
use std::path::{Path, PathBuf};

type Command<'a> = (&'a str, Box<dyn Fn([&Path; 2]) -> Result<String> + 'a>);

#[test]
fn a_run_or_file_is_given_once() {
    let world = World::new();
    world.sft("sft", 1);
    std::fs::create_dir(world.path("sub")).unwrap();
    std::os::unix::fs::symlink(world.path("sft"), world.path("link")).unwrap();
    let plotted = |compared: Vec<PathBuf>, runs: Vec<PathBuf>| {
        plot(&PlotConfig {
            compared,
            runs,
            metric: Some("train/loss".into()),
            y: vec!["oracle".into()],
            title: String::new(),
            x: String::new(),
            out: world.path("plot.svg"),
            force: true,
        })
    };
    let lists: [Command; 5] = [
        (
            "--runs",
            Box::new(|paths| {
                let runs = paths.map(|path| path.to_str().unwrap());
                Ok(compare(&CompareConfig::new(&runs, &world.path("out")))?.markdown())
            }),
        ),
        (
            "--runs",
            Box::new(|paths| plotted(Vec::new(), paths.map(Path::to_path_buf).to_vec())),
        ),
        (
            "--compared",
            Box::new(|paths| plotted(paths.map(Path::to_path_buf).to_vec(), Vec::new())),
        ),
        (
            "--compared",
            Box::new(|paths| {
                table(&TableConfig {
                    compared: paths.map(Path::to_path_buf).to_vec(),
                    out: None,
                    force: false,
                })
            }),
        ),
        (
            "--answers",
            Box::new(|paths| {
                judge(&JudgeCommand {
                    answers: paths.map(Path::to_path_buf).to_vec(),
                    questions: world.path("questions.jsonl"),
                    out: world.path("judged"),
                    force: false,
                    seed: 1,
                })
            }),
        ),
    ];
    let first = world.path("sft");
    for (flag, command) in lists {
        let shown = first.display();
        let expected = format!("{flag}: {shown} is given twice; leave one out");
        refused(command([&first, &first]), &expected);
        for other in ["sub/../sft", "link", "./sft"] {
            let other = world.path(other);
            let expected = format!(
                "{flag}: {} is given twice, first as {shown}; leave one out",
                other.display()
            );
            match other.components().eq(first.components()) {
                true => refused(command([&first, &other]), "is given twice"),
                false => refused(command([&first, &other]), &expected),
            }
        }
    }
    assert!(!world.path("out").exists() && !world.path("judged").exists());
}
