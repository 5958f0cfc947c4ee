//! The machine's rate of f32 matrix products, measured with PyTorch and with our kernels.

use crate::peer;
use crate::setup::Setup;
use anyhow::Result;
use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};
use std::process::Command;
use std::time::Instant;

const SIZES: [usize; 2] = [1024, 2048];

/// GF/s of a square f32 product, the best of several.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Rates {
    pub ours_gflops: f64,
    /// PyTorch's; `None`: not measured
    pub peer_gflops: Option<f64>,
}

impl Rates {
    /// The better of both.
    pub fn machine(&self) -> f64 {
        self.peer_gflops.unwrap_or(0.0).max(self.ours_gflops)
    }
}

#[derive(Deserialize)]
struct Rate {
    gflops: f64,
}

/// Measures both sides, each in a process of its own.
pub(crate) fn rates(setup: &Setup, peers: bool) -> Result<Rates> {
    let (mut ours, mut peer) = (0f64, peers.then_some(0f64));
    for size in SIZES {
        let mut command = Command::new(setup.binaries.join("bench"));
        command
            .args(["matmul", "--size", &size.to_string()])
            .env("RAYON_NUM_THREADS", setup.threads.to_string());
        ours = ours.max(peer::answer::<Rate>(command)?.gflops);
        if let Some(best) = &mut peer {
            let job = serde_json::json!({ "size": size });
            let rate: Rate = peer::answer(peer::command(setup, "matmul.py", 1, job)?)?;
            *best = best.max(rate.gflops);
        }
    }
    Ok(Rates {
        ours_gflops: ours,
        peer_gflops: peer,
    })
}

/// `bench matmul`: the best of three seconds of products, as JSON.
pub(crate) fn matmul(size: usize) -> Result<()> {
    let random = || Tensor::randn(0f32, 1.0, (size, size), &Device::Cpu);
    let (x, w) = (random()?, random()?);
    let (mut best, began) = (f64::MAX, Instant::now());
    while began.elapsed().as_secs_f64() < 3.0 {
        let start = Instant::now();
        ops::frozen_linear(&x, &w)?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    let gflops = 2.0 * (size as f64).powi(3) / best / 1e9;
    run::print(&format!("{}\n", serde_json::json!({ "gflops": gflops })))
}
