//! Settings of a LoRA adapter. Source: Hu et al. 2021; rank-stabilised scale: Kalajdzievski 2023.

use crate::layer_spec::Projection;
use crate::{Config, Error, Result};
use serde::{Deserialize, Serialize};

/// Settings of an adapter, as a run's config gives them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoraConfig {
    /// The rank.
    pub r: usize,
    /// B·A is multiplied by alpha / r.
    pub alpha: f64,
    /// Share of A's inputs that are zeroed while training.
    pub dropout: f64,
    /// Of q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj.
    pub targets: Vec<String>,
    /// Scale alpha / sqrt(r) where plain LoRA has alpha / r.
    pub rslora: bool,
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self {
            r: 8,
            alpha: 32.0,
            dropout: 0.0,
            targets: vec!["q_proj".into(), "v_proj".into()],
            rslora: false,
        }
    }
}

impl LoraConfig {
    /// What B·A is multiplied by.
    pub fn scale(&self) -> f64 {
        let r = self.r as f64;
        self.alpha / if self.rslora { r.sqrt() } else { r }
    }

    /// Parameters of such an adapter for a model of this shape. Unknown targets count as none.
    pub fn n_params(&self, model: &Config) -> usize {
        let shapes = self.adapted_shapes(model);
        let sum: usize = shapes.map(|(out, input)| out + input).sum();
        sum * self.r * model.num_hidden_layers
    }

    /// The number of tensors that hold [`Self::n_params`].
    pub fn n_tensors(&self, model: &Config) -> usize {
        2 * self.targets.len() * model.num_hidden_layers
    }

    /// (out, in) of each adapted projection of a layer.
    pub(crate) fn adapted_shapes(&self, model: &Config) -> impl Iterator<Item = (usize, usize)> {
        let layer = model.layer();
        let targets = self.targets.iter().filter_map(|t| Projection::by_name(t));
        targets.map(move |projection| layer.shape(projection))
    }

    /// Refuses settings of which no adapter for a model of this shape can be made.
    pub fn check(&self, model: &Config) -> Result<()> {
        self.projections().map_err(Error::Input)?;
        let width = model.hidden_size;
        if self.r > width {
            return Err(Error::Input(format!(
                "lora.r = {} is more than the model's width of {width}; a low rank is 4 to 64",
                self.r
            )));
        }
        Ok(())
    }

    /// The targets, each once. Checks the other settings, too.
    pub(crate) fn projections(&self) -> std::result::Result<Vec<Projection>, String> {
        if self.r == 0 {
            return Err("lora.r = 0: the rank must be at least 1".into());
        }
        if !self.alpha.is_finite() {
            return Err(format!("lora.alpha = {} is not a number", self.alpha));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(format!("lora.dropout = {} is not in [0, 1)", self.dropout));
        }
        let known = || Projection::ALL.map(Projection::name).join(", ");
        if self.targets.is_empty() {
            return Err(format!("lora.targets is empty; choose from {}", known()));
        }
        let mut found = Vec::new();
        for target in &self.targets {
            let projection = Projection::by_name(target).ok_or_else(|| {
                format!(
                    "lora.targets: \"{target}\" matches no layer; choose from {}",
                    known()
                )
            })?;
            if !found.contains(&projection) {
                found.push(projection);
            }
        }
        Ok(found)
    }
}
