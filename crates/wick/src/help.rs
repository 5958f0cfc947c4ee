//! The first screen: what Wick is, the path from data to a model, and the commands by group.

use std::fmt::Write;

/// The subcommands as the help groups them; each is in one group.
pub const GROUPS: [(&str, &[&str]); 5] = [
    ("Train", &["sft", "rm", "rlhf"]),
    (
        "Before and after a run",
        &["data", "plan", "replay", "list", "explain"],
    ),
    (
        "Evaluate",
        &["answers", "compare", "score", "judge", "table", "plot"],
    ),
    ("Export", &["merge"]),
    ("Shell", &["completions", "man"]),
];

const PATH: &str = "From your own data to a model, in five commands:
  wick sft --set model.source=MODEL --set data.path=demonstrations.json --run runs/sft
  wick rm --set model.source=runs/sft --set data.path=pairs.jsonl --run runs/rm
  wick rlhf --set model.policy=runs/sft --set model.reward=runs/rm \\
            --set data.path=prompts.jsonl --set algorithm.name=ppo --run runs/ppo
  wick compare --runs runs/sft runs/ppo
  wick merge --run runs/ppo --out my-model
MODEL: a Hugging Face directory, a GGUF file or a hub id. --config FILE reads settings from TOML.";

/// The command with a grouped help.
pub(crate) fn grouped(command: clap::Command) -> clap::Command {
    let mut groups = String::new();
    for (heading, names) in GROUPS {
        write!(groups, "\n\n{heading}:").expect("writing to a String");
        for name in names {
            let about = command.find_subcommand(name).and_then(|c| c.get_about());
            let about = about.map(ToString::to_string).unwrap_or_default();
            write!(groups, "\n  {name:<12} {about}").expect("writing to a String");
        }
    }
    command
        .override_usage("wick <COMMAND> [OPTIONS]")
        .help_template(format!(
            "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{PATH}{groups}\n\n\
             `wick COMMAND --help` has every option, with examples.\n\nOptions:\n{{options}}"
        ))
}
