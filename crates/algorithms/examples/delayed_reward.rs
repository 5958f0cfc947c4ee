//! MA-PPO on a toy task whose reward comes at the end: responses of 32 tokens, scored by the share
//! of tokens that are right at their position.
//!
//! Policy and critic are tables; the critic starts at zero. Prints, for each macro length, the
//! updates until the mean score passes some levels, over ten seeds.
//!
//!     cargo run --release -p algorithms --example delayed_reward

use algorithms::{Algorithm, Experience, Result, Scores, Totals, build};
use candle_core::{D, DType, Device, Tensor, Var};
use rand::Rng;
use serde_json::json;

const TOKENS: usize = 32;
const WORDS: usize = 6;
const ROWS: usize = 32;
const UPDATES: u64 = 600;
const LR: f64 = 10.0;
const LEVELS: [f64; 3] = [0.5, 0.7, 0.9];

/// log π(word | position), `[TOKENS, WORDS]`.
fn log_policy(logits: &Tensor) -> Result<Tensor> {
    let sum = logits.exp()?.sum_keepdim(D::Minus1)?.log()?;
    Ok(logits.broadcast_sub(&sum)?)
}

/// The expected score before each update.
fn curve(algorithm: &mut dyn Algorithm, seed: u64) -> Result<Vec<f64>> {
    let cpu = &Device::Cpu;
    let logits = Var::zeros((TOKENS, WORDS), DType::F64, cpu)?;
    let critic = Var::zeros(TOKENS, DType::F64, cpu)?;
    let position: Vec<u32> = (0..ROWS).flat_map(|_| 0..TOKENS as u32).collect();
    let position = Tensor::new(position, cpu)?;
    let mut curve = Vec::new();
    for step in 0..UPDATES {
        let table = log_policy(&logits.as_tensor().copy()?)?;
        let p: Vec<Vec<f64>> = table.exp()?.to_vec2()?;
        // word 0 is right at every position
        curve.push(p.iter().map(|p| p[0]).sum::<f64>() / TOKENS as f64);
        let mut rng = run::stream(seed, "delayed reward", step, 0);
        let mut draw = |p: &Vec<f64>| {
            let mut left = rng.random::<f64>();
            let found = p.iter().position(|p| {
                left -= p;
                left < 0.0
            });
            found.unwrap_or(WORDS - 1) as u32
        };
        let words: Vec<u32> = (0..ROWS)
            .flat_map(|_| p.iter().map(&mut draw).collect::<Vec<_>>())
            .collect();
        let right = |row: &[u32]| row.iter().filter(|word| **word == 0).count() as f32;
        let values = critic.as_tensor().index_select(&position, 0)?;
        let drawn = |table: &Tensor| -> Result<Tensor> {
            let words = Tensor::new(&words[..], cpu)?.unsqueeze(1)?;
            Ok(table
                .index_select(&position, 0)?
                .gather(&words, 1)?
                .squeeze(1)?)
        };
        let logp_old: Vec<f32> = drawn(&table)?.to_dtype(DType::F32)?.to_vec1()?;
        let exp = Experience {
            lens: vec![TOKENS; ROWS],
            prompt_key: (0..ROWS as u64).collect(),
            response_key: (0..ROWS as u64).map(|row| row ^ (step << 16)).collect(),
            finished: vec![true; ROWS],
            score: words
                .chunks(TOKENS)
                .map(|row| right(row) / TOKENS as f32)
                .collect(),
            logp_ref: logp_old.clone(),
            logp_old,
            values: values.to_dtype(DType::F32)?.to_vec1()?,
            ..Experience::default()
        };
        let (exp, _) = algorithm.prepare(exp)?;
        let logp = drawn(&log_policy(&logits)?)?;
        let scores = Scores {
            entropy: logp.zeros_like()?,
            logp,
        };
        let totals = Totals::of(&exp);
        let policy_loss = algorithm.policy_loss(&scores, &exp, totals)?.loss;
        let value_loss = algorithm.value_loss(&values, &exp, totals)?.loss;
        let grads = (policy_loss + value_loss)?.backward()?;
        for var in [&logits, &critic] {
            if let Some(grad) = grads.get(var) {
                var.set(&(var.as_tensor() - (grad * LR)?)?)?;
            }
        }
    }
    Ok(curve)
}

fn main() -> Result<()> {
    println!(
        "{ROWS} responses of {TOKENS} tokens per update, {WORDS} words, plain gradient steps of {LR}"
    );
    println!(
        "updates until the expected score passes a level: mean ± standard error over ten seeds\n"
    );
    println!("| macro | 0.5 | 0.7 | 0.9 |\n|---|---|---|---|");
    for ngram in [1, 3, 5, 10, 32] {
        let mut reached = vec![Vec::new(); LEVELS.len()];
        for seed in 0..10 {
            let config = json!({"ngram": ngram, "kl_coef": 0.0, "vf_coef": 1.0, "epochs": 1});
            let curve = curve(build("ma_ppo", &config, seed)?.as_mut(), seed)?;
            for (reached, level) in reached.iter_mut().zip(LEVELS) {
                let at = curve.iter().position(|score| *score >= level);
                reached.push(at.map_or(f64::INFINITY, |at| at as f64));
            }
        }
        let cell = |updates: &Vec<f64>| {
            let n = updates.len() as f64;
            let mean = updates.iter().sum::<f64>() / n;
            let variance = updates.iter().map(|u| (u - mean).powi(2)).sum::<f64>() / (n - 1.0);
            match mean.is_finite() {
                true => format!("{mean:.0} ± {:.1}", (variance / n).sqrt()),
                false => format!("more than {UPDATES}"),
            }
        };
        let cells: Vec<String> = reached.iter().map(cell).collect();
        println!("| {ngram} | {} |", cells.join(" | "));
    }
    Ok(())
}
