//! `bench`: our steps and decoding beside their peers' (TRL, transformers, llama.cpp), interleaved, in one run. `make bench` prepares
//! what it needs (scripts/bench).

mod decode;
mod machine;
mod peer;
mod rows;
mod table;
mod work;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use work::{Side, WORKS, Work};

#[derive(Parser)]
#[command(
    about = "Our steps and decoding beside their peers', interleaved",
    after_help = "examples:\n  make bench\n  bench compare --only sft_step decode_b8 --rounds 1\n  bench decode --model .bench/model --batch 8"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// All works against their peers; a table, and a JSON file in --out
    Compare(Compare),
    /// Our decoding of one batch, as JSON
    Decode(decode::Args),
    /// Our f32 matrix product, as JSON
    Matmul {
        /// Rows, columns and depth
        #[arg(long, default_value_t = 1024)]
        size: usize,
    },
}

#[derive(clap::Args)]
struct Compare {
    /// Works to run; default: all
    #[arg(long, num_args = 1..)]
    only: Vec<String>,
    /// Rounds of (ours, peer, …); each takes other rows
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Timed steps of each side and round, after one that does not count
    #[arg(long, default_value_t = 2)]
    steps: usize,
    /// Threads of each side
    #[arg(long, default_value_t = std::thread::available_parallelism().map_or(1, usize::from))]
    threads: usize,
    /// Directory with alpaca_gpt4.json and comparison_gpt4.json (`make fetch-data`)
    #[arg(long, default_value = "data/real")]
    data: PathBuf,
    /// Where the peers are (scripts/bench/setup.sh)
    #[arg(long, default_value = ".bench")]
    peers: PathBuf,
    /// Where our binaries are
    #[arg(long, default_value = "target/release")]
    binaries: PathBuf,
    /// Where the JSON file goes
    #[arg(long, default_value = "docs/bench")]
    out: PathBuf,
    /// Ours alone, to see what a change did
    #[arg(long)]
    ours: bool,
}

fn main() -> ExitCode {
    run::exit(match Cli::parse().command {
        Command::Compare(args) => compare(&args),
        Command::Decode(args) => decode::run(&args),
        Command::Matmul { size } => machine::matmul(size),
    })
}

fn compare(args: &Compare) -> Result<()> {
    let machine_threads = std::thread::available_parallelism().map_or(1, usize::from);
    if args.threads == 0 || args.threads > machine_threads {
        bail!(
            "--threads {}: this machine has 1 to {machine_threads}",
            args.threads
        );
    }
    if args.rounds == 0 || args.steps == 0 {
        bail!("--rounds and --steps must be at least 1");
    }
    for name in &args.only {
        if !WORKS.iter().any(|work| work.name == name) {
            let known: Vec<&str> = WORKS.iter().map(|work| work.name).collect();
            bail!("--only {name}: unknown; there are {}", known.join(", "));
        }
    }
    let works: Vec<&Work> = WORKS
        .iter()
        .filter(|work| args.only.is_empty() || args.only.iter().any(|name| name == work.name))
        .collect();
    let place = work::Place {
        peers: args.peers.clone(),
        binaries: args.binaries.clone(),
        threads: args.threads,
        steps: args.steps,
    };
    place.check(!args.ours)?;
    rows::write(&args.data, &place.rows(), args.rounds).with_context(|| {
        format!(
            "the rows come from {}; `make fetch-data` brings them, --data names another place",
            args.data.display()
        )
    })?;

    let rates = machine::rates(&place, !args.ours)?;
    let total = works
        .iter()
        .map(|w| w.sides(args.ours).count())
        .sum::<usize>()
        * args.rounds;
    let mut progress = run::Progress::new("bench", total as u64);
    let mut measured: Vec<table::Measured> = Vec::new();
    let mut done = 0;
    for work in works {
        let mut sides: Vec<(Side, Vec<work::Timing>)> = work
            .sides(args.ours)
            .map(|side| (side, Vec::new()))
            .collect();
        for round in 1..=args.rounds {
            for (side, timings) in &mut sides {
                let timing = work
                    .time(*side, round, &place)
                    .with_context(|| format!("{}, {}", work.name, side.name()))?;
                done += 1;
                progress.update(done, 0, &format!("{} {}", work.name, side.name()));
                timings.push(timing);
            }
        }
        measured.push(table::Measured::of(work, sides));
    }
    progress.finish("");
    let report = table::Report::new(measured, rates, &place)?;
    run::print(&report.text())?;
    let file = report.write(&args.out)?;
    run::print(&format!("{}\n", file.display()))
}
