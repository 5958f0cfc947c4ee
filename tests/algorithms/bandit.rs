//! A policy small enough to know its expected reward.

use super::support::{estimate, uniform};
use algorithms::{Algorithm, Estimate, Experience, Scores, Totals};
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
        let now = values(&log_softmax(self.logits.as_tensor()));
        let greedy = |key: &u64| {
            let row = *key as usize * ANSWERS;
            let cell = (row..row + ANSWERS)
                .max_by(|a, b| now[*a].total_cmp(&now[*b]))
                .unwrap();
            Estimate {
                score: self.reward(cell) as f32,
                logps: vec![now[cell] as f32],
                ..estimate(*key, 0.0)
            }
        };
        let estimates: Vec<Estimate> = algorithm
            .prompts_to_estimate(&keys)
            .iter()
            .map(greedy)
            .collect();
        algorithm.observe(&estimates);
        let plan = algorithm.plan(&keys, step).unwrap();
        let (mut cells, mut exp) = (Vec::new(), Experience::default());
        let mut rng = run::stream(5, "bandit", step, 0);
        for (prompt, plan) in plan.iter().enumerate() {
            let tau = plan.temperature.unwrap_or(1.0);
            let p = values(
                &log_softmax(&(self.logits.as_tensor() / f64::from(tau)).unwrap())
                    .exp()
                    .unwrap(),
            );
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
                exp.temperature
                    .push(if algorithm.requirements().at_sampling_temperature {
                        tau
                    } else {
                        1.0
                    });
                exp.score.push(self.reward(cell) as f32);
                exp.sampled.push(true);
                exp.response_key.push(cell as u64);
                exp.values.push(0.0);
                exp.max_prob.push(
                    p[prompt * ANSWERS..][..ANSWERS]
                        .iter()
                        .copied()
                        .fold(0.0, f64::max) as f32,
                );
            }
        }
        let read = |logits: &Tensor, cells: &[usize], temperature: &[f32]| {
            let rows = |c: &usize| (c / ANSWERS) as u32;
            let rows = Tensor::from_iter(cells.iter().map(rows), &Device::Cpu).unwrap();
            let tau =
                Tensor::from_iter(temperature.iter().map(|t| f64::from(*t)), &Device::Cpu).unwrap();
            let tempered = logits
                .index_select(&rows, 0)
                .unwrap()
                .broadcast_div(&tau.unsqueeze(1).unwrap())
                .unwrap();
            let answer =
                Tensor::from_iter(cells.iter().map(|c| (c % ANSWERS) as u32), &Device::Cpu)
                    .unwrap();
            log_softmax(&tempered)
                .gather(&answer.unsqueeze(1).unwrap(), 1)
                .unwrap()
                .squeeze(1)
                .unwrap()
        };
        let keep = algorithm.keep(&exp);
        let kept: Vec<usize> = (0..cells.len()).filter(|i| keep[*i]).collect();
        let cells: Vec<usize> = kept.iter().map(|i| cells[*i]).collect();
        let mut exp = exp.select(&kept);
        let column = |logits: &Tensor| {
            values(&read(logits, &cells, &exp.temperature))
                .iter()
                .map(|v| *v as f32)
                .collect()
        };
        exp.logp_old = column(&self.logits.as_tensor().copy().unwrap());
        exp.logp_ref = column(&self.reference);
        let (exp, _) = algorithm.prepare(exp).unwrap();
        for _ in 0..algorithm.requirements().epochs {
            let logp = read(self.logits.as_tensor(), &cells, &exp.temperature);
            let zeros = logp.zeros_like().unwrap();
            let scores = Scores {
                logp,
                entropy: zeros,
            };
            let out = algorithm
                .policy_loss(&scores, &exp, Totals::of(&exp))
                .unwrap();
            let grads = out.loss.backward().unwrap();
            let moved = (self.logits.as_tensor()
                - (grads.get(&self.logits).unwrap() * 2.0).unwrap())
            .unwrap();
            self.logits.set(&moved).unwrap();
        }
    }
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
