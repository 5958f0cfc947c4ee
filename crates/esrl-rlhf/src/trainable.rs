//! Parameters with their optimiser, and what is looked at before and after each of its steps.

use anyhow::{Result, bail};
use candle_core::Var;
use std::path::Path;
use train::{AdamW, Gradients, OptimizerConfig, Tripwire};

/// Parameters that learn, with their optimiser.
pub(crate) struct TrainableParams {
    pub optimizer: AdamW,
    /// Until every tensor was seen to change; not in a resumed run.
    tripwire: Option<Tripwire>,
}

impl TrainableParams {
    pub fn new(params: Vec<(String, Var)>, config: &OptimizerConfig) -> Result<Self> {
        Ok(Self {
            tripwire: Some(Tripwire::new(&params)?),
            optimizer: AdamW::new(params, config)?,
        })
    }

    pub fn resume(&mut self, file: &Path) -> Result<()> {
        self.tripwire = None;
        self.optimizer.load(file)
    }

    /// The gradient norm; refuses a gradient that is not finite.
    pub fn norm(&self, grads: &Gradients) -> Result<f64> {
        let (norm, bad) = grads.norm()?;
        if bad.is_some() {
            bail!(
                "a gradient is not finite; {}; lower the learning rate",
                train::diagnose(self.optimizer.params(), grads)?
            );
        }
        Ok(norm)
    }

    /// Clips by `norm`, that of the gradients, and steps.
    pub fn step(
        &mut self,
        grads: &Gradients,
        norm: f64,
        config: &OptimizerConfig,
        lr: f64,
    ) -> Result<()> {
        if self.tripwire.is_some()
            && let Some(name) = grads.missing().next()
        {
            bail!("no gradient reaches {name}; it would never be trained");
        }
        self.optimizer
            .step(grads, lr, train::clip_scale(norm, config.max_grad_norm))?;
        if let Some(tripwire) = &mut self.tripwire {
            // Rewards that are all alike give no gradient, which is no fault.
            let moved = if norm > 0.0 { lr } else { 0.0 };
            if tripwire.passed(self.optimizer.params(), moved)? {
                self.tripwire = None;
            }
        }
        Ok(())
    }
}
