//! What is timed, on which sides, and how a side is run: always a process of its own, so that its peak memory is its own.

use crate::peer;
use crate::rows::BATCH;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) enum Kind {
    /// One optimiser step of a stage: binary, settings in configs/bench, rows, key of the number of steps, the peer's program
    Stage {
        binary: &'static str,
        config: &'static str,
        rows: &'static str,
        steps_key: &'static str,
        peer: &'static str,
    },
    /// Greedy decoding of a batch of prompts of [`PROMPT`] tokens, [`NEW`] tokens each
    Decode { batch: usize },
}

pub(crate) const PROMPT: usize = 64;
pub(crate) const NEW: usize = 64;

pub(crate) struct Work {
    pub name: &'static str,
    pub kind: Kind,
}

pub(crate) const WORKS: [Work; 6] = [
    Work {
        name: "sft_step",
        kind: Kind::Stage {
            binary: "sft",
            config: "sft",
            rows: "sft",
            steps_key: "train.max_steps",
            peer: "sft.py",
        },
    },
    Work {
        name: "rm_step",
        kind: Kind::Stage {
            binary: "reward-model",
            config: "rm",
            rows: "rm",
            steps_key: "train.max_steps",
            peer: "rm.py",
        },
    },
    Work {
        name: "rl_step",
        kind: Kind::Stage {
            binary: "esrl-rlhf",
            config: "rloo",
            rows: "rl",
            steps_key: "train.steps",
            peer: "rl.py",
        },
    },
    Work {
        name: "decode_b1",
        kind: Kind::Decode { batch: 1 },
    },
    Work {
        name: "decode_b8",
        kind: Kind::Decode { batch: 8 },
    },
    Work {
        name: "decode_b32",
        kind: Kind::Decode { batch: 32 },
    },
];

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Side {
    Ours,
    /// TRL or transformers
    Peer,
    /// llama.cpp with f32 weights
    LlamaCpp,
}

impl Side {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Peer => "peer",
            Self::LlamaCpp => "llama_cpp",
        }
    }
}

/// Where things are, and how much of the machine is used.
pub(crate) struct Place {
    pub peers: PathBuf,
    pub binaries: PathBuf,
    pub threads: usize,
    pub steps: usize,
}

impl Place {
    pub fn rows(&self) -> PathBuf {
        self.peers.join("rows")
    }

    pub fn model(&self) -> PathBuf {
        self.peers.join("model")
    }

    /// Whether what the run needs is there.
    pub fn check(&self, peers: bool) -> Result<()> {
        let mut needed = vec![self.model().join("config.json"), self.binaries.join("sft")];
        if peers {
            needed.push(self.peers.join("env/bin/python"));
            needed.push(self.peers.join("llama.cpp/bin/llama-batched-bench"));
            needed.push(self.peers.join("model-f32.gguf"));
        }
        for file in needed {
            ensure!(
                file.exists(),
                "{} is missing; `make bench` runs scripts/bench/setup.sh, which makes it",
                file.display()
            );
        }
        Ok(())
    }
}

/// What one process says of its steps, the first one included.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Timing {
    pub secs: Vec<f64>,
    pub peak_gb: f64,
    /// Tokens of each step; prompts excluded where tokens are drawn
    #[serde(default)]
    pub tokens: Vec<f64>,
    /// Seconds by phase of each step
    #[serde(skip)]
    pub phases: Vec<BTreeMap<String, f64>>,
}

impl Work {
    pub fn sides(&self, ours_alone: bool) -> impl Iterator<Item = Side> + use<> {
        let llama_cpp = matches!(self.kind, Kind::Decode { .. });
        [Side::Ours, Side::Peer, Side::LlamaCpp]
            .into_iter()
            .filter(move |side| match side {
                Side::Ours => true,
                Side::Peer => !ours_alone,
                Side::LlamaCpp => !ours_alone && llama_cpp,
            })
    }

    /// One process of one side on the rows of a round.
    pub fn time(&self, side: Side, round: usize, place: &Place) -> Result<Timing> {
        let steps = place.steps + 1;
        match (&self.kind, side) {
            (
                Kind::Stage {
                    binary,
                    config,
                    rows,
                    steps_key,
                    ..
                },
                Side::Ours,
            ) => {
                let rows = place.rows().join(format!("{rows}-{round}.json"));
                let sets = [
                    format!("data.path={}", rows.display()),
                    format!("{steps_key}={steps}"),
                ];
                stage(place, binary, config, &sets)
            }
            (Kind::Stage { rows, peer, .. }, _) => {
                let rows = place.rows().join(format!("{rows}-{round}.jsonl"));
                let job = json!({
                    "rows": rows, "batch": BATCH, "samples": 4, "max_len": 256, "new_tokens": NEW,
                    "rank": 8, "targets": ["q_proj", "v_proj"],
                });
                peer::python(place, peer, steps, job)
            }
            (Kind::Decode { batch }, Side::Ours) => {
                let mut command = Command::new(place.binaries.join("bench"));
                command
                    .args([
                        "decode",
                        "--batch",
                        &batch.to_string(),
                        "--steps",
                        &steps.to_string(),
                    ])
                    .args(["--model".as_ref(), place.model().as_os_str()])
                    .env("RAYON_NUM_THREADS", place.threads.to_string());
                peer::answer(command)
            }
            (Kind::Decode { batch }, side) => {
                let job = json!({ "batch": batch, "prompt_tokens": PROMPT, "new_tokens": NEW });
                let program = match side {
                    Side::LlamaCpp => "llama_cpp.py",
                    _ => "decode.py",
                };
                peer::python(place, program, steps, job)
            }
        }
    }
}

/// A run of one of our stages, into a directory that is made anew; its times are those it logs.
fn stage(place: &Place, binary: &str, config: &str, sets: &[String]) -> Result<Timing> {
    let dir = place.peers.join("runs").join(config);
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    let mut command = Command::new(place.binaries.join(binary));
    command
        .arg("--config")
        .arg(Path::new("configs/bench").join(format!("{config}.toml")))
        .arg("--run")
        .arg(&dir)
        .env("RAYON_NUM_THREADS", place.threads.to_string());
    for set in sets {
        command.args(["--set", set]);
    }
    peer::finish(command)?;
    let mut timing = Timing {
        secs: Vec::new(),
        peak_gb: 0.0,
        tokens: Vec::new(),
        phases: Vec::new(),
    };
    let read = |name: &str| {
        let file = dir.join(name);
        std::fs::read_to_string(&file).with_context(|| file.display().to_string())
    };
    for line in read("timings.jsonl")?.lines() {
        let row: BTreeMap<String, f64> = serde_json::from_str(line)?;
        let Some(secs) = row.get("time/step") else {
            continue; // an evaluation
        };
        let per_sec = ["train/tokens_per_sec", "throughput/tokens_per_sec"];
        let tokens = per_sec.iter().find_map(|key| row.get(*key));
        timing.secs.push(*secs);
        timing
            .tokens
            .push(tokens.copied().unwrap_or_default() * secs);
        let phases = row
            .into_iter()
            .filter(|(key, _)| key.starts_with("time/") && key != "time/step");
        timing.phases.push(phases.collect());
    }
    let info: serde_json::Value = serde_json::from_str(&read("run.json")?)?;
    let peak = info["peak_memory_bytes"].as_f64();
    timing.peak_gb = peak.context("run.json has no peak_memory_bytes")? / 1e9;
    Ok(timing)
}
