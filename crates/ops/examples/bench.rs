//! Speeds of the operations at the shapes of SmolLM2-135M, best of several runs:
//! `cargo run --release -p ops --example bench [linear|attention|element-wise|head|decode]`.

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor, Var};
use ops::Ragged;
use std::time::Instant;

const WIDTH: usize = 576;
const FFN: usize = 1536;
const KV_WIDTH: usize = 192;
const HEAD_DIM: usize = 64;
const VOCAB: usize = 49_152;
const RANK: usize = 8;

fn random(rows: usize, cols: usize) -> Result<Tensor> {
    Tensor::randn(0f32, 0.05, (rows, cols), &Device::Cpu)
}

/// A loss whose gradient is the tensor it holds, so that what comes before it is all that is timed.
struct Loss(Tensor);

impl CustomOp1 for Loss {
    fn name(&self) -> &'static str {
        "loss"
    }
    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(vec![0.0]), ().into()))
    }
    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(self.0.clone()))
    }
}

/// Backward from a random gradient of `out`.
fn backward(out: Tensor, grad: &Tensor) -> Result<()> {
    out.apply_op1(Loss(grad.clone()))?.backward().map(drop)
}

/// The least seconds of some runs, after one that does not count.
fn secs(mut f: impl FnMut() -> Result<()>) -> Result<f64> {
    f()?;
    let (mut best, began) = (f64::MAX, Instant::now());
    while began.elapsed().as_secs_f64() < 0.5 {
        let start = Instant::now();
        f()?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best)
}

fn linear() -> Result<()> {
    for (k, out) in [(WIDTH, WIDTH), (WIDTH, FFN), (FFN, WIDTH)] {
        let (w, a, b) = (random(out, k)?, random(RANK, k)?, random(out, RANK)?);
        let (a, b) = (Var::from_tensor(&a)?, Var::from_tensor(&b)?);
        for n in [512, 2048] {
            let x = Var::from_tensor(&random(n, k)?)?;
            let grad = random(n, out)?;
            let run = || ops::lora_linear(&x, &x, &w, &a, &b, 2.0);
            let forward = secs(|| run().map(drop))?;
            let both = secs(|| backward(run()?, &grad))?;
            let flops = 2.0 * (n * k * out) as f64 / 1e9;
            let (forward, both) = (flops / forward, 2.0 * flops / both);
            println!(
                "lora_linear {n} x ({k} -> {out}): forward {forward:.0}, with backward {both:.0} GF/s"
            );
        }
    }
    Ok(())
}

fn attention() -> Result<()> {
    for (seqs, len) in [(8, 256), (4, 512)] {
        let layout = Ragged::from_lens(&vec![len; seqs]);
        let n = layout.n_tokens();
        let q = Var::from_tensor(&random(n, WIDTH)?)?;
        let k = Var::from_tensor(&random(n, KV_WIDTH)?)?;
        let v = Var::from_tensor(&random(n, KV_WIDTH)?)?;
        let grad = random(n, WIDTH)?;
        let run = || ops::causal_attention(&q, &k, &v, &layout, HEAD_DIM);
        let forward = secs(|| run().map(drop))? * 1e3;
        let both = secs(|| backward(run()?, &grad))? * 1e3;
        println!(
            "causal_attention {seqs} x {len}: forward {forward:.1}, with backward {both:.1} ms"
        );
    }
    Ok(())
}

fn element_wise() -> Result<()> {
    let n = 2048;
    let (gate, up) = (
        Var::from_tensor(&random(n, FFN)?)?,
        Var::from_tensor(&random(n, FFN)?)?,
    );
    let forward = secs(|| ops::swiglu(&gate, &up).map(drop))? * 1e3;
    let both = secs(|| backward(ops::swiglu(&gate, &up)?, &gate))? * 1e3;
    println!("swiglu {n} x {FFN}: forward {forward:.2}, with backward {both:.2} ms");
    let (x, w) = (
        Var::from_tensor(&random(n, WIDTH)?)?,
        random(1, WIDTH)?.squeeze(0)?,
    );
    let forward = secs(|| ops::rms_norm(&x, &w, 1e-5).map(drop))? * 1e3;
    let both = secs(|| backward(ops::rms_norm(&x, &w, 1e-5)?, &x))? * 1e3;
    println!("rms_norm {n} x {WIDTH}: forward {forward:.2}, with backward {both:.2} ms");
    let table = random(512, HEAD_DIM / 2)?;
    let positions = Ragged::from_lens(&[512; 4]).positions();
    let forward = secs(|| ops::rope(&x, &table, &table, &positions).map(drop))? * 1e3;
    println!("rope {n} x {WIDTH}: forward {forward:.2} ms");
    Ok(())
}

fn head() -> Result<()> {
    let head = random(VOCAB, WIDTH)?;
    for m in [64, 512, 2048] {
        let hidden = Var::from_tensor(&random(m, WIDTH)?)?;
        let targets = vec![7; m];
        let run = || ops::token_scores(&hidden, &head, &targets, &vec![1.0; m]);
        let flops = 2.0 * (m * WIDTH * VOCAB) as f64 / 1e9;
        let forward = flops / secs(|| run().map(drop))?;
        let both = 3.0 * flops / secs(|| run()?.logp.sum_all()?.backward().map(drop))?;
        println!("token_scores {m}: forward {forward:.0}, with backward {both:.0} GF/s");
    }
    Ok(())
}

fn decode() -> Result<()> {
    for (k, out) in [(WIDTH, WIDTH), (WIDTH, FFN), (FFN, WIDTH), (WIDTH, VOCAB)] {
        // as many copies as make the weights come from memory, as they do in a model
        let copies = (64 << 20) / (4 * k * out) + 1;
        let weights = (0..copies)
            .map(|_| random(out, k))
            .collect::<Result<Vec<_>>>()?;
        let bytes = (4 * k * out) as f64 / 1e9;
        for n in [1, 8, 32, 48, 64, 96, 128, 256] {
            let x = random(n, k)?;
            let mut next = weights.iter().cycle();
            let each = secs(|| {
                let w = next.next().expect("endless");
                ops::frozen_linear(&x, w).map(drop)
            })?;
            let gflops = 2.0 * (n * k * out) as f64 / 1e9 / each;
            let rate = bytes / each;
            println!("decode {n} x ({k} -> {out}): {rate:.1} GB/s of weights, {gflops:.0} GF/s");
        }
    }
    let (rows, len) = (32, 128);
    let store = random(rows * len, KV_WIDTH)?;
    let q = random(rows, WIDTH)?;
    let spans: Vec<_> = (0..rows).map(|i| vec![(i * len, len)]).collect();
    let run = || ops::cached_attention(&q, &store, &store, &spans, HEAD_DIM).map(drop);
    let micros = secs(run)? * 1e6;
    println!("cached_attention {rows} rows over {len}: {micros:.0} us");
    let (src, at) = (random(rows, KV_WIDTH)?, (0..rows).collect::<Vec<_>>());
    let micros = secs(|| ops::scatter_rows(&store, &at, &src))? * 1e6;
    println!("scatter_rows {rows}: {micros:.1} us");
    Ok(())
}

type Group = (&'static str, fn() -> Result<()>);

fn main() -> Result<()> {
    ops::keep_freed_pages();
    let all: [Group; 5] = [
        ("linear", linear),
        ("attention", attention),
        ("element-wise", element_wise),
        ("head", head),
        ("decode", decode),
    ];
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    all.iter()
        .filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|w| w == name))
        .try_for_each(|(_, run)| run())
}
