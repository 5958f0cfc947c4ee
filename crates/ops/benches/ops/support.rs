//! Shapes, inputs, and the two forms of an operation side by side.

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor, Var};
use criterion::{Criterion, Throughput};
use ops::AttentionSpec;
use std::time::Duration;

pub const WIDTH: usize = 576;
pub const FFN: usize = 1536;
pub const KV_WIDTH: usize = 192;
pub const HEAD_DIM: usize = 64;
pub const VOCAB: usize = 49_152;
pub const RANK: usize = 8;
/// Tokens of a micro-batch
pub const TOKENS: usize = 1024;

pub fn attention_spec() -> AttentionSpec {
    AttentionSpec::new(WIDTH / HEAD_DIM, KV_WIDTH / HEAD_DIM, HEAD_DIM)
}

/// Short measurements: all of them together take two or three minutes.
pub fn settings() -> Criterion {
    ops::prepare_process().expect("an instruction set of this machine");
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400))
        .nresamples(2000)
}

pub fn random(rows: usize, cols: usize) -> Tensor {
    Tensor::randn(0f32, 0.05, (rows, cols), &Device::Cpu).expect("a shape")
}

pub fn random_var(rows: usize, cols: usize) -> Var {
    Var::from_tensor(&random(rows, cols)).expect("a copy")
}

pub fn flops(n: usize) -> Throughput {
    Throughput::Elements(n as u64)
}

/// Of so many f32 elements.
pub fn bytes(elements: usize) -> Throughput {
    Throughput::Bytes(4 * elements as u64)
}

/// Times our form of an operation of this size, then the plain one.
pub fn compare<T>(
    c: &mut Criterion,
    op: &str,
    size: &str,
    work: Throughput,
    mut ours: impl FnMut() -> Result<T>,
    mut plain: impl FnMut() -> Result<T>,
) {
    let mut group = c.benchmark_group(op);
    group.throughput(work);
    group.bench_function(format!("{size}/ours"), |b| b.iter(|| ours().unwrap()));
    group.bench_function(format!("{size}/candle"), |b| b.iter(|| plain().unwrap()));
    group.finish();
}

/// [`compare`] of forward, then of forward with backward from a random gradient of the result.
pub fn compare_with_backward(
    c: &mut Criterion,
    op: &str,
    size: &str,
    (forward, both): (Throughput, Throughput),
    ours: impl Fn() -> Result<Tensor>,
    plain: impl Fn() -> Result<Tensor>,
) {
    compare(c, op, &format!("{size} forward"), forward, &ours, &plain);
    let grad = ours().and_then(|y| y.randn_like(0.0, 0.05)).unwrap();
    let backward = |y: Tensor| y.apply_op1(Loss(grad.clone()))?.backward();
    let (ours, plain) = (|| backward(ours()?), || backward(plain()?));
    compare(c, op, &format!("{size} and backward"), both, ours, plain);
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
