//! `bench compare`: every workload on every side. First each setting of a peer for a few steps,
//! then our side and the peers' fastest settings, interleaved.

use crate::figures::Figures;
use crate::ids::StepIds;
use crate::machine::{self, Rates};
use crate::probe::{self, Probe};
use crate::setup::{Common, Setup};
use crate::side::{Ours, Side};
use crate::table::{self, Measured};
use crate::timing::Timing;
use crate::work::{Round, WORKS, Work};
use crate::{esrl, rows};
use anyhow::{Context, Result, bail, ensure};

/// What `bench compare` runs.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Workloads to run; default: all
    #[arg(long, num_args = 1..)]
    only: Vec<String>,
    /// Rounds of (ours, peer, …); each uses other rows
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Timed steps of each side and round, after one warm-up step
    #[arg(long, default_value_t = 2)]
    steps: usize,
    /// Timed steps of each setting of a peer, after one warm-up step, to find the fastest
    #[arg(long, default_value_t = 2)]
    probe_steps: usize,
    /// Only our side, to measure a change
    #[arg(long)]
    ours: bool,
    /// Our side with these settings, too: "KEY=VALUE KEY=VALUE"; can be repeated
    #[arg(long, value_name = "SETTINGS")]
    ours_with: Vec<String>,
    #[command(flatten)]
    common: Common,
}

impl Args {
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }

    fn check(&self) -> Result<()> {
        ensure!(self.rounds > 0, "--rounds must be at least 1");
        ensure!(self.probe_steps > 0, "--probe-steps must be at least 1");
        let known: Vec<&str> = WORKS.iter().map(|work| work.name).collect();
        let known = [known, vec![esrl::NAME]].concat();
        for name in &self.only {
            if !known.contains(&name.as_str()) {
                bail!(
                    "--only {name}: unknown; the workloads are {}",
                    known.join(", ")
                );
            }
        }
        Ok(())
    }
}

/// A comparison in progress.
struct Comparison<'a> {
    args: &'a Args,
    setup: Setup,
    also: Vec<Ours>,
    peers: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    args.check()?;
    let also = args.ours_with.iter().map(|text| Ours::parse(text));
    let works: Vec<&Work> = WORKS.iter().filter(|work| args.wants(work.name)).collect();
    let comparison = Comparison {
        args,
        setup: args.common.setup(args.steps)?,
        also: also.collect::<Result<_>>()?,
        peers: !args.ours && !works.is_empty(),
    };
    let setup = &comparison.setup;
    setup.check(comparison.peers)?;
    rows::write(&args.common.data, &setup.rows(), args.rounds, args.steps)?;
    let rates: Rates = machine::rates(setup, comparison.peers)?;

    let of_esrl = match args.wants(esrl::NAME) {
        true => esrl::processes(args.rounds),
        false => 0,
    };
    let of_works = works.iter().map(|work| comparison.processes(work));
    let total = of_works.sum::<usize>() + of_esrl;
    let mut progress = run::Progress::new("bench", total as u64);
    let mut n_done = 0;
    let mut done = |what: &str| {
        n_done += 1;
        progress.update(n_done, 0, what);
    };
    let mut measured = Vec::new();
    for work in works {
        let of = comparison.measure(work, &mut done);
        measured.push(of.with_context(|| work.name)?);
    }
    let esrl = match of_esrl {
        0 => None,
        _ => Some(esrl::measure(setup, args.rounds, &mut done)?),
    };
    progress.finish("");
    let report = table::Report::new(measured, esrl, rates, setup)?;
    run::print(&report.text())?;
    let file = report.write(&args.common.out)?;
    run::print(&format!("{}\n", file.display()))
}

impl Comparison<'_> {
    /// The most processes that a workload takes.
    fn processes(&self, work: &Work) -> usize {
        let ours = work.ours(&self.also).len();
        let peers = match self.peers {
            true => work.programs(),
            false => &[],
        };
        let settings = peers.iter().map(|program| program.settings().len());
        settings.sum::<usize>() + self.args.rounds * (ours + peers.len())
    }

    fn measure(&self, work: &Work, done: &mut dyn FnMut(&str)) -> Result<Measured> {
        let (args, setup) = (self.args, &self.setup);
        let ours = work.ours(&self.also);
        let steps = 1 + args.steps.max(args.probe_steps);
        let ids = (1..=args.rounds).map(|round| work.ids(round, steps, setup));
        let ids: Vec<Option<StepIds>> = ids.collect::<Result<_>>()?;
        let probes = match self.peers {
            true => probe::probe(work, &ours, ids[0].as_ref(), args.probe_steps, setup, done)?,
            false => Vec::new(),
        };
        let mut sides = sides(ours, &probes);
        for (round, ids) in ids.iter().enumerate() {
            for at in 0..sides.len() {
                let side = &sides[at].0;
                let name = side.name();
                let measured = Round {
                    number: round + 1,
                    ids: ids.as_ref(),
                    steps: args.steps,
                    limit: None,
                };
                let timing = work.time(side, measured, setup);
                let timing = timing.with_context(|| name.clone())?;
                let ours = sides[0].1.get(round).unwrap_or(&timing);
                let same = work.check_first_loss(ours, &timing);
                same.with_context(|| name.clone())?;
                done(&format!("{} {name}", work.name));
                sides[at].1.push(timing);
            }
        }
        let figures = |(side, timings): (Side, Vec<Timing>)| (side, Figures::of(&timings));
        Ok(Measured {
            name: work.name,
            sides: sides.into_iter().map(figures).collect(),
            probes,
            trained: ids
                .iter()
                .flatten()
                .map(|ids| ids.trained(1 + args.steps))
                .collect(),
            labels: ids[0].as_ref().map_or(0.0, StepIds::labels_per_step),
        })
    }
}

/// Our sides, and the peers' chosen settings.
fn sides(ours: Vec<Ours>, probes: &[Probe]) -> Vec<(Side, Vec<Timing>)> {
    let chosen = probes.iter().filter(|probe| probe.chosen);
    let chosen = chosen.map(|probe| Side::Peer(probe.program, probe.setting));
    let all = ours.into_iter().map(Side::Ours).chain(chosen);
    all.map(|side| (side, Vec::new())).collect()
}
