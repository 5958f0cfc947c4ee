//! `bench check-ops`: every operation of `ops` on a device, forward and gradients, against the same
//! operation on the CPU in f64.

use anyhow::{Result, bail};
use candle_core::{DType, Device, Tensor, Var};
use ops::{AttentionSpec, Ragged, Rotation};

/// Largest ‖device − CPU‖ / ‖CPU‖ by the dtype of operands and results.
const TOLERANCE: [(DType, f64); 2] = [(DType::F32, 2e-5), (DType::BF16, 2e-2)];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    device: String,
}

type Run = fn(&[Tensor]) -> candle_core::Result<Tensor>;

struct Case {
    name: &'static str,
    /// Shapes of the inputs that get a gradient
    inputs: &'static [(usize, usize)],
    /// Shapes of the other inputs
    frozen: &'static [(usize, usize)],
    run: Run,
}

/// 96 tokens of 3 sequences, width 128, 4 heads of 64, 2 of keys, feed-forward 160, vocabulary 300,
/// rank 8.
const CASES: [Case; 9] = [
    Case {
        name: "rms_norm",
        inputs: &[(96, 128), (1, 128)],
        frozen: &[],
        run: |t| ops::rms_norm(&t[0], &t[1].flatten_all()?, 1e-5),
    },
    Case {
        name: "rope",
        inputs: &[(96, 256)],
        frozen: &[(96, 32), (96, 32)],
        run: |t| {
            let positions: Vec<u32> = (0..96).collect();
            let rotation = Rotation {
                tables: (&t[1], &t[2]),
                positions: &positions,
                head_dim: 64,
            };
            ops::rope(&t[0], rotation)
        },
    },
    Case {
        name: "causal_attention",
        inputs: &[(96, 256), (96, 128), (96, 128)],
        frozen: &[],
        run: |t| {
            let (layout, spec) = (
                Ragged::from_lens(&[40, 7, 49]),
                AttentionSpec::new(4, 2, 64),
            );
            ops::causal_attention(&t[0], &t[1], &t[2], &layout, spec)
        },
    },
    Case {
        name: "swiglu",
        inputs: &[(96, 160), (96, 160)],
        frozen: &[],
        run: |t| ops::swiglu(&t[0], &t[1]),
    },
    Case {
        name: "frozen_linear",
        inputs: &[(96, 128)],
        frozen: &[(160, 128)],
        run: |t| ops::frozen_linear(&t[0], &t[1]),
    },
    Case {
        name: "added_linear",
        inputs: &[(96, 160), (96, 128)],
        frozen: &[(160, 128)],
        run: |t| ops::added_linear(&t[0], &t[1], &t[2]),
    },
    Case {
        name: "lora_linear",
        inputs: &[(96, 128), (8, 128), (160, 8)],
        frozen: &[(160, 128)],
        run: |t| ops::lora_linear(&t[0], &t[0], &t[3], &t[1], &t[2], 2.0),
    },
    Case {
        name: "token_scores: log-probability",
        inputs: &[(96, 128)],
        frozen: &[(300, 128)],
        run: |t| Ok(scores(t)?.logp),
    },
    Case {
        name: "token_scores: entropy",
        inputs: &[(96, 128)],
        frozen: &[(300, 128)],
        run: |t| Ok(scores(t)?.entropy),
    },
];

fn scores(t: &[Tensor]) -> candle_core::Result<ops::TokenScores> {
    let targets: Vec<u32> = (0..96).map(|i| i * 97 % 300).collect();
    ops::token_scores(&t[0], &t[1], &targets, &[0.9; 96])
}

pub(crate) fn run(args: &Args) -> Result<()> {
    ops::prepare_process().map_err(anyhow::Error::msg)?;
    let device = policy::device(&args.device)?;
    let mut failed = 0;
    for (dtype, most) in TOLERANCE {
        if !ops::has_kernels(&device, dtype) {
            continue;
        }
        for case in &CASES {
            let verdict = match errors(case, dtype, &device) {
                Ok(errors) => {
                    let worst = errors.iter().copied().fold(0.0, f64::max);
                    let good = errors.iter().all(|e| *e <= most);
                    failed += usize::from(!good);
                    format!(
                        "{worst:.1e}, {}",
                        if good { "same" } else { "NOT THE SAME" }
                    )
                }
                Err(e) => {
                    failed += 1;
                    format!("FAILED: {}", run::one_line(&e))
                }
            };
            run::print(&format!(
                "op {} {}: {verdict} (at most {most:.0e})\n",
                case.name,
                dtype.as_str()
            ))?;
        }
    }
    match failed {
        0 => Ok(()),
        n => bail!("{n} operations differ from the CPU's"),
    }
}

/// The errors of the result and of each gradient.
fn errors(case: &Case, dtype: DType, device: &Device) -> Result<Vec<f64>> {
    let ours = results(case, dtype, device)?;
    let theirs = results(case, DType::F64, &Device::Cpu)?;
    let pairs = ours.iter().zip(&theirs);
    pairs.map(|(ours, theirs)| distance(ours, theirs)).collect()
}

fn results(case: &Case, dtype: DType, device: &Device) -> Result<Vec<Tensor>> {
    let mut inputs = Vec::new();
    let mut vars = Vec::new();
    for (i, shape) in case.inputs.iter().enumerate() {
        let var = Var::from_tensor(&numbers(*shape, i)?.to_device(device)?.to_dtype(dtype)?)?;
        inputs.push(var.as_tensor().clone());
        vars.push(var);
    }
    for (i, shape) in case.frozen.iter().enumerate() {
        let tensor = numbers(*shape, 10 + i)?.to_device(device)?;
        // the tables of rope are f32 unless they are f64
        let kept = match (case.name, dtype) {
            ("rope", DType::BF16) => DType::F32,
            _ => dtype,
        };
        inputs.push(tensor.to_dtype(kept)?);
    }
    let result = (case.run)(&inputs)?;
    let (rows, columns) = match result.dims() {
        [rows, columns] => (*rows, *columns),
        _ => (1, result.elem_count()),
    };
    let weight = numbers((rows, columns), 99)?.to_device(device)?;
    let weight = weight.to_dtype(result.dtype())?.reshape(result.shape())?;
    let grads = (&result * weight)?.sum_all()?.backward()?;
    let mut results = vec![result];
    for var in &vars {
        let grad = grads.get(var.as_tensor());
        results.push(grad.ok_or_else(|| anyhow::anyhow!("no gradient"))?.clone());
    }
    Ok(results)
}

/// Numbers between −1 and 1 that bf16 holds exactly, f64 on the CPU.
fn numbers(shape: (usize, usize), which: usize) -> Result<Tensor> {
    let number = |i: usize| {
        let mixed = (i * 2_654_435_761 + which * 40_503 + 12_345) % 1_000_003;
        ((mixed % 255) as f64 - 127.0) / 128.0
    };
    let numbers: Vec<f64> = (0..shape.0 * shape.1).map(number).collect();
    Ok(Tensor::from_vec(numbers, shape, &Device::Cpu)?)
}

fn distance(ours: &Tensor, theirs: &Tensor) -> Result<f64> {
    let flat = |t: &Tensor| -> Result<Vec<f64>> {
        let t = t.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
        Ok(t.flatten_all()?.to_vec1()?)
    };
    let (ours, theirs) = (flat(ours)?, flat(theirs)?);
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|v| v * v).sum::<f64>().sqrt();
    let difference = norm(&mut ours.iter().zip(&theirs).map(|(a, b)| a - b));
    let whole = norm(&mut theirs.iter().copied());
    match difference.is_nan() {
        true => Ok(f64::INFINITY),
        false => Ok(difference / whole.max(1e-30)),
    }
}
