//! Which setting of a peer is the fastest: a short process of each.

use crate::figures::Figures;
use crate::ids::StepIds;
use crate::setup::Setup;
use crate::side::{Ours, Program, Setting, Side};
use crate::work::{Round, Work};
use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};

/// A setting that takes so many times the shortest process of its program, and a minute, is
/// stopped: bf16 without instructions for it is ten times slower than f32.
const LIMIT: f64 = 3.0;

/// One setting of a peer.
pub(crate) struct Probe {
    pub program: Program,
    pub setting: Setting,
    /// Or why it did not run
    pub figures: std::result::Result<Figures, String>,
    /// It is measured in the rounds
    pub chosen: bool,
}

/// Runs every setting of a workload's peers for `steps` timed steps on the rows of the first round,
/// and chooses the fastest of each program for each of our sides. Calls `done` after each.
///
/// Errors: no setting of a program runs.
pub(crate) fn probe(
    work: &Work,
    ours: &[Ours],
    ids: Option<&StepIds>,
    steps: usize,
    setup: &Setup,
    done: &mut dyn FnMut(&str),
) -> Result<Vec<Probe>> {
    let mut all = Vec::new();
    for program in work.programs() {
        let (mut probes, mut limit) = (Vec::new(), None);
        for setting in program.settings() {
            let side = Side::Peer(*program, setting);
            let round = Round {
                number: 1,
                ids,
                steps,
                // llama.cpp runs in a process of its own, which would go on
                limit: limit.filter(|_| *program != Program::LlamaCpp),
            };
            let began = Instant::now();
            let timing = work.time(&side, round, setup);
            if timing.is_ok() {
                let own = LIMIT * began.elapsed().as_secs_f64() + 60.0;
                let own = Duration::from_secs_f64(own);
                limit = Some(limit.map_or(own, |known: Duration| known.min(own)));
            }
            done(&format!(
                "{} {} {}",
                work.name,
                program.name(),
                setting.name()
            ));
            probes.push(Probe {
                program: *program,
                setting,
                figures: timing
                    .map(|timing| Figures::of(&[timing]))
                    .map_err(|error| format!("{error:#}")),
                chosen: false,
            });
        }
        for ours in ours {
            match fastest(&probes, ours) {
                Some(at) => probes[at].chosen = true,
                None => {
                    let why = probes.iter().find_map(|probe| probe.figures.as_ref().err());
                    let why = why.context("no setting does the same work")?;
                    bail!("{}: {why}", program.name());
                }
            }
        }
        all.extend(probes);
    }
    Ok(all)
}

/// The fastest setting that does the same work as ours.
fn fastest(probes: &[Probe], ours: &Ours) -> Option<usize> {
    let known = probes.iter().enumerate().filter_map(|(at, probe)| {
        let figures = probe.figures.as_ref().ok()?;
        let same = ours.compares_with(probe.setting);
        // other processes only add time
        same.then_some((at, figures.least))
    });
    let fastest = known.min_by(|a, b| a.1.total_cmp(&b.1));
    fastest.map(|(at, _)| at)
}

/// A Markdown table.
pub(crate) fn text<'a>(of: impl Iterator<Item = (&'static str, &'a Probe)>) -> String {
    let mut text = String::from(
        "\n| work | peer | setting | seconds, least of the steps | peak GB | in the table above |\n|---|---|---|---|---|---|\n",
    );
    for (work, probe) in of {
        let (secs, peak) = match &probe.figures {
            Ok(of) => (format!("{:.2}", of.least), format!("{:.2}", of.peak_gb())),
            Err(why) => (format!("failed: {why}"), String::new()),
        };
        let chosen = if probe.chosen { "yes" } else { "" };
        let (program, setting) = (probe.program.name(), probe.setting.name());
        text += &format!("| {work} | {program} | {setting} | {secs} | {peak} | {chosen} |\n");
    }
    text
}

/// An object of each setting's figures.
pub(crate) fn json(probes: &[Probe]) -> Value {
    let mut all = Map::new();
    for probe in probes {
        let figures = match &probe.figures {
            Ok(of) => {
                json!({ "least_secs": of.least, "peak_gb": of.peak_gb(), "chosen": probe.chosen })
            }
            Err(why) => json!({ "failed": why }),
        };
        let name = format!("{}, {}", probe.program.name(), probe.setting.name());
        all.insert(name, figures);
    }
    Value::Object(all)
}
