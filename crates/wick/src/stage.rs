//! Which stage a config is for.

use anyhow::{Context, Result, bail};
use std::path::Path;
use toml::{Table, Value};

/// A stage that trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Stage {
    Sft,
    Rm,
    Rlhf,
}

/// Keys that only one stage has.
const MARKS: [(&str, Stage); 8] = [
    ("algorithm", Stage::Rlhf),
    ("rollout", Stage::Rlhf),
    ("rewards", Stage::Rlhf),
    ("model.policy", Stage::Rlhf),
    ("reward", Stage::Rm),
    ("samples", Stage::Sft),
    ("method", Stage::Sft),
    ("model.random", Stage::Sft),
];

impl Stage {
    /// The stage whose keys the settings have, else the one that the file is named after.
    pub fn of(config: Option<&Path>, sets: &[String]) -> Result<Self> {
        let table = run::settings_table(config, sets)?;
        let mut found: Vec<(&str, Self)> = Vec::new();
        for (key, stage) in MARKS {
            if has(&table, key) && found.iter().all(|(_, known)| *known != stage) {
                found.push((key, stage));
            }
        }
        let file = config.map_or("the settings".into(), |path| path.display().to_string());
        match found[..] {
            [(_, stage)] => Ok(stage),
            [] => named_after(config).with_context(|| format!(
                "{file} could be for sft or rm; name the stage: `wick plan sft …` or `wick plan rm …`"
            )),
            [(a, one), (b, other), ..] => bail!(
                "{file} has {a} ({}) and {b} ({}); name the stage, such as `wick plan {} …`",
                one.name(),
                other.name(),
                one.name()
            ),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Sft => "sft",
            Self::Rm => "rm",
            Self::Rlhf => "rlhf",
        }
    }
}

/// `sft.toml` and `pretrain.toml` are for sft, `rm.toml` is for rm.
fn named_after(config: Option<&Path>) -> Option<Stage> {
    match config?.file_stem()?.to_str()? {
        "sft" | "pretrain" => Some(Stage::Sft),
        "rm" => Some(Stage::Rm),
        _ => None,
    }
}

fn has(table: &Table, key: &str) -> bool {
    let mut parts = key.split('.');
    let first = parts.next().and_then(|part| table.get(part));
    let found: Option<&Value> = parts.fold(first, |value, part| value?.get(part));
    found.is_some()
}
