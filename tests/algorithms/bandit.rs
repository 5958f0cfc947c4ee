//! A policy small enough to know its expected reward.

use super::support::{estimate, uniform};
use algorithms::{Algorithm, Estimate, Experience, SamplingPlan, Scores, Totals};
use candle_core::{D, Device, Tensor, Var};
use rand::Rng;
use testkit::values;

const PROMPTS: usize = 6;

const ANSWERS: usize = 5;

/// A softmax policy over five one-token answers to each of six prompts, each with a reward, trained
/// by plain gradient steps.
pub struct Bandit {
    logits: Var,
    reference: Tensor,
    rewards: Vec<f64>,
}

impl Bandit {
    pub fn new() -> Self {
        let normal = |seed| {
            uniform(PROMPTS * ANSWERS, seed)
                .iter()
                .map(|u| 4.0 * u - 2.0)
                .collect::<Vec<f64>>()
        };
        let logits = Var::from_vec(normal(1), (PROMPTS, ANSWERS), &Device::Cpu).unwrap();
        Self {
            reference: logits.as_tensor().copy().unwrap(),
            logits,
            rewards: normal(2),
        }
    }

    fn reward(&self, cell: usize) -> f64 {
        self.rewards[cell]
    }

    pub fn expected_reward(&self) -> f64 {
        let p = values(&log_softmax(self.logits.as_tensor()).exp().unwrap());
        (0..p.len())
            .map(|cell| p[cell] * self.reward(cell))
            .sum::<f64>()
            / PROMPTS as f64
    }

    /// Of the policy that always gives the best answer.
    pub fn best(&self) -> f64 {
        self.rewards
            .chunks(ANSWERS)
            .map(|r| r.iter().copied().fold(f64::MIN, f64::max))
            .sum::<f64>()
            / PROMPTS as f64
    }

    /// One step as the RL loop does it.
    pub fn step(&mut self, algorithm: &mut dyn Algorithm, step: u64) {
        let keys: Vec<u64> = (0..PROMPTS as u64).collect();
        let unseen = algorithm.prompts_to_estimate(&keys);
        let estimates: Vec<Estimate> = unseen.iter().map(|key| self.greedy(*key)).collect();
        algorithm.observe(&estimates);
        let plan = algorithm.plan(&keys, step).unwrap();
        let tempered = algorithm.requirements().at_sampling_temperature;
        let (cells, exp) = self.sample(&plan, tempered, step);
        let keep = algorithm.keep(&exp);
        let kept: Vec<usize> = (0..cells.len()).filter(|i| keep[*i]).collect();
        let cells: Vec<usize> = kept.iter().map(|i| cells[*i]).collect();
        let mut exp = exp.select(&kept);
        let column = |logits: &Tensor| {
            values(&log_probs(logits, &cells, &exp.temperature))
                .iter()
                .map(|v| *v as f32)
                .collect()
        };
        exp.logp_old = column(&self.logits.as_tensor().copy().unwrap());
        exp.logp_ref = column(&self.reference);
        let (exp, _) = algorithm.prepare(exp).unwrap();
        for _ in 0..algorithm.requirements().epochs {
            let logp = log_probs(self.logits.as_tensor(), &cells, &exp.temperature);
            let entropy = logp.zeros_like().unwrap();
            let scores = Scores { logp, entropy };
            let totals = Totals::of(&exp);
            let out = algorithm.policy_loss(&scores, &exp, totals).unwrap();
            let grads = out.loss.backward().unwrap();
            let step = (grads.get(&self.logits).unwrap() * 2.0).unwrap();
            let moved = (self.logits.as_tensor() - step).unwrap();
            self.logits.set(&moved).unwrap();
        }
    }

    /// The most likely answer to a prompt.
    fn greedy(&self, key: u64) -> Estimate {
        let now = values(&log_softmax(self.logits.as_tensor()));
        let row = key as usize * ANSWERS;
        let cell = (row..row + ANSWERS)
            .max_by(|a, b| now[*a].total_cmp(&now[*b]))
            .unwrap();
        Estimate {
            score: self.reward(cell) as f32,
            logps: vec![now[cell] as f32],
            ..estimate(key, 0.0)
        }
    }

    /// The cells of the sampled answers, and their rows.
    fn sample(&self, plan: &[SamplingPlan], tempered: bool, step: u64) -> (Vec<usize>, Experience) {
        let (mut cells, mut exp) = (Vec::new(), Experience::default());
        let mut rng = run::stream(5, "bandit", step, 0);
        for (prompt, plan) in plan.iter().enumerate() {
            let tau = plan.temperature.unwrap_or(1.0);
            let logits = (self.logits.as_tensor() / f64::from(tau)).unwrap();
            let p = values(&log_softmax(&logits).exp().unwrap());
            let of_prompt = &p[prompt * ANSWERS..][..ANSWERS];
            let most = of_prompt.iter().copied().fold(0.0, f64::max);
            for _ in 0..plan.n {
                let (mut u, mut cell) = (rng.random::<f64>(), prompt * ANSWERS);
                while u > p[cell] && cell + 1 < (prompt + 1) * ANSWERS {
                    u -= p[cell];
                    cell += 1;
                }
                cells.push(cell);
                exp.lens.push(1);
                exp.prompt_key.push(prompt as u64);
                exp.finished.push(true);
                exp.temperature.push(if tempered { tau } else { 1.0 });
                exp.score.push(self.reward(cell) as f32);
                exp.sampled.push(true);
                exp.response_key.push(cell as u64);
                exp.values.push(0.0);
                exp.max_prob.push(most as f32);
            }
        }
        (cells, exp)
    }
}

/// log p of each cell at its row's temperature, with graph.
fn log_probs(logits: &Tensor, cells: &[usize], temperature: &[f32]) -> Tensor {
    let tensor = |cells: Vec<u32>| Tensor::new(cells, &Device::Cpu).unwrap();
    let rows = tensor(cells.iter().map(|c| (c / ANSWERS) as u32).collect());
    let answers = tensor(cells.iter().map(|c| (c % ANSWERS) as u32).collect());
    let tau: Vec<f64> = temperature.iter().map(|t| f64::from(*t)).collect();
    let tau = Tensor::new(tau, &Device::Cpu).unwrap();
    let tempered = logits
        .index_select(&rows, 0)
        .unwrap()
        .broadcast_div(&tau.unsqueeze(1).unwrap())
        .unwrap();
    log_softmax(&tempered)
        .gather(&answers.unsqueeze(1).unwrap(), 1)
        .unwrap()
        .squeeze(1)
        .unwrap()
}

fn log_softmax(x: &Tensor) -> Tensor {
    let sum = x
        .exp()
        .unwrap()
        .sum_keepdim(D::Minus1)
        .unwrap()
        .log()
        .unwrap();
    x.broadcast_sub(&sum).unwrap()
}
