//! Each operation at the size that a 7B has, forward and with its gradient: seconds, and its share of what the device can do: of the rate of a
//! large product in bf16 where it multiplies, of the rate of a copy where it does not.

use anyhow::Result;
use candle_core::{DType, Device, Tensor, Var};
use ops::Ragged;
use std::time::Instant;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// cpu, cuda or cuda:N
    #[arg(long, default_value = "cuda")]
    device: String,
    /// Tokens side by side: four of prompt 256 + response 256
    #[arg(long, default_value_t = 2048)]
    tokens: usize,
    /// Divides every width, to try the program itself
    #[arg(long, default_value_t = 1)]
    shrink: usize,
    /// Timed runs of each; the median counts
    #[arg(long, default_value_t = 20)]
    steps: usize,
}

/// What one run of an operation needs at least.
enum Work {
    /// Numbers read and written
    Numbers(usize),
    /// Multiplications and additions
    Flops(f64),
}

/// Of a 7B
const HEAD_DIM: usize = 128;

type Run = Box<dyn Fn(&[Tensor]) -> candle_core::Result<Tensor>>;

struct Case {
    name: &'static str,
    /// Of the forward, and of forward and gradient
    work: [Work; 2],
    /// With gradients to these
    inputs: Vec<Tensor>,
    run: Run,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    ops::prepare_process().map_err(anyhow::Error::msg)?;
    let device = policy::device(&args.device)?;
    let dtype = ops::activation_dtype(&device, DType::BF16, HEAD_DIM);
    let ceilings = Ceilings::of(&device, dtype, args)?;
    run::print(&format!(
        "{}: a copy moves {:.0} GB/s, a large product of {dtype:?} makes {:.1} TFLOP/s\n\n| operation | forward, ms | of the ceiling | with gradient, ms | of the ceiling |\n|---|---|---|---|---|\n",
        args.device,
        ceilings.bytes / 1e9,
        ceilings.flops / 1e12
    ))?;
    for case in cases(&device, dtype, args)? {
        let forward = case.seconds(&device, args.steps, false)?;
        let both = case.seconds(&device, args.steps, true)?;
        let [of_forward, of_both] = &case.work;
        let size = dtype.size_in_bytes();
        run::print(&format!(
            "| {} | {:.3} | {:.0} % | {:.3} | {:.0} % |\n",
            case.name,
            1e3 * forward,
            100.0 * ceilings.least(of_forward, size) / forward,
            1e3 * both,
            100.0 * ceilings.least(of_both, size) / both,
        ))?;
    }
    Ok(())
}

/// What the device can do, a second.
struct Ceilings {
    bytes: f64,
    flops: f64,
}

impl Ceilings {
    fn of(device: &Device, dtype: DType, args: &Args) -> Result<Self> {
        let large = numbers(&[8192 / args.shrink, 16_384 / args.shrink], dtype, device)?;
        let copy = median(device, args.steps, || large.copy().map(drop))?;
        let side = 8192 / args.shrink;
        let a = numbers(&[side, side], dtype, device)?;
        let product = median(device, args.steps, || a.matmul(&a).map(drop))?;
        Ok(Self {
            bytes: 2.0 * (large.elem_count() * dtype.size_in_bytes()) as f64 / copy,
            flops: 2.0 * (side as f64).powi(3) / product,
        })
    }

    /// Seconds that the work takes at least.
    fn least(&self, work: &Work, size: usize) -> f64 {
        match work {
            Work::Numbers(n) => (n * size) as f64 / self.bytes,
            Work::Flops(n) => n / self.flops,
        }
    }
}

impl Case {
    fn seconds(&self, device: &Device, steps: usize, gradient: bool) -> Result<f64> {
        if !gradient {
            let inputs: Vec<Tensor> = self.inputs.iter().map(Tensor::detach).collect();
            return median(device, steps, || (self.run)(&inputs).map(drop));
        }
        median(device, steps, || {
            (self.run)(&self.inputs)?.sum_all()?.backward().map(drop)
        })
    }
}

/// The median of `steps` runs after three that do not count.
fn median(
    device: &Device,
    steps: usize,
    mut f: impl FnMut() -> candle_core::Result<()>,
) -> Result<f64> {
    let mut seconds = Vec::new();
    for step in 0..steps + 3 {
        device.synchronize()?;
        let began = Instant::now();
        f()?;
        device.synchronize()?;
        if step >= 3 {
            seconds.push(began.elapsed().as_secs_f64());
        }
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds[seconds.len() / 2])
}

fn numbers(shape: &[usize], dtype: DType, device: &Device) -> Result<Tensor> {
    Ok(Tensor::randn(0f32, 0.02, shape, device)?.to_dtype(dtype)?)
}

fn cases(device: &Device, dtype: DType, args: &Args) -> Result<Vec<Case>> {
    let by = args.shrink;
    let (n, d, f, vocab, r) = (args.tokens, 4096 / by, 11_008 / by, 32_000 / by, 8);
    let (heads, head_dim) = (d / HEAD_DIM, HEAD_DIM);
    let input = |shape: &[usize]| -> Result<Tensor> {
        let var = Var::from_tensor(&numbers(shape, dtype, device)?)?;
        Ok(var.into_inner())
    };
    let adapter = |shape: &[usize]| -> Result<Tensor> {
        Ok(Var::from_tensor(&numbers(shape, DType::F32, device)?)?.into_inner())
    };
    let frozen = |shape: &[usize]| numbers(shape, dtype, device);
    let numbers_of =
        |forward: usize, back: usize| [Work::Numbers(forward), Work::Numbers(forward + back)];
    let flops = |forward: f64, back: f64| [Work::Flops(forward), Work::Flops(forward + back)];
    let mut cases = Vec::new();

    let weight = numbers(&[d], DType::F32, device)?;
    cases.push(Case {
        name: "rms_norm",
        work: numbers_of(2 * n * d, 3 * n * d),
        inputs: vec![input(&[n, d])?],
        run: Box::new(move |x| ops::rms_norm(&x[0], &weight, 1e-5)),
    });
    let table = numbers(&[n, head_dim / 2], DType::F32, device)?;
    let layout = Ragged::from_lens(&[n / 4; 4]);
    let positions = layout.positions();
    cases.push(Case {
        name: "rope",
        work: numbers_of(2 * n * d, 2 * n * d),
        inputs: vec![input(&[n, d])?],
        run: Box::new(move |x| ops::rope(&x[0], &table, &table, &positions)),
    });
    cases.push(Case {
        name: "swiglu",
        work: numbers_of(3 * n * f, 5 * n * f),
        inputs: vec![input(&[n, f])?, input(&[n, f])?],
        run: Box::new(|x| ops::swiglu(&x[0], &x[1])),
    });
    // pairs of a query and a key that it sees, two products forward and seven backward
    let pairs = (heads * 4 * (n / 4) * (n / 4) / 2) as f64;
    let product = 2.0 * pairs * head_dim as f64;
    cases.push(Case {
        name: "causal_attention",
        work: flops(2.0 * product, 7.0 * product),
        inputs: vec![input(&[n, d])?, input(&[n, d])?, input(&[n, d])?],
        run: Box::new(move |x| ops::causal_attention(&x[0], &x[1], &x[2], &layout, head_dim)),
    });
    let (w, layer) = (frozen(&[f, d])?, 2.0 * (n * d * f) as f64);
    let low_rank = 2.0 * (n * r * (d + f)) as f64;
    cases.push(Case {
        name: "lora_linear",
        work: flops(layer + low_rank, layer + 2.0 * low_rank),
        inputs: vec![input(&[n, d])?, adapter(&[r, d])?, adapter(&[f, r])?],
        run: Box::new(move |x| ops::lora_linear(&x[0], &x[0], &w, &x[1], &x[2], 2.0)),
    });
    let (head, rows) = (frozen(&[vocab, d])?, n / 2);
    let targets: Vec<u32> = (0..rows as u32).map(|i| i % vocab as u32).collect();
    let head_flops = 2.0 * (rows * d * vocab) as f64;
    cases.push(Case {
        name: "token_scores",
        work: flops(head_flops, 2.0 * head_flops),
        inputs: vec![input(&[rows, d])?],
        run: Box::new(move |x| {
            Ok(ops::token_scores(&x[0], &head, &targets, &vec![1.0; rows])?.logp)
        }),
    });
    let context = 512;
    let (keys, values) = (frozen(&[32 * context, d])?, frozen(&[32 * context, d])?);
    let spans: Vec<_> = (0..32).map(|i| vec![(i * context, context)]).collect();
    let q = frozen(&[32, d])?;
    cases.push(Case {
        name: "cached_attention, 32 rows of 512",
        work: numbers_of(2 * 32 * context * d, 0),
        inputs: vec![input(&[1, 1])?],
        run: Box::new(move |x| {
            let y = ops::cached_attention(&q, &keys, &values, &spans, head_dim)?;
            y.narrow(0, 0, 1)?.narrow(1, 0, 1)? * &x[0]
        }),
    });
    // four tensors of f32, of which three are written
    let f32s = |n: usize| n * 4 / dtype.size_in_bytes();
    let moments = || numbers(&[4 * d, d], DType::F32, device);
    let (mean, square, grad) = (moments()?, moments()?.sqr()?, moments()?);
    let step = ops::AdamWStep {
        grad_scale: 1.0,
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        step_size: 1e-4,
        correction2: 0.5,
        keep: 1.0,
    };
    let passes = f32s(7 * 4 * d * d);
    cases.push(Case {
        name: "adamw",
        work: numbers_of(passes, 0),
        inputs: vec![adapter(&[4 * d, d])?],
        run: Box::new(move |x| {
            ops::adamw(&x[0], &mean, &square, &grad, &step)?;
            x[0].narrow(0, 0, 1)
        }),
    });
    {
        cases.push(Case {
            name: "dropout",
            work: numbers_of(2 * n * d, 2 * n * d),
            inputs: vec![input(&[n, d])?],
            run: Box::new(|x| ops::dropout(&x[0], 0.1, 1, 2)),
        });
        let logits = numbers(&[32, vocab], DType::F32, device)?;
        let logits = ops::Logits::from_tensor(&logits)?;
        let rule = ops::SamplingRule {
            temperature: 1.0,
            top_k: 50,
            top_p: 0.95,
            u: 0.5,
        };
        cases.push(Case {
            name: "sample, 32 rows, top-k and top-p",
            work: numbers_of(f32s(32 * vocab), 0),
            inputs: vec![input(&[1, 1])?],
            run: Box::new(move |x| {
                logits.sample(&[rule; 32])?;
                Ok(x[0].clone())
            }),
        });
    }
    Ok(cases)
}
