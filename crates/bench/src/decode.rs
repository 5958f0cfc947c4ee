//! `bench decode`: greedy decoding of a batch of prompts of one length, without a stop token.

use crate::work::{NEW, PROMPT};
use anyhow::Result;
use generation::{Engine, Request, Sampling};
use models::{BaseWeights, Fetch, ModelSource, SamplingWeights, WeightStorage};
use ops::Compute;
use std::path::PathBuf;
use std::time::Instant;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Hugging Face directory or GGUF file
    #[arg(long)]
    model: PathBuf,
    /// Prompts decoded together
    #[arg(long, default_value_t = 8)]
    batch: usize,
    /// Tokens of each prompt
    #[arg(long, default_value_t = PROMPT)]
    prompt: usize,
    /// Tokens to decode for each
    #[arg(long, default_value_t = NEW)]
    new: usize,
    /// cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Timed repetitions
    #[arg(long, default_value_t = 3)]
    steps: usize,
    /// Storage of the base's weights (`model.weights`)
    #[arg(long, default_value = "stored", value_parser = base_weights)]
    base: BaseWeights,
    /// Weights of the sampler: same as the base, bf16 or int8
    #[arg(long, default_value = "same", value_parser = weights)]
    weights: SamplingWeights,
    /// Arithmetic of the products (`compute`)
    #[arg(long, default_value = "f32", value_parser = compute)]
    compute: Compute,
}

fn compute(name: &str) -> Result<Compute, String> {
    serde_json::from_value(name.into()).map_err(|_| "use f32 or int16".into())
}

fn weights(name: &str) -> Result<SamplingWeights, String> {
    serde_json::from_value(name.into()).map_err(|_| "use same, bf16 or int8".into())
}

fn base_weights(name: &str) -> Result<BaseWeights, String> {
    serde_json::from_value(name.into()).map_err(|_| "use stored, q8_0, q4_0 or q4_k".into())
}

pub(crate) fn run(args: &Args) -> Result<()> {
    ops::prepare_process().map_err(anyhow::Error::msg)?;
    let source = ModelSource::parse(&args.model.to_string_lossy())?;
    let mut meta = models::model_meta(&source, Fetch::Whole)?;
    meta.projections = args.base;
    let device = policy::device(&args.device)?;
    let storage = WeightStorage::of(ops::keeps_exact_weights(&device), false);
    let model = meta.load(&device, storage)?.model;
    let model = match args.weights {
        SamplingWeights::Same => model,
        narrow => model.with_sampling_weights(narrow)?.unwrap_or(model),
    };
    let mut model = model;
    model.set_compute(args.compute);
    let vocab = model.config.vocab_size as u64;
    let token = |row: usize, at: usize| ((row * 7919 + at * 104_729 + 100) as u64 % vocab) as u32;
    let requests: Vec<Request> = (0..args.batch)
        .map(|row| Request {
            prompt: (0..args.prompt).map(|at| token(row, at)).collect(),
            n: 1,
            sampling: Sampling {
                temperature: 0.0,
                max_new_tokens: args.new,
                ..Sampling::default()
            },
            stream: [1, 0, row as u64],
        })
        .collect();
    let engine = Engine {
        model: &model,
        lora: None,
        stop: &[],
        max_rows: args.batch,
        keep_states: false,
    };
    let (mut secs, mut tokens) = (Vec::new(), Vec::new());
    for _ in 0..args.steps {
        let began = Instant::now();
        let samples = engine.run(&requests, &mut |_, _| {})?;
        secs.push(began.elapsed().as_secs_f64());
        tokens.push(samples.iter().map(|s| s.ids.len()).sum::<usize>());
    }
    let peak_gb = run::peak_memory_bytes() as f64 / 1e9;
    let answer = serde_json::json!({ "secs": secs, "tokens": tokens, "peak_gb": peak_gb });
    run::print(&format!("{answer}\n"))
}
