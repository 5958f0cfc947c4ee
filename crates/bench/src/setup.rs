//! The files of a benchmark and the share of the machine that it uses.

use crate::side;
use anyhow::{Result, ensure};
use std::path::PathBuf;
use std::process::Command;

/// Options that the comparing subcommands share.
#[derive(clap::Args)]
pub(crate) struct Common {
    /// Threads of each side
    #[arg(long, default_value_t = machine_threads())]
    pub threads: usize,
    /// Hold every side to this instruction set
    #[arg(long, value_enum)]
    pub simd: Option<Simd>,
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

/// An instruction set that all sides can be held to.
#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
pub(crate) enum Simd {
    Avx2,
}

impl Simd {
    /// As our kernels, PyTorch and reports name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx2 => "avx2",
        }
    }

    /// The environment that holds our kernels and PyTorch's libraries to it. llama.cpp is built
    /// for it.
    fn environment(self) -> [(&'static str, &'static str); 4] {
        match self {
            Self::Avx2 => [
                (ops::Level::VARIABLE, "avx2"),
                ("ATEN_CPU_CAPABILITY", "avx2"),
                ("ONEDNN_MAX_CPU_ISA", "AVX2"),
                ("MKL_ENABLE_INSTRUCTIONS", "AVX2"),
            ],
        }
    }
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
            simd: self.simd,
            steps,
        })
    }
}

/// The directories, the number of threads and steps, and the instruction set.
pub(crate) struct Setup {
    pub peers: PathBuf,
    pub binaries: PathBuf,
    pub threads: usize,
    pub simd: Option<Simd>,
    pub steps: usize,
}

impl Setup {
    /// Directory of the rows of each round.
    pub fn rows(&self) -> PathBuf {
        self.peers.join("rows")
    }

    /// Directory of the token ids of each round.
    pub fn ids(&self) -> PathBuf {
        self.peers.join("ids")
    }

    /// Directory of our runs.
    pub fn runs(&self) -> PathBuf {
        self.peers.join("runs")
    }

    /// The model of every comparison.
    pub fn model(&self) -> PathBuf {
        self.peers.join("model")
    }

    /// llama.cpp's program, built for the instruction set.
    pub fn llama_cpp(&self) -> PathBuf {
        let dir = match self.simd {
            Some(simd) => format!("llama.cpp-{}", simd.name()),
            None => "llama.cpp".into(),
        };
        self.peers.join(dir).join("bin/llama-batched-bench")
    }

    /// A process of one of our binaries.
    pub fn ours(&self, binary: &str) -> Command {
        let mut command = self.held(self.binaries.join(binary));
        command.env("RAYON_NUM_THREADS", self.threads.to_string());
        command
    }

    /// A process of the peers' Python.
    pub fn python(&self) -> Command {
        self.held(self.peers.join("env/bin/python"))
    }

    fn held(&self, program: PathBuf) -> Command {
        let mut command = Command::new(program);
        command.envs(self.simd.into_iter().flat_map(Simd::environment));
        command
    }

    /// Checks that the files exist which the run needs.
    pub fn check(&self, peers: bool) -> Result<()> {
        let mut needed = vec![self.model().join("config.json"), self.binaries.join("sft")];
        if peers {
            needed.push(self.peers.join("env/bin/python"));
            needed.push(self.llama_cpp());
            needed.extend(side::gguf_files().map(|file| self.peers.join(file)));
        }
        let avx2 = self.simd.map_or("", |_| " avx2");
        for file in needed {
            ensure!(
                file.exists(),
                "{} is missing; `make bench` runs `scripts/bench/setup.sh{avx2}`, which makes it",
                file.display()
            );
        }
        Ok(())
    }
}
