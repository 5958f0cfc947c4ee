//! `bench compare`: every workload on every side, interleaved.

use crate::figures::Figures;
use crate::setup::Common;
use crate::side::Side;
use crate::timing::Timing;
use crate::work::{WORKS, Work};
use crate::{esrl, ids, machine, rows, table};
use anyhow::{Context, Result, bail, ensure};

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
    /// Only our side, to measure a change
    #[arg(long)]
    ours: bool,
    #[command(flatten)]
    common: Common,
}

impl Args {
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(args.rounds > 0, "--rounds must be at least 1");
    let known: Vec<&str> = WORKS.iter().map(|work| work.name).collect();
    let known = [known, vec![esrl::NAME]].concat();
    for name in &args.only {
        if !known.contains(&name.as_str()) {
            bail!(
                "--only {name}: unknown; the workloads are {}",
                known.join(", ")
            );
        }
    }
    let works: Vec<&Work> = WORKS.iter().filter(|work| args.wants(work.name)).collect();
    let setup = args.common.setup(args.steps)?;
    let peers = !args.ours && !works.is_empty();
    setup.check(peers)?;
    rows::write(&args.common.data, &setup.rows(), args.rounds, args.steps)?;
    if peers {
        let n_ids = ids::check(&setup, args.rounds)?;
        run::say!("both sides make the same {n_ids} token ids of the rows");
    }

    let rates = machine::rates(&setup, peers)?;
    let sides = works.iter().map(|work| work.sides(args.ours).count());
    let of_esrl = match args.wants(esrl::NAME) {
        true => esrl::processes(args.rounds),
        false => 0,
    };
    let total = sides.sum::<usize>() * args.rounds + of_esrl;
    let mut progress = run::Progress::new("bench", total as u64);
    let mut n_done = 0;
    let mut done = |what: &str| {
        n_done += 1;
        progress.update(n_done, 0, what);
    };
    let mut measured = Vec::new();
    for work in works {
        let mut sides: Vec<(Side, Vec<Timing>)> = work
            .sides(args.ours)
            .map(|side| (side, Vec::new()))
            .collect();
        for round in 1..=args.rounds {
            for (side, timings) in &mut sides {
                let timing = work
                    .time(*side, round, &setup)
                    .with_context(|| format!("{}, {}", work.name, side.name()))?;
                done(&format!("{} {}", work.name, side.name()));
                timings.push(timing);
            }
        }
        let figures = |(side, timings): (Side, Vec<Timing>)| (side, Figures::of(&timings));
        measured.push(table::Measured::of(
            work,
            sides.into_iter().map(figures).collect(),
        ));
    }
    let esrl = match of_esrl {
        0 => None,
        _ => Some(esrl::measure(&setup, args.rounds, &mut done)?),
    };
    progress.finish("");
    let report = table::Report::new(measured, esrl, rates, &setup)?;
    run::print(&report.text())?;
    let file = report.write(&args.common.out)?;
    run::print(&format!("{}\n", file.display()))
}
