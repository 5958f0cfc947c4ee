//! The files of a benchmark and the share of the machine that it uses.

use crate::side::Side;
use anyhow::{Result, ensure};
use std::path::PathBuf;

/// Options that the comparing subcommands share.
#[derive(clap::Args)]
pub(crate) struct Common {
    /// Threads of each side
    #[arg(long, default_value_t = machine_threads())]
    pub threads: usize,
    /// Directory with alpaca_gpt4.json and comparison_gpt4.json (`make fetch-data`)
    #[arg(long, default_value = "data/real")]
    pub data: PathBuf,
    /// Directory of the model and the peers (scripts/bench/setup.sh)
    #[arg(long, default_value = ".bench")]
    pub peers: PathBuf,
    /// Directory of our binaries
    #[arg(long, default_value = "target/release")]
    pub binaries: PathBuf,
    /// Directory of the JSON file
    #[arg(long, default_value = "docs/bench")]
    pub out: PathBuf,
}

fn machine_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

impl Common {
    /// `steps`: timed steps of each process.
    pub fn setup(&self, steps: usize) -> Result<Setup> {
        let most = machine_threads();
        ensure!(
            (1..=most).contains(&self.threads),
            "--threads {}: this machine has 1 to {most}",
            self.threads
        );
        ensure!(steps > 0, "--steps must be at least 1");
        Ok(Setup {
            peers: self.peers.clone(),
            binaries: self.binaries.clone(),
            threads: self.threads,
            steps,
        })
    }
}

/// The directories and the number of threads and steps.
pub(crate) struct Setup {
    pub peers: PathBuf,
    pub binaries: PathBuf,
    pub threads: usize,
    pub steps: usize,
}

impl Setup {
    /// Directory of the rows of each round.
    pub fn rows(&self) -> PathBuf {
        self.peers.join("rows")
    }

    /// Directory of our runs.
    pub fn runs(&self) -> PathBuf {
        self.peers.join("runs")
    }

    /// The model of every comparison.
    pub fn model(&self) -> PathBuf {
        self.peers.join("model")
    }

    /// Checks that the files exist which the run needs.
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
