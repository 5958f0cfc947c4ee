//! The workloads: what is timed, on which sides, and how a side is run. Each measurement is a
//! process of its own, so that its peak memory is its own.

use crate::ids::{SEED, StepIds, Trains};
use crate::peer;
use crate::rows::BATCH;
use crate::setup::Setup;
use crate::side::{Ours, Program, Setting, Side};
use crate::stage_run::StageRun;
use crate::timing::Timing;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// One optimiser step of a stage.
pub(crate) struct Stage {
    binary: &'static str,
    /// Its file in configs/bench
    config: &'static str,
    /// Its rows in the directory of rows
    rows: &'static str,
    /// The key of the number of steps
    steps_key: &'static str,
    /// The peer's program
    peer: &'static str,
    trains: Trains,
    /// The loss before the first update depends on the ids alone, so all sides have the same
    same_first_loss: bool,
}

/// What a workload runs.
pub(crate) enum Kind {
    Stage(Stage),
    /// Greedy decoding of a batch of prompts of [`PROMPT`] tokens, [`NEW`] tokens each
    Decode {
        batch: usize,
    },
}

/// Tokens of a prompt to decode from.
pub(crate) const PROMPT: usize = 64;
/// Tokens to decode.
pub(crate) const NEW: usize = 64;

/// How much the losses of the first step may differ, as a share: bf16 rounds.
const FIRST_LOSS: f64 = 0.02;

/// The rows of a measurement, and how many steps are taken on them.
#[derive(Clone, Copy)]
pub(crate) struct Round<'a> {
    pub number: usize,
    /// Of its rows; `None`: nothing is trained
    pub ids: Option<&'a StepIds>,
    /// Timed steps, after one warm-up step
    pub steps: usize,
    /// A peer that takes longer is stopped
    pub limit: Option<Duration>,
}

/// One workload.
pub(crate) struct Work {
    pub name: &'static str,
    pub kind: Kind,
}

/// Every workload, in the order of the report.
pub(crate) const WORKS: [Work; 6] = [
    Work {
        name: "sft_step",
        kind: Kind::Stage(Stage {
            binary: "sft",
            config: "sft",
            rows: "sft",
            steps_key: "train.max_steps",
            peer: "sft.py",
            trains: Trains::Demonstrations,
            same_first_loss: true,
        }),
    },
    Work {
        name: "rm_step",
        kind: Kind::Stage(Stage {
            binary: "reward-model",
            config: "rm",
            rows: "rm",
            steps_key: "train.max_steps",
            peer: "rm.py",
            trains: Trains::Pairs,
            same_first_loss: false,
        }),
    },
    Work {
        name: "rl_step",
        kind: Kind::Stage(Stage {
            binary: "esrl-rlhf",
            config: "rloo",
            rows: "rl",
            steps_key: "train.steps",
            peer: "rl.py",
            trains: Trains::Prompts,
            same_first_loss: false,
        }),
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

impl Stage {
    fn rows(&self, round: usize, setup: &Setup) -> PathBuf {
        setup.rows().join(format!("{}-{round}.json", self.rows))
    }

    fn run<'a>(&'a self, ours: &Ours, round: usize, steps: usize, setup: &Setup) -> StageRun<'a> {
        let mut sets = vec![
            format!("data.path={}", self.rows(round, setup).display()),
            format!("{}={steps}", self.steps_key),
            format!("train.seed={SEED}"),
        ];
        if self.trains.uses_cache() {
            // into the cache, whatever their size
            sets.push("data.memory_mb=0".into());
        }
        sets.extend_from_slice(&ours.0);
        StageRun {
            binary: self.binary,
            config: self.config,
            sets,
            cache: None,
        }
    }
}

impl Work {
    /// Our side in all settings that it is measured in. `also`: those of the command line.
    pub fn ours(&self, also: &[Ours]) -> Vec<Ours> {
        let mut all = vec![Ours::default()];
        if matches!(self.kind, Kind::Decode { .. }) {
            let formats = ["q8_0", "q4_0"];
            all.extend(formats.map(|format| Ours(vec![format!("model.weights={format}")])));
        }
        all.extend_from_slice(also);
        all
    }

    /// The programs that it is compared with.
    pub fn programs(&self) -> &'static [Program] {
        match self.kind {
            Kind::Stage(_) => &[Program::Trl],
            Kind::Decode { .. } => &[Program::Transformers, Program::LlamaCpp],
        }
    }

    /// The ids of `steps` steps of a round. `None`: nothing is trained.
    pub fn ids(&self, round: usize, steps: usize, setup: &Setup) -> Result<Option<StepIds>> {
        let Kind::Stage(stage) = &self.kind else {
            return Ok(None);
        };
        let run = stage.run(&Ours::default(), round, steps, setup);
        let (rows, name) = (stage.rows(round, setup), format!("{}-{round}", stage.rows));
        StepIds::prepare(setup, stage.trains, &run, &rows, &name, steps).map(Some)
    }

    /// Runs a process of one side.
    ///
    /// Errors: it trained on other ids than the round's.
    pub fn time(&self, side: &Side, round: Round, setup: &Setup) -> Result<Timing> {
        let (ids, steps) = (round.ids, round.steps + 1);
        let timing = match (&self.kind, side) {
            (Kind::Stage(stage), Side::Ours(ours)) => {
                let ids = ids.context("a stage has ids")?;
                let mut run = stage.run(ours, round.number, steps, setup);
                run.cache = ids.cache.as_deref();
                let mut timing = run.time(setup)?;
                timing.trained = Some(ids.trained_by_ours(&timing)?);
                timing
            }
            (Kind::Stage(stage), Side::Peer(_, setting)) => {
                let job = json!({
                    "rows": ids.context("a stage has ids")?.file, "batch": BATCH, "samples": 4,
                    "max_len": 256, "new_tokens": NEW, "rank": 8, "targets": ["q_proj", "v_proj"],
                });
                peer::answer_within(
                    peer::command(setup, stage.peer, steps, with(job, *setting))?,
                    round.limit,
                )?
            }
            (Kind::Decode { batch }, Side::Ours(ours)) => {
                let mut command = setup.ours("bench");
                command.arg("decode").arg("--model").arg(setup.model());
                command.args(["--batch", &batch.to_string(), "--steps", &steps.to_string()]);
                command.args(decode_flags(ours)?);
                peer::answer(command)?
            }
            (Kind::Decode { batch }, Side::Peer(program, setting)) => {
                let job = json!({
                    "batch": batch, "prompt_tokens": PROMPT, "new_tokens": NEW,
                });
                let file = match program {
                    Program::LlamaCpp => "llama_cpp.py",
                    _ => "decode.py",
                };
                peer::answer_within(
                    peer::command(setup, file, steps, with(job, *setting))?,
                    round.limit,
                )?
            }
        };
        ensure!(
            timing.secs.len() == steps,
            "it took {} steps, not {steps}",
            timing.secs.len()
        );
        if let Some(ids) = ids {
            let theirs = timing.trained.as_ref().context("it reports no ids")?;
            ids.trained(steps).require(theirs)?;
        }
        Ok(timing)
    }

    /// Fails if the losses of the first step differ where they should not.
    pub fn check_first_loss(&self, ours: &Timing, theirs: &Timing) -> Result<()> {
        let Kind::Stage(Stage {
            same_first_loss: true,
            ..
        }) = &self.kind
        else {
            return Ok(());
        };
        let first = |timing: &Timing| {
            timing
                .losses
                .first()
                .copied()
                .context("no loss is reported")
        };
        let (ours, theirs) = (first(ours)?, first(theirs)?);
        ensure!(
            (ours / theirs - 1.0).abs() <= FIRST_LOSS,
            "the loss of its first step is {theirs:.4}, and ours {ours:.4}; there is no ratio of \
             different work"
        );
        Ok(())
    }
}

/// The job with the fields of a setting.
fn with(mut job: Value, setting: Setting) -> Value {
    if let (Value::Object(job), Value::Object(more)) = (&mut job, setting.job()) {
        job.extend(more);
    }
    job
}

/// The flags of `bench decode` for the keys of a stage.
fn decode_flags(ours: &Ours) -> Result<Vec<String>> {
    let mut flags = Vec::new();
    for (key, value) in ours.0.iter().filter_map(|set| set.split_once('=')) {
        let flag = match key {
            "model.weights" => "--base",
            "rollout.weights" => "--weights",
            "compute" => "--compute",
            _ => bail!("decoding has no key {key}; leave decode_* out with --only"),
        };
        flags.extend([flag.to_string(), value.trim_matches('"').to_string()]);
    }
    Ok(flags)
}
