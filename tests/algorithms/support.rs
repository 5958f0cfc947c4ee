//! Rollouts made of numbers, the loss with its gradients, and a policy small enough to know its expected reward.

use algorithms::{Algorithm, DataSource, Estimate, Experience, Scores, Totals, build, registry};
use candle_core::{D, Device, Tensor, Var};
use rand::Rng;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use testkit::values;

/// Every method by its defaults, and each mode and option that has a path of its own. A name begins with the method's.
pub fn variants() -> Vec<(String, Value)> {
    let mut all: Vec<(String, Value)> = registry()
        .iter()
        .map(|e| (e.name.to_string(), json!({})))
        .collect();
    let more = [
        (
            "ppo adaptive",
            json!({"kl_controller": "adaptive", "kl_horizon": 20, "kl_estimator": "k3"}),
        ),
        (
            "ppo dual clip",
            json!({"dual_clip": 1.5, "value_clip": 0, "score_clip": 1, "whiten_rewards": true}),
        ),
        ("reinforce ema", json!({"baseline": "ema", "samples": 2})),
        ("reinforce fifo", json!({"baseline": "fifo", "fifo": 7})),
        (
            "reinforce batch",
            json!({"baseline": "batch", "kl_coef": 0}),
        ),
        (
            "reinforce others",
            json!({"baseline": "leave_one_out", "samples": 3, "normalise": "rows"}),
        ),
        ("reinforce alone", json!({"baseline": "none"})),
        (
            "mrt paper",
            json!({"scale_by_alpha": false, "length_normalise": false, "kl_coef": 0}),
        ),
        (
            "mrt sharp",
            json!({"alpha": 0.5, "deduplicate": true, "reference_in_samples": true}),
        ),
        (
            "rloo normalised",
            json!({"normalise_advantages": true, "kl_coef": 0}),
        ),
        ("rloo unclipped", json!({"clip": 0, "epochs": 2})),
        (
            "grpo bnpo",
            json!({"aggregation": "bnpo", "scale_rewards": "batch"}),
        ),
        (
            "grpo dapo",
            json!({"aggregation": "dapo", "beta": 0, "clip_high": 0.28}),
        ),
        (
            "grpo dr",
            json!({"aggregation": "dr_grpo", "constant_length": 8, "scale_rewards": "none"}),
        ),
        ("esrl paper", json!({"mode": "paper"})),
        (
            "esrl paper entropy",
            json!({"mode": "paper", "capability": "entropy", "alpha": 0.5}),
        ),
        ("esrl released", json!({"mode": "released"})),
        ("esrl bleu", json!({"capability": "bleu", "alpha": 0.2})),
        (
            "esrl random",
            json!({"capability": "random", "length_normalise": false}),
        ),
        (
            "dpo ipo",
            json!({"loss": "ipo", "beta": 0.5, "length_average": true}),
        ),
        (
            "dpo free",
            json!({"reference_free": true, "label_smoothing": 0.1}),
        ),
        (
            "gold_p drift",
            json!({"drift": true, "gamma": 0.9, "suffix": 3}),
        ),
        ("rwr prompt", json!({"normalise": "prompt", "beta": 0.3})),
        (
            "rwr rollouts",
            json!({"samples": 3, "normalise": "none", "weight_max": 2.0}),
        ),
        (
            "ma_ppo random",
            json!({"termination": "random", "ratio": "macro", "value_weights": "position"}),
        ),
        (
            "ma_ppo perplexity",
            json!({"termination": "perplexity", "ratio": "macro_mean", "reward_sum": "mean", "last_alone": true}),
        ),
        (
            "ma_ppo parsing",
            json!({"termination": "parsing", "value_weights": "last", "gamma": 0.9}),
        ),
        ("rest gold", json!({"loss": "gold"})),
    ];
    all.extend(more.map(|(name, config)| (name.to_string(), config)));
    all
}

/// All variants with a prepared experience and a policy that has moved a little.
pub fn prepared() -> Vec<(String, Box<dyn Algorithm>, Experience, Now)> {
    let ready = |(name, config): (String, Value)| {
        let mut algorithm = build(name.split(' ').next().unwrap(), &config, 1).unwrap();
        let (exp, _) = prepare(algorithm.as_mut(), 1);
        let now = Now::near(&exp, 2);
        (name, algorithm, exp, now)
    };
    variants().into_iter().map(ready).collect()
}

/// One step up to `prepare`, five prompts.
pub fn prepare(algorithm: &mut dyn Algorithm, seed: u64) -> (Experience, BTreeMap<String, f64>) {
    let keys = [1, 2, 3, 4, u64::MAX];
    let estimates: Vec<Estimate> = algorithm
        .prompts_to_estimate(&keys)
        .iter()
        .map(|k| estimate(*k, (k % 7) as f32 * 0.2))
        .collect();
    algorithm.observe(&estimates);
    let plan = algorithm.plan(&keys, seed).unwrap();
    assert_eq!(plan.len(), keys.len());
    let exp = match algorithm.requirements().source {
        DataSource::Rollouts if algorithm.requirements().critic => experience(&keys, &[1; 5], seed),
        DataSource::Rollouts => experience(&keys, &[3, 1, 2, 4, 1], seed),
        DataSource::Pool(_) => stored(experience(&keys, &[3, 1, 2, 4, 1], seed), seed),
        DataSource::Pairs => stored(experience(&keys, &[2; 5], seed), seed),
    };
    algorithm.prepare(exp).unwrap()
}

/// Rows of the data instead: nothing was sampled, scores lie in 0..1.
pub fn stored(mut exp: Experience, seed: u64) -> Experience {
    exp.logp_sampled.clear();
    exp.max_prob.clear();
    exp.entropy.clear();
    exp.finished.fill(true);
    exp.sampled.fill(false);
    let unit = uniform(2 * exp.n_rows(), seed + 7);
    let (score, value) = unit.split_at(exp.n_rows());
    exp.score = score.iter().map(|u| *u as f32).collect();
    exp.prompt_value = value.iter().map(|u| 0.5 * *u as f32).collect();
    exp
}

pub fn estimate(prompt_key: u64, score: f32) -> Estimate {
    Estimate {
        prompt_key,
        score,
        text_metric: 0.5,
        logps: vec![-score - 0.1, -0.2],
        entropies: vec![score, 0.3],
    }
}

/// Random rollouts with every column: `sizes[i]` rows of prompt `keys[i]`, of 1 to 6 tokens.
pub fn experience(keys: &[u64], sizes: &[usize], seed: u64) -> Experience {
    let mut rng = run::stream(seed, "rollouts", 0, 0);
    let prompt_key: Vec<u64> = keys
        .iter()
        .zip(sizes)
        .flat_map(|(k, n)| vec![*k; *n])
        .collect();
    let r = prompt_key.len();
    let lens: Vec<usize> = (0..r).map(|_| rng.random_range(1..=6)).collect();
    let m = lens.iter().sum();
    let mut column = |n: usize, low: f32, high: f32| {
        (0..n)
            .map(|_| rng.random_range(low..high))
            .collect::<Vec<f32>>()
    };
    let logp_old = column(m, -3.0, -0.01);
    let shift = column(m, -0.3, 0.3);
    Experience {
        lens,
        prompt_key,
        finished: (0..r).map(|row| row % 3 != 1).collect(),
        temperature: vec![1.0; r],
        score: column(r, -2.0, 2.0),
        sampled: vec![true; r],
        response_key: (0..r as u64).collect(),
        macro_start: (0..m).map(|t| t % 3 == 0).collect(),
        text_metric: column(r, 0.0, 1.0),
        logp_sampled: logp_old.clone(),
        logp_ref: logp_old.iter().zip(&shift).map(|(l, s)| l + s).collect(),
        logp_old,
        kl_exact: column(m, 0.0, 0.1),
        entropy: column(m, 0.0, 2.0),
        max_prob: column(m, 0.2, 1.0),
        values: column(m, -1.0, 1.0),
        ..Experience::default()
    }
}

pub fn uniform(n: usize, seed: u64) -> Vec<f64> {
    let mut rng = run::stream(seed, "uniform", 0, 0);
    (0..n).map(|_| rng.random()).collect()
}

pub fn wide(column: &[f32]) -> Vec<f64> {
    column.iter().map(|v| f64::from(*v)).collect()
}

pub fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .expect("numbers")
        .iter()
        .map(|v| v.as_f64().expect("a number"))
        .collect()
}

/// What the policy and the critic say, flat.
#[derive(Clone, Default)]
pub struct Now {
    pub logp: Vec<f64>,
    pub entropy: Vec<f64>,
    pub values: Vec<f64>,
}

impl Now {
    pub fn near(exp: &Experience, seed: u64) -> Self {
        let n = exp.n_tokens();
        let moved = |column: &[f32], by: f64, seed: u64| {
            wide(column)
                .iter()
                .zip(uniform(n, seed))
                .map(|(v, u)| v + by * (u - 0.5))
                .collect::<Vec<f64>>()
        };
        Self {
            logp: moved(&exp.logp_old, 0.7, seed),
            entropy: uniform(n, seed + 2),
            values: moved(&exp.values, 0.9, seed + 1),
        }
    }

    pub fn select(&self, exp: &Experience, rows: &[usize]) -> Self {
        let layout = exp.layout();
        let tokens = |x: &[f64]| {
            rows.iter()
                .flat_map(|r| x[layout.range(*r)].to_vec())
                .collect()
        };
        Self {
            logp: tokens(&self.logp),
            entropy: tokens(&self.entropy),
            values: tokens(&self.values),
        }
    }
}

pub struct Found {
    pub loss: f64,
    pub d_logp: Vec<f64>,
    pub d_values: Vec<f64>,
    pub metrics: BTreeMap<String, f64>,
}

/// The loss of a whole optimiser step and its gradients.
pub fn loss(algorithm: &dyn Algorithm, exp: &Experience, now: &Now) -> Found {
    loss_of(algorithm, exp, now, Totals::of(exp))
}

pub fn loss_of(algorithm: &dyn Algorithm, exp: &Experience, now: &Now, totals: Totals) -> Found {
    let var = |x: &[f64]| Var::new(x, &Device::Cpu).unwrap();
    let (logp, entropy, value) = (var(&now.logp), var(&now.entropy), var(&now.values));
    let scores = Scores {
        logp: logp.as_tensor().clone(),
        entropy: entropy.as_tensor().clone(),
    };
    let mut out = algorithm.policy_loss(&scores, exp, totals).unwrap();
    if algorithm.requirements().critic {
        let value_loss = algorithm
            .value_loss(value.as_tensor(), exp, totals)
            .unwrap();
        out.loss = (out.loss + value_loss.loss).unwrap();
        out.metrics.extend(value_loss.metrics);
    }
    let grads = out.loss.backward().unwrap();
    let gradient = |var: &Var| grads.get(var).map_or(vec![0.0; var.elem_count()], values);
    Found {
        loss: values(&out.loss)[0],
        d_logp: gradient(&logp),
        d_values: gradient(&value),
        metrics: out.metrics,
    }
}

/// A batch of the golden program.
pub fn golden_batch(batch: &Value) -> (Experience, Now) {
    let column = |name: &str| {
        numbers(&batch[name])
            .iter()
            .map(|v| *v as f32)
            .collect::<Vec<f32>>()
    };
    let whole = |name: &str| {
        batch[name]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_u64().unwrap())
            .collect::<Vec<u64>>()
    };
    let exp = Experience {
        lens: whole("lens").into_iter().map(|l| l as usize).collect(),
        prompt_key: whole("keys"),
        finished: batch["finished"]
            .as_array()
            .unwrap()
            .iter()
            .map(|f| f.as_bool().unwrap())
            .collect(),
        score: column("score"),
        logp_old: column("logp_old"),
        logp_ref: column("logp_ref"),
        entropy: column("entropy"),
        values: column("values"),
        ..Experience::default()
    };
    let now = ["logp", "entropy", "new_values"].map(|name| numbers(&batch[name]));
    let [logp, entropy, values] = now;
    (
        exp,
        Now {
            logp,
            entropy,
            values,
        },
    )
}

const PROMPTS: usize = 6;
const ANSWERS: usize = 5;

/// A softmax policy over five one-token answers to each of six prompts, with a reward for each, trained by plain gradient
/// steps.
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
