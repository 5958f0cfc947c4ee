//! The training crate: the optimiser against PyTorch, schedules against transformers, and the fit
//! loop.

mod fit;
mod guards;
mod length;
mod lora;
mod optimizer;
mod resume;

use anyhow::Result;
use candle_core::{Device, Tensor, Var};
use run::Run;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use train::{Evaluation, FitConfig, Objective, OptimizerConfig, Summary, fit};

/// Linear regression: an item is rows of (x, y); a "token" is a row.
struct Regression {
    w: Var,
    bias: Var,
    eval: Vec<Item>,
    unreached: Option<Var>,
    saved_at: std::cell::RefCell<Vec<f64>>,
    draws: Vec<u64>,
}

type Item = Vec<([f32; 3], f32)>;

impl Regression {
    fn new() -> Self {
        let var = |x: &[f32]| Var::from_tensor(&Tensor::new(x, &Device::Cpu).unwrap()).unwrap();
        Self {
            w: var(&[0.1, -0.2, 0.3]),
            bias: var(&[0.05]),
            eval: items(5, 99),
            unreached: None,
            saved_at: Default::default(),
            draws: Vec::new(),
        }
    }

    fn squared_error(&self, items: &[&Item]) -> Result<Tensor> {
        let rows: Vec<f32> = items
            .iter()
            .flat_map(|i| i.iter().flat_map(|r| r.0))
            .collect();
        let y: Vec<f32> = items.iter().flat_map(|i| i.iter().map(|r| r.1)).collect();
        let x = Tensor::from_vec(rows, (y.len(), 3), &Device::Cpu)?;
        let found = x.matmul(&self.w.unsqueeze(1)?)?.squeeze(1)?;
        let found = found.broadcast_add(&self.bias)?;
        Ok((found - Tensor::new(y, &Device::Cpu)?)?.sqr()?.sum_all()?)
    }

    fn numbers(&self) -> Vec<f32> {
        let mut all = self.w.to_vec1::<f32>().unwrap();
        all.extend(self.bias.to_vec1::<f32>().unwrap());
        all
    }
}

/// `n` items of 1 to 5 rows on the plane y = x·(1, -2, 0.5) + 0.7.
fn items(n: usize, seed: u64) -> Vec<Item> {
    use rand::Rng;
    let mut rng = run::stream(seed, "test items", 0, 0);
    let mut row = |_| {
        let x: [f32; 3] = rng.random();
        (x, x[0] - 2.0 * x[1] + 0.5 * x[2] + 0.7)
    };
    (0..n)
        .map(|i| (0..1 + i % 5).map(&mut row).collect())
        .collect()
}

impl Objective for Regression {
    type Item = Item;

    fn tokens(&self, item: &Item) -> usize {
        item.len()
    }

    fn count(&self, items: &[&Item]) -> usize {
        items.iter().map(|i| i.len()).sum()
    }

    fn loss_sum(&mut self, items: &[&Item], draw: u64) -> Result<(Tensor, BTreeMap<String, f64>)> {
        self.draws.push(draw);
        let rows = self.count(items) as f64;
        let metrics = BTreeMap::from([("rows".to_string(), rows)]);
        Ok((self.squared_error(items)?, metrics))
    }

    fn evaluate(&mut self) -> Result<Evaluation> {
        let eval: Vec<&Item> = self.eval.iter().collect();
        let loss = self.squared_error(&eval)?.to_scalar::<f32>()?;
        let loss = f64::from(loss) / self.count(&eval) as f64;
        Ok(Evaluation {
            loss,
            metrics: BTreeMap::from([("rmse".to_string(), loss.sqrt())]),
        })
    }

    fn params(&self) -> Vec<(String, Var)> {
        let mut params = vec![
            ("w".to_string(), self.w.clone()),
            ("bias".to_string(), self.bias.clone()),
        ];
        if let Some(var) = &self.unreached {
            params.push(("unreached".to_string(), var.clone()));
        }
        params
    }

    fn save_result(&self, run: &Run) -> Result<()> {
        let loss = self.squared_error(&self.eval.iter().collect::<Vec<_>>())?;
        self.saved_at
            .borrow_mut()
            .push(f64::from(loss.to_scalar::<f32>()?));
        run.replace_dir("adapter", |dir| self.save_params(dir))
    }

    fn save_params(&self, dir: &Path) -> Result<()> {
        train::save_params(&self.params(), &dir.join("params.safetensors"))
    }

    fn load_params(&mut self, dir: &Path) -> Result<()> {
        train::load_params(&self.params(), &dir.join("params.safetensors"))
    }

    fn sample(&mut self, step: u64) -> Result<Option<String>> {
        Ok(Some(format!("at {step}: {:?}", self.numbers())))
    }
}

fn config() -> FitConfig {
    FitConfig {
        epochs: 2.0,
        batch_size: 4,
        micro_batch_tokens: 6,
        optimizer: OptimizerConfig {
            lr: 0.05,
            warmup_ratio: 0.1,
            ..OptimizerConfig::default()
        },
        log_every: 3,
        eval_every: 4,
        sample_every: 5,
        save_every: 2,
        ..FitConfig::default()
    }
}

fn train_in(
    dir: &Path,
    objective: &mut Regression,
    data: &[Item],
    config: &FitConfig,
) -> Result<Summary> {
    let mut run = Run::create(dir, "test", &json!({ "train": config }))?;
    fit(objective, &data.to_vec(), config, &mut run, false)
}
