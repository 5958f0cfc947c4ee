//! Add a training method: implement `algorithms::Algorithm`, and see it learn.
//!
//! The toy method imitates the best sample of each prompt (expert iteration). It trains a table of
//! four tokens whose last one is right, so no model is needed. To use a method with `wick rlhf`,
//! put it into a folder of crates/algorithms: docs/methods/adding-a-method.md.
//!
//! Run it anywhere: `cargo run --release --example add_a_method`

use algorithms::{
    Algorithm, Experience, Loss, Metrics, Requirements, Result, Scores, Totals, groups,
};
use candle_core::{DType, Device, Result as CResult, Tensor, Var};
use rand::Rng;

/// Imitates the best of `samples` responses to each prompt.
struct BestOfN {
    samples: usize,
}

impl Algorithm for BestOfN {
    /// What the training loop must provide.
    fn requirements(&self) -> Requirements {
        Requirements {
            max_samples: self.samples,
            ..Requirements::default()
        }
    }

    /// Without gradient: the best row of each prompt gets advantage 1, the others 0.
    fn prepare(&mut self, mut exp: Experience) -> Result<(Experience, Metrics)> {
        let mut row_weight = vec![0.0; exp.n_rows()];
        for group in groups(&exp.prompt_key) {
            let best = group.max_by(|a, b| exp.score[*a].total_cmp(&exp.score[*b]));
            row_weight[best.expect("a group has rows")] = 1.0;
        }
        let tokens = exp.lens.iter().zip(row_weight);
        exp.advantages = tokens.flat_map(|(n, weight)| vec![weight; *n]).collect();
        Ok((exp, Metrics::new()))
    }

    /// With gradient: the negative log-likelihood of the weighted tokens, divided by the totals of
    /// the step so that micro-batches add up.
    fn policy_loss(&self, now: &Scores, exp: &Experience, totals: Totals) -> CResult<Loss> {
        let weights = Tensor::new(exp.advantages.as_slice(), now.logp.device())?;
        let nll = (&now.logp * weights)?.sum_all()?.neg()?;
        Ok(Loss {
            loss: (nll / totals.rows as f64)?,
            metrics: Metrics::new(),
        })
    }
}

fn log_softmax(logits: &Tensor) -> CResult<Tensor> {
    logits.broadcast_sub(&logits.exp()?.sum_all()?.log()?)
}

fn main() -> Result<()> {
    let mut method = BestOfN { samples: 4 };
    let n_rows = 8 * method.requirements().max_samples;
    let logits = Var::zeros(4, DType::F32, &Device::Cpu)?;
    for step in 0..=20 {
        // Sample a token per row. The score is its index, so token 3 is best.
        let table = log_softmax(&logits)?;
        let p: Vec<f32> = table.exp()?.to_vec1()?;
        if step % 5 == 0 {
            println!("step {step:>2}: probability of the best token {:.2}", p[3]);
        }
        let mut rng = run::stream(1, "add_a_method", step, 0);
        let rows: Vec<u32> = (0..n_rows).map(|_| draw(&p, rng.random())).collect();
        let exp = Experience {
            lens: vec![1; n_rows],
            prompt_key: (0..n_rows).map(|row| row as u64 / 4).collect(),
            score: rows.iter().map(|token| *token as f32).collect(),
            ..Experience::default()
        };

        // One step of the loop: prepare, loss, gradient.
        let (exp, _) = method.prepare(exp)?;
        let logp = table.index_select(&Tensor::new(rows, &Device::Cpu)?, 0)?;
        let scores = Scores {
            entropy: logp.zeros_like()?,
            logp,
        };
        let loss = method.policy_loss(&scores, &exp, Totals::of(&exp))?.loss;
        let gradients = loss.backward()?;
        let gradient = gradients
            .get(&logits)
            .expect("the loss depends on the logits");
        logits.set(&(logits.as_tensor() - (gradient * 2.0)?)?)?;
    }
    Ok(())
}

/// The token that a uniform number in [0, 1) selects.
fn draw(p: &[f32], mut uniform: f32) -> u32 {
    for (token, p) in p.iter().enumerate() {
        uniform -= p;
        if uniform < 0.0 {
            return token as u32;
        }
    }
    p.len() as u32 - 1
}
