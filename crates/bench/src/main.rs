//! `bench`: our steps and decoding beside their peers' (TRL, transformers, llama.cpp), ESRL beside our PPO, interleaved, in one run; and
//! what our steps cost by size. `make bench` prepares what it needs (scripts/bench).

mod compare;
mod decode;
mod esrl;
mod figures;
mod kernels;
mod machine;
mod ops_check;
mod peer;
mod report;
mod rows;
mod sizes;
mod stage_run;
mod table;
mod wide;
mod work;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use work::Place;

#[derive(Parser)]
#[command(
    about = "Our steps and decoding beside their peers', interleaved",
    after_help = "examples:\n  make bench\n  bench compare --only sft_step decode_b8 --rounds 1\n  bench sizes\n  bench decode --model .bench/model --batch 8"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// All works against their peers; a table, and a JSON file in --out
    Compare(compare::Args),
    /// What our steps cost by length, batch, rank, samples and width; a table, a plot, and a JSON file in --out
    Sizes(sizes::Args),
    /// Our decoding of one batch, as JSON
    Decode(decode::Args),
    /// Each operation at the size of a 7B: seconds, and the share of the device's rates
    Kernels(kernels::Args),
    /// Every operation on a device against the CPU, one line each
    CheckOps(ops_check::Args),
    /// Our f32 matrix product, as JSON
    Matmul {
        /// Rows, columns and depth
        #[arg(long, default_value_t = 1024)]
        size: usize,
    },
}

/// Where things are, and how much of the machine is used.
#[derive(clap::Args)]
struct Common {
    /// Threads of each side
    #[arg(long, default_value_t = machine_threads())]
    threads: usize,
    /// Directory with alpaca_gpt4.json and comparison_gpt4.json (`make fetch-data`)
    #[arg(long, default_value = "data/real")]
    data: PathBuf,
    /// Where model and peers are (scripts/bench/setup.sh)
    #[arg(long, default_value = ".bench")]
    peers: PathBuf,
    /// Where our binaries are
    #[arg(long, default_value = "target/release")]
    binaries: PathBuf,
    /// Where the JSON file goes
    #[arg(long, default_value = "docs/bench")]
    out: PathBuf,
}

fn machine_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

impl Common {
    /// `steps`: timed ones of each process.
    fn place(&self, steps: usize) -> Result<Place> {
        let most = machine_threads();
        ensure!(
            (1..=most).contains(&self.threads),
            "--threads {}: this machine has 1 to {most}",
            self.threads
        );
        ensure!(steps > 0, "--steps must be at least 1");
        Ok(Place {
            peers: self.peers.clone(),
            binaries: self.binaries.clone(),
            threads: self.threads,
            steps,
        })
    }
}

fn main() -> ExitCode {
    run::exit(match Cli::parse().command {
        Command::Compare(args) => compare::run(&args),
        Command::Sizes(args) => sizes::run(&args),
        Command::Decode(args) => decode::run(&args),
        Command::Kernels(args) => kernels::run(&args),
        Command::CheckOps(args) => ops_check::run(&args),
        Command::Matmul { size } => machine::matmul(size),
    })
}
