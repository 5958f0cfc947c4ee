//! `bench`: measures our training steps and decoding against TRL, transformers and llama.cpp, and
//! ESRL against our PPO, interleaved in one run; and the cost of our steps by size. `make bench`
//! prepares what it needs (scripts/bench).

mod compare;
mod decode;
mod esrl;
mod figures;
mod ids;
mod kernels;
mod machine;
mod ops_check;
mod peer;
mod probe;
mod random_model;
mod report;
mod rows;
mod setup;
mod side;
mod sizes;
mod stage_run;
mod table;
mod timing;
mod token_file;
mod trained;
mod work;

pub use machine::Cpu;
pub use token_file::read_tokens;
pub use trained::{Sequence, Trained};

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    about = "Measure our steps and decoding against their peers, interleaved",
    after_help = concat!(
        "examples:\n",
        "  make bench\n",
        "  bench compare --only sft_step decode_b8 --rounds 1\n",
        "  bench compare --simd avx2 --ours-with train.micro_batch_tokens=1024\n",
        "  bench sizes\n",
        "  bench decode --model .bench/model --batch 8"
    )
)]
/// The command line.
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Every workload against its peers: a table, and a JSON file in --out
    Compare(compare::Args),
    /// The cost of our steps by length, batch, rank, samples and width: a table, a plot, and a JSON
    /// file in --out
    Sizes(sizes::Args),
    /// Decode one batch; prints JSON
    Decode(decode::Args),
    /// Each operation at the size of a 7B: seconds, and the share of the device's peak rate
    Kernels(kernels::Args),
    /// Check every operation on a device against the CPU, one line each
    CheckOps(ops_check::Args),
    /// Write a model with random weights of a shape
    RandomModel(random_model::Args),
    /// Our matrix product; prints JSON
    Matmul {
        /// Rows, columns and depth
        #[arg(long, default_value_t = 1024)]
        size: usize,
        /// Type of the numbers
        #[arg(long, value_enum, default_value = "f32")]
        dtype: machine::Dtype,
    },
}

impl Cli {
    /// Does what the subcommand asks for.
    pub fn execute(&self) -> Result<()> {
        match &self.command {
            Command::Compare(args) => compare::run(args),
            Command::Sizes(args) => sizes::run(args),
            Command::Decode(args) => decode::run(args),
            Command::Kernels(args) => kernels::run(args),
            Command::CheckOps(args) => ops_check::run(args),
            Command::RandomModel(args) => random_model::run(args),
            Command::Matmul { size, dtype } => machine::matmul(*size, *dtype),
        }
    }
}
