//! What is timed, on which sides, and how a side is run: always a process of its own, so that its peak memory is its own.

use crate::peer;
use crate::rows::BATCH;
use crate::stage_run::{self, Timing};
use anyhow::{Result, ensure};
use serde_json::json;
use std::path::PathBuf;
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
    /// llama.cpp with bf16 weights, as ours keeps them
    LlamaCppBf16,
}

impl Side {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Peer => "peer",
            Self::LlamaCpp => "llama_cpp",
            Self::LlamaCppBf16 => "llama_cpp_bf16",
        }
    }

    /// The weights of llama.cpp, in the peers' directory.
    fn gguf(self) -> Option<&'static str> {
        match self {
            Self::Ours | Self::Peer => None,
            Self::LlamaCpp => Some("model-f32.gguf"),
            Self::LlamaCppBf16 => Some("model-bf16.gguf"),
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

    pub fn runs(&self) -> PathBuf {
        self.peers.join("runs")
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
            let files = [Side::LlamaCpp, Side::LlamaCppBf16].map(Side::gguf);
            needed.extend(
                files
                    .into_iter()
                    .flatten()
                    .map(|file| self.peers.join(file)),
            );
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

impl Work {
    pub fn sides(&self, ours_alone: bool) -> impl Iterator<Item = Side> + use<> {
        let llama_cpp = matches!(self.kind, Kind::Decode { .. });
        [Side::Ours, Side::Peer, Side::LlamaCpp, Side::LlamaCppBf16]
            .into_iter()
            .filter(move |side| match side {
                Side::Ours => true,
                Side::Peer => !ours_alone,
                Side::LlamaCpp | Side::LlamaCppBf16 => !ours_alone && llama_cpp,
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
                stage_run::time(place, binary, config, &sets)
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
                let job = json!({
                    "batch": batch, "prompt_tokens": PROMPT, "new_tokens": NEW, "gguf": side.gguf(),
                });
                let program = match side.gguf() {
                    Some(_) => "llama_cpp.py",
                    None => "decode.py",
                };
                peer::python(place, program, steps, job)
            }
        }
    }
}
