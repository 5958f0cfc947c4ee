//! A method written outside the crate: imitate every sample whose score is above the prompt's mean.
//!
//! Shows all that a method consists of: settings, a description for the registry, requirements,
//! `prepare` and `policy_loss`. Trains a table of probabilities and prints the expected score.
//! docs/methods/adding-a-method.md moves the same code into the crate.
//!
//!     cargo run --release -p algorithms --example add_a_method

use algorithms::columns::{column, host, row_sums};
use algorithms::{
    Algorithm, Definitions, Entry, Error, Experience, Loss, Method, MethodConfig, Metrics, Name,
    Requirements, Result, Scores, Totals, groups, rollout_metrics,
};
use candle_core::{D, DType, Device, Result as CResult, Tensor, Var};
use rand::Rng;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The keys of `[algorithm]` beside `name`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Responses per prompt
    samples: usize,
    /// How far above its prompt's mean a score must be
    margin: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            samples: 4,
            margin: 0.0,
        }
    }
}

impl MethodConfig for Config {
    fn check(&self) -> Result<()> {
        if self.samples < 2 {
            let samples = self.samples;
            let message = format!("algorithm.samples = {samples}, expected 2 or more");
            return Err(Error::Input(message));
        }
        Ok(())
    }
}

/// Imitates the samples above their prompt's mean score.
struct AboveMean {
    config: Config,
}

impl Method for AboveMean {
    type Config = Config;
    const NAMES: &'static [Name] = &[Name {
        name: "above_mean",
        about: "imitate the samples above their prompt's mean score",
        paper: "an example",
    }];
    const PAGE: &'static str = "above_mean";
    const METRICS: Definitions = &[(
        "above_mean/kept_frac",
        "share of the step's responses that are imitated",
    )];

    fn build(_name: &str, config: Config, _seed: u64) -> Box<dyn Algorithm> {
        Box::new(Self { config })
    }
}

impl Algorithm for AboveMean {
    fn requirements(&self) -> Requirements {
        Requirements {
            max_samples: self.config.samples,
            ..Requirements::default()
        }
    }

    fn prepare(&mut self, mut exp: Experience) -> Result<(Experience, Metrics)> {
        exp.require(&[], &[("score", &exp.score)])?;
        exp.weight = vec![0.0; exp.n_rows()];
        for rows in groups(&exp.prompt_key) {
            let sum: f64 = exp.score[rows.clone()].iter().map(|s| f64::from(*s)).sum();
            let level = sum / rows.len() as f64 + self.config.margin;
            for row in rows {
                exp.weight[row] = f32::from(u8::from(f64::from(exp.score[row]) > level));
            }
        }
        let kept: f32 = exp.weight.iter().sum();
        let mut metrics = rollout_metrics(&exp);
        metrics.insert(
            "above_mean/kept_frac".into(),
            f64::from(kept) / exp.n_rows() as f64,
        );
        Ok((exp, metrics))
    }

    /// `−Σ_i w_i log p(y_i|x) / R`
    fn policy_loss(&self, now: &Scores, exp: &Experience, totals: Totals) -> CResult<Loss> {
        if exp.n_tokens() == 0 {
            return Loss::zero(&now.logp);
        }
        let logp = row_sums(&now.logp, &exp.layout())?; // [R]
        let weight = column(&exp.weight, &now.logp)?; // [R]
        let loss = ((logp * weight)?.sum_all()?.neg()? / totals.rows as f64)?;
        let metrics = Metrics::from([("loss/policy".into(), host(&loss)?[0])]);
        Ok(Loss { loss, metrics })
    }
}

const PROMPTS: usize = 6;
const ANSWERS: usize = 5;

/// The score of an answer: one is best at each prompt.
fn score(prompt: usize, answer: usize) -> f32 {
    ((prompt + 2 * answer) % ANSWERS) as f32 / (ANSWERS - 1) as f32
}

fn main() -> Result<()> {
    // As the registry does it: the user's table over the defaults, checked.
    let entry = Entry::of::<AboveMean>().remove(0);
    let mut method = entry.build(&json!({"samples": 8}), 1)?;
    let plan = method.plan(&(0..PROMPTS as u64).collect::<Vec<_>>(), 0)?;

    let logits = Var::zeros((PROMPTS, ANSWERS), DType::F64, &Device::Cpu)?;
    for step in 0..=40 {
        let table = logits.broadcast_sub(&logits.exp()?.sum_keepdim(D::Minus1)?.log()?)?;
        let p: Vec<Vec<f64>> = table.exp()?.to_vec2()?;
        if step % 10 == 0 {
            let of_prompt = |(prompt, p): (usize, &Vec<f64>)| -> f64 {
                let terms = p.iter().enumerate();
                terms
                    .map(|(answer, p)| p * f64::from(score(prompt, answer)))
                    .sum()
            };
            let expected = p.iter().enumerate().map(of_prompt).sum::<f64>() / PROMPTS as f64;
            println!("step {step:2}: expected score {expected:.3}");
        }
        // responses of one token
        let mut rng = run::stream(1, "add a method", step, 0);
        let (mut exp, mut cells) = (Experience::default(), Vec::new());
        for (prompt, plan) in plan.iter().enumerate() {
            for _ in 0..plan.n {
                let mut left = rng.random::<f64>();
                let answer = p[prompt].iter().position(|p| {
                    left -= p;
                    left < 0.0
                });
                let answer = answer.unwrap_or(ANSWERS - 1);
                exp.lens.push(1);
                exp.prompt_key.push(prompt as u64);
                exp.finished.push(true);
                exp.score.push(score(prompt, answer));
                cells.push((prompt * ANSWERS + answer) as u32);
            }
        }
        let (exp, _) = method.prepare(exp)?;
        let cells = Tensor::new(cells, &Device::Cpu)?;
        let logp = table.flatten_all()?.index_select(&cells, 0)?;
        let now = Scores {
            entropy: logp.zeros_like()?,
            logp,
        };
        let loss = method.policy_loss(&now, &exp, Totals::of(&exp))?.loss;
        if let Some(gradient) = loss.backward()?.get(&logits) {
            logits.set(&(logits.as_tensor() - (gradient * 3.0)?)?)?;
        }
    }
    Ok(())
}
