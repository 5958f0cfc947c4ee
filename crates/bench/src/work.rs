//! The workloads: what is timed, on which sides, and how a side is run. Each measurement is a
//! process of its own, so that its peak memory is its own.

use crate::peer;
use crate::rows::BATCH;
use crate::setup::Setup;
use crate::side::Side;
use crate::stage_run;
use crate::timing::Timing;
use anyhow::Result;
use serde_json::json;
use std::process::Command;

/// What a workload runs.
pub(crate) enum Kind {
    /// One optimiser step of a stage: our binary, its file in configs/bench, its rows, the key of
    /// the number of steps, the peer's program
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

/// Tokens of a prompt to decode from.
pub(crate) const PROMPT: usize = 64;
/// Tokens to decode.
pub(crate) const NEW: usize = 64;

/// One workload.
pub(crate) struct Work {
    pub name: &'static str,
    pub kind: Kind,
}

/// Every workload, in the order of the report.
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

impl Work {
    /// The sides that run it.
    pub fn sides(&self, only_ours: bool) -> impl Iterator<Item = Side> + use<> {
        let llama_cpp = matches!(self.kind, Kind::Decode { .. });
        [Side::Ours, Side::Peer, Side::LlamaCpp, Side::LlamaCppBf16]
            .into_iter()
            .filter(move |side| match side {
                Side::Ours => true,
                Side::Peer => !only_ours,
                Side::LlamaCpp | Side::LlamaCppBf16 => !only_ours && llama_cpp,
            })
    }

    /// Runs one process of one side on the rows of a round.
    pub fn time(&self, side: Side, round: usize, setup: &Setup) -> Result<Timing> {
        let steps = setup.steps + 1;
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
                let rows = setup.rows().join(format!("{rows}-{round}.json"));
                let sets = [
                    format!("data.path={}", rows.display()),
                    format!("{steps_key}={steps}"),
                ];
                stage_run::time(setup, binary, config, &sets)
            }
            (Kind::Stage { rows, peer, .. }, _) => {
                let rows = setup.rows().join(format!("{rows}-{round}.jsonl"));
                let job = json!({
                    "rows": rows, "batch": BATCH, "samples": 4, "max_len": 256, "new_tokens": NEW,
                    "rank": 8, "targets": ["q_proj", "v_proj"],
                });
                peer::python(setup, peer, steps, job)
            }
            (Kind::Decode { batch }, Side::Ours) => {
                let mut command = Command::new(setup.binaries.join("bench"));
                command
                    .args([
                        "decode",
                        "--batch",
                        &batch.to_string(),
                        "--steps",
                        &steps.to_string(),
                    ])
                    .args(["--model".as_ref(), setup.model().as_os_str()])
                    .env("RAYON_NUM_THREADS", setup.threads.to_string());
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
                peer::python(setup, program, steps, job)
            }
        }
    }
}
