//! `bench kernels`: each operation at the size of a 7B, forward and with its gradient: seconds, and
//! the share of the device's ceiling, which is the rate of a large product or of a copy.

use anyhow::Result;
use candle_core::{DType, Device, Tensor, Var};
use ops::{AttentionSpec, Ragged, Rotation};
use std::time::Instant;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// cpu, cuda or cuda:N
    #[arg(long, default_value = "cuda")]
    device: String,
    /// Tokens of the batch: four sequences of prompt 256 + response 256
    #[arg(long, default_value_t = 2048)]
    tokens: usize,
    /// Divides every width, for a quick try
    #[arg(long, default_value_t = 1)]
    shrink: usize,
    /// Timed runs of each; the median counts
    #[arg(long, default_value_t = 20)]
    steps: usize,
}

/// The least work of one run of an operation.
enum Work {
    /// Numbers read and written
    Numbers(usize),
    /// Floating-point operations
    Flops(f64),
}

/// Width of a head of a 7B.
const HEAD_DIM: usize = 128;

type Run = Box<dyn Fn(&[Tensor]) -> candle_core::Result<Tensor>>;

struct Case {
    name: &'static str,
    /// Of the forward, and of the forward with gradient
    work: [Work; 2],
    /// The inputs that get a gradient
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
    let shapes = Shapes {
        device: &device,
        dtype,
        args,
    };
    for case in shapes.cases()? {
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

/// Peak rates of the device, per second.
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

    /// The least time of the work, in seconds.
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

/// The median time of `steps` runs after three warm-up runs.
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

/// The inputs of the cases: tensors of the width of a 7B.
struct Shapes<'a> {
    device: &'a Device,
    /// Of activations and frozen weights
    dtype: DType,
    args: &'a Args,
}

impl Shapes<'_> {
    /// Tokens
    fn n(&self) -> usize {
        self.args.tokens
    }

    /// Model width
    fn d(&self) -> usize {
        4096 / self.args.shrink
    }

    /// Feed-forward width
    fn f(&self) -> usize {
        11_008 / self.args.shrink
    }

    fn vocab(&self) -> usize {
        32_000 / self.args.shrink
    }

    /// An activation that gets a gradient.
    fn input(&self, shape: &[usize]) -> Result<Tensor> {
        Ok(Var::from_tensor(&self.frozen(shape)?)?.into_inner())
    }

    /// An f32 parameter that gets a gradient.
    fn param(&self, shape: &[usize]) -> Result<Tensor> {
        Ok(Var::from_tensor(&self.f32(shape)?)?.into_inner())
    }

    fn frozen(&self, shape: &[usize]) -> Result<Tensor> {
        numbers(shape, self.dtype, self.device)
    }

    fn f32(&self, shape: &[usize]) -> Result<Tensor> {
        numbers(shape, DType::F32, self.device)
    }

    fn attention(&self) -> AttentionSpec {
        let heads = self.d() / HEAD_DIM;
        AttentionSpec::new(heads, heads, HEAD_DIM)
    }

    /// `n` numbers of f32 in units of the activations' dtype.
    fn f32s(&self, n: usize) -> usize {
        n * 4 / self.dtype.size_in_bytes()
    }

    fn cases(&self) -> Result<Vec<Case>> {
        let mut cases = self.element_wise()?;
        cases.extend(self.products()?);
        cases.extend(self.decoding()?);
        Ok(cases)
    }

    fn element_wise(&self) -> Result<Vec<Case>> {
        let (n, d, f) = (self.n(), self.d(), self.f());
        let weight = self.f32(&[d])?;
        let table = self.f32(&[n, HEAD_DIM / 2])?;
        let positions = Ragged::from_lens(&[n / 4; 4]).positions();
        Ok(vec![
            Case {
                name: "rms_norm",
                work: numbers_of(2 * n * d, 3 * n * d),
                inputs: vec![self.input(&[n, d])?],
                run: Box::new(move |x| ops::rms_norm(&x[0], &weight, 1e-5)),
            },
            Case {
                name: "rope",
                work: numbers_of(2 * n * d, 2 * n * d),
                inputs: vec![self.input(&[n, d])?],
                run: Box::new(move |x| {
                    let rotation = Rotation {
                        tables: (&table, &table),
                        positions: &positions,
                        head_dim: HEAD_DIM,
                    };
                    ops::rope(&x[0], rotation)
                }),
            },
            Case {
                name: "swiglu",
                work: numbers_of(3 * n * f, 5 * n * f),
                inputs: vec![self.input(&[n, f])?, self.input(&[n, f])?],
                run: Box::new(|x| ops::swiglu(&x[0], &x[1])),
            },
            Case {
                name: "dropout",
                work: numbers_of(2 * n * d, 2 * n * d),
                inputs: vec![self.input(&[n, d])?],
                run: Box::new(|x| ops::dropout(&x[0], 0.1, 1, 2)),
            },
            self.adamw()?,
        ])
    }

    fn adamw(&self) -> Result<Case> {
        let d = self.d();
        let moments = || self.f32(&[4 * d, d]);
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
        Ok(Case {
            name: "adamw",
            // four f32 tensors are read, three are written
            work: numbers_of(self.f32s(7 * 4 * d * d), 0),
            inputs: vec![self.param(&[4 * d, d])?],
            run: Box::new(move |x| {
                ops::adamw(&x[0], &mean, &square, &grad, &step)?;
                x[0].narrow(0, 0, 1)
            }),
        })
    }

    fn products(&self) -> Result<Vec<Case>> {
        let (n, d, f, vocab, r) = (self.n(), self.d(), self.f(), self.vocab(), 8);
        let (layout, spec) = (Ragged::from_lens(&[n / 4; 4]), self.attention());
        // pairs of a query and a visible key; two products forward and seven backward
        let pairs = (spec.heads * 4 * (n / 4) * (n / 4) / 2) as f64;
        let product = 2.0 * pairs * HEAD_DIM as f64;
        let (w, layer) = (self.frozen(&[f, d])?, 2.0 * (n * d * f) as f64);
        let low_rank = 2.0 * (n * r * (d + f)) as f64;
        let (head, rows) = (self.frozen(&[vocab, d])?, n / 2);
        let targets: Vec<u32> = (0..rows as u32).map(|i| i % vocab as u32).collect();
        let head_flops = 2.0 * (rows * d * vocab) as f64;
        Ok(vec![
            Case {
                name: "causal_attention",
                work: flops(2.0 * product, 7.0 * product),
                inputs: vec![
                    self.input(&[n, d])?,
                    self.input(&[n, d])?,
                    self.input(&[n, d])?,
                ],
                run: Box::new(move |x| ops::causal_attention(&x[0], &x[1], &x[2], &layout, spec)),
            },
            Case {
                name: "lora_linear",
                work: flops(layer + low_rank, layer + 2.0 * low_rank),
                inputs: vec![
                    self.input(&[n, d])?,
                    self.param(&[r, d])?,
                    self.param(&[f, r])?,
                ],
                run: Box::new(move |x| ops::lora_linear(&x[0], &x[0], &w, &x[1], &x[2], 2.0)),
            },
            Case {
                name: "token_scores",
                work: flops(head_flops, 2.0 * head_flops),
                inputs: vec![self.input(&[rows, d])?],
                run: Box::new(move |x| {
                    Ok(ops::token_scores(&x[0], &head, &targets, &vec![1.0; rows])?.logp)
                }),
            },
        ])
    }

    fn decoding(&self) -> Result<Vec<Case>> {
        let (rows, context, d, spec) = (32, 512, self.d(), self.attention());
        let cache = || self.frozen(&[rows * context, d]);
        let (keys, values, q) = (cache()?, cache()?, self.frozen(&[rows, d])?);
        let spans: Vec<_> = (0..rows).map(|i| vec![(i * context, context)]).collect();
        let logits = ops::Logits::from_tensor(&self.f32(&[rows, self.vocab()])?)?;
        let rule = ops::SamplingRule {
            temperature: 1.0,
            top_k: 50,
            top_p: 0.95,
            u: 0.5,
        };
        Ok(vec![
            Case {
                name: "cached_attention, 32 rows of 512",
                work: numbers_of(2 * rows * context * d, 0),
                inputs: vec![self.input(&[1, 1])?],
                run: Box::new(move |x| {
                    let y = ops::cached_attention(&q, &keys, &values, &spans, spec)?;
                    y.narrow(0, 0, 1)?.narrow(1, 0, 1)? * &x[0]
                }),
            },
            Case {
                name: "sample, 32 rows, top-k and top-p",
                work: numbers_of(self.f32s(rows * self.vocab()), 0),
                inputs: vec![self.input(&[1, 1])?],
                run: Box::new(move |x| {
                    logits.sample(&[rule; 32])?;
                    Ok(x[0].clone())
                }),
            },
        ])
    }
}

fn numbers_of(forward: usize, backward: usize) -> [Work; 2] {
    [Work::Numbers(forward), Work::Numbers(forward + backward)]
}

fn flops(forward: f64, backward: f64) -> [Work; 2] {
    [Work::Flops(forward), Work::Flops(forward + backward)]
}
