//! The machine: its CPU, the instruction sets of it that matter here, and the rates of matrix
//! products, measured with our kernels and with PyTorch.

use crate::peer;
use crate::setup::Setup;
use anyhow::{Result, ensure};
use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};
use std::time::Instant;

const SIZES: [usize; 2] = [1024, 2048];

/// Names in /proc/cpuinfo.
const INSTRUCTION_SETS: [&str; 10] = [
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_bf16",
    "amx_int8",
    "asimd",
    "bf16",
];

/// What the CPU is.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Cpu {
    /// With family and model: the name alone can be "Intel(R) Xeon(R) Processor"
    pub model: String,
    pub instruction_sets: Vec<String>,
}

impl Cpu {
    /// Of /proc/cpuinfo.
    ///
    /// ```
    /// let info = "cpu family: 6\nmodel: 207\nmodel name: A CPU\nflags: fpu avx2 amx_bf16\n";
    /// let cpu = bench::Cpu::of(info);
    /// assert_eq!(cpu.to_string(), "A CPU (family 6, model 207): avx2, amx_bf16");
    /// ```
    pub fn of(info: &str) -> Self {
        let value = |name: &str| {
            let mut lines = info.lines().filter_map(|line| line.split_once(':'));
            let (_, value) = lines.find(|(key, _)| key.trim() == name)?;
            Some(value.trim())
        };
        let of = |name| value(name).unwrap_or("unknown");
        let flags = value("flags").or_else(|| value("Features"));
        let flags: Vec<&str> = flags.unwrap_or_default().split_whitespace().collect();
        let known = INSTRUCTION_SETS.iter().filter(|set| flags.contains(set));
        Self {
            model: format!(
                "{} (family {}, model {})",
                of("model name"),
                of("cpu family"),
                of("model")
            ),
            instruction_sets: known.map(|set| set.to_string()).collect(),
        }
    }

    /// Of this machine.
    pub(crate) fn current() -> Self {
        Self::of(&std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default())
    }
}

impl std::fmt::Display for Cpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.model, self.instruction_sets.join(", "))
    }
}

/// The type of a product's numbers.
#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
pub(crate) enum Dtype {
    F32,
    /// PyTorch: of both factors. Ours: of the weights; it computes in f32
    Bf16,
}

impl Dtype {
    fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }
}

/// GF/s of a square product, the best of several.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Rate {
    pub f32: f64,
    pub bf16: f64,
}

/// The rates of both sides.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Rates {
    pub ours: Rate,
    /// PyTorch's; `None`: not measured
    pub torch: Option<Rate>,
    /// What PyTorch says that its own kernels use
    pub torch_instructions: Option<String>,
}

impl Rates {
    /// The better f32 rate of both.
    pub fn f32(&self) -> f64 {
        self.torch.map_or(0.0, |rate| rate.f32).max(self.ours.f32)
    }

    /// A line for each side.
    pub fn text(&self, threads: usize) -> String {
        let line = |who: &str, rate: Rate| {
            format!(
                "{who}: {:.0} GF/s in f32, {:.0} GF/s in bf16",
                rate.f32, rate.bf16
            )
        };
        let torch = self.torch.map_or("PyTorch: not measured".into(), |rate| {
            let instructions = self.torch_instructions.as_deref().unwrap_or_default();
            line(&format!("PyTorch ({instructions})"), rate)
        });
        let ours = line("ours", self.ours);
        format!("matrix products, {threads} threads: {ours}; {torch}\n")
    }
}

#[derive(Deserialize)]
struct Answer {
    gflops: f64,
    #[serde(default)]
    instructions: Option<String>,
}

/// Measures both sides, each in a process of its own.
pub(crate) fn rates(setup: &Setup, peers: bool) -> Result<Rates> {
    let mut rates = Rates {
        ours: Rate::default(),
        torch: peers.then(Rate::default),
        torch_instructions: None,
    };
    let better = |rate: &mut Rate, dtype: Dtype, gflops: f64| match dtype {
        Dtype::F32 => rate.f32 = rate.f32.max(gflops),
        Dtype::Bf16 => rate.bf16 = rate.bf16.max(gflops),
    };
    for size in SIZES {
        for dtype in [Dtype::F32, Dtype::Bf16] {
            let mut command = setup.ours("bench");
            command.args(["matmul", "--size", &size.to_string()]);
            command.args(["--dtype", dtype.name()]);
            let ours: Answer = peer::answer(command)?;
            better(&mut rates.ours, dtype, ours.gflops);
            if let Some(torch) = &mut rates.torch {
                let job = serde_json::json!({ "size": size, "dtype": dtype.name() });
                let answer: Answer = peer::answer(peer::command(setup, "matmul.py", 1, job)?)?;
                better(torch, dtype, answer.gflops);
                rates.torch_instructions = answer.instructions;
            }
        }
    }
    if let (Some(simd), Some(used)) = (setup.simd, &rates.torch_instructions) {
        ensure!(
            used.eq_ignore_ascii_case(simd.name()),
            "--simd {}: PyTorch uses {used}, so the sides are not held to the same",
            simd.name()
        );
    }
    Ok(rates)
}

/// `bench matmul`: the best of three seconds of products, as JSON.
pub(crate) fn matmul(size: usize, dtype: Dtype) -> Result<()> {
    ops::prepare_process().map_err(anyhow::Error::msg)?;
    let random = || Tensor::randn(0f32, 1.0, (size, size), &Device::Cpu);
    let (x, mut w) = (random()?, random()?);
    if dtype == Dtype::Bf16 {
        w = w.to_dtype(DType::BF16)?;
    }
    let (mut best, began) = (f64::MAX, Instant::now());
    while began.elapsed().as_secs_f64() < 3.0 {
        let start = Instant::now();
        ops::frozen_linear(&x, &w)?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    let gflops = 2.0 * (size as f64).powi(3) / best / 1e9;
    let answer =
        serde_json::json!({ "gflops": gflops, "instructions": ops::Level::current().name() });
    run::print(&format!("{answer}\n"))
}
