//! Parameters with their optimiser, and the checks before and after each of its steps.

use anyhow::{Result, bail};
use candle_core::Var;
use std::path::Path;
use train::{AdamW, Gradients, OptimizerConfig, Tripwire};

/// Parameters that learn, with their optimiser.
pub(crate) struct TrainableParams {
    pub optimizer: AdamW,
    /// Until every tensor has changed; None in a resumed run
    tripwire: Option<Tripwire>,
}

impl TrainableParams {
    /// With moments of 0.
    pub fn new(params: Vec<(String, Var)>, config: &OptimizerConfig) -> Result<Self> {
        Ok(Self {
            tripwire: Some(Tripwire::new(&params)?),
            optimizer: AdamW::new(params, config)?,
        })
    }

    /// Reads the optimiser's state from a checkpoint.
    pub fn resume(&mut self, file: &Path) -> Result<()> {
        self.tripwire = None;
        self.optimizer.load(file)
    }

    /// The global L2 norm of the gradients. An error where one is not finite.
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

    /// Clips the gradients, whose norm is `norm`, and steps. An error where a parameter gets no
    /// gradient or does not change.
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
            // If all rewards are equal, every gradient is 0, which is no fault.
            let moved = if norm > 0.0 { lr } else { 0.0 };
            if tripwire.passed(self.optimizer.params(), moved)? {
                self.tripwire = None;
            }
        }
        Ok(())
    }
}
