//! Settings of a LoRA adapter, and which matrices of a model they adapt. Source: Hu et al. 2021;
//! rank-stabilised scale: Kalajdzievski 2023; names and patterns: PEFT's `LoraConfig`.

use crate::layer_spec::Module;
use crate::lora_targets::{LoraTargets, Pattern};
use crate::{Config, Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
    /// The adapted matrices.
    pub targets: LoraTargets,
    /// Scale alpha / sqrt(r) where plain LoRA has alpha / r.
    pub rslora: bool,
    /// Other ranks, by the end of a matrix's path, a regular expression.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rank_pattern: BTreeMap<String, usize>,
    /// Other alphas, likewise.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub alpha_pattern: BTreeMap<String, f64>,
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self {
            r: 8,
            alpha: 32.0,
            dropout: 0.0,
            targets: LoraTargets::AllLinear,
            rslora: false,
            rank_pattern: BTreeMap::new(),
            alpha_pattern: BTreeMap::new(),
        }
    }
}

/// An adapted matrix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Adapted {
    pub layer: usize,
    pub module: Module,
    pub rank: usize,
    /// What B·A is multiplied by.
    pub scale: f64,
}

impl LoraConfig {
    /// What B·A is multiplied by, but for patterns.
    pub fn scale(&self) -> f64 {
        self.scale_of(self.alpha, self.r)
    }

    fn scale_of(&self, alpha: f64, rank: usize) -> f64 {
        let r = rank as f64;
        alpha / if self.rslora { r.sqrt() } else { r }
    }

    /// Parameters of such an adapter for a model of this shape; none where the settings are wrong.
    pub fn n_params(&self, model: &Config) -> usize {
        let spec = model.layer();
        let adapted = self.adapted(model).unwrap_or_default().into_iter();
        let numbers = adapted.map(|adapted| {
            let (out, input) = spec.shape(adapted.module);
            (out + input) * adapted.rank
        });
        numbers.sum()
    }

    /// The number of tensors that hold [`Self::n_params`].
    pub fn n_tensors(&self, model: &Config) -> usize {
        2 * self.adapted(model).map_or(0, |adapted| adapted.len())
    }

    /// The modules that are adapted in any layer, with their largest rank.
    pub(crate) fn adapted_modules(&self, model: &Config) -> Vec<(Module, usize)> {
        let adapted = self.adapted(model).unwrap_or_default();
        let spec = model.layer();
        let largest = |module| {
            let same = adapted.iter().filter(|a| a.module == module);
            Some((module, same.map(|a| a.rank).max()?))
        };
        spec.modules().filter_map(largest).collect()
    }

    /// Refuses settings that do not fit a model of this shape, and patterns that match nothing.
    pub fn check(&self, model: &Config) -> Result<()> {
        let adapted = self.adapted(model).map_err(Error::Input)?;
        let (width, spec) = (model.hidden_size, model.layer());
        if let Some(rank) = adapted.iter().map(|a| a.rank).find(|rank| *rank > width) {
            let key = if rank == self.r { "r" } else { "rank_pattern" };
            return Err(Error::Input(format!(
                "lora.{key} = {rank} is more than the model's width of {width}; a low rank is 4 to 64",
            )));
        }
        let paths = adapted.iter().map(|a| spec.full_path(a.layer, a.module));
        let paths: Vec<_> = paths.collect();
        check_used("rank_pattern", &self.rank_pattern, &paths).map_err(Error::Input)?;
        check_used("alpha_pattern", &self.alpha_pattern, &paths).map_err(Error::Input)?;
        Ok(())
    }

    /// The adapted matrices, layer by layer in the order of the model's description. Checks the
    /// settings; the error names the key.
    pub(crate) fn adapted(&self, model: &Config) -> std::result::Result<Vec<Adapted>, String> {
        self.check_numbers()?;
        let spec = model.layer();
        let targets = self.targets.of(&spec, model.num_hidden_layers)?;
        let ranks = patterns("rank_pattern", &self.rank_pattern)?;
        let alphas = patterns("alpha_pattern", &self.alpha_pattern)?;
        let mut adapted = Vec::with_capacity(targets.len());
        for (layer, module) in targets {
            let path = spec.full_path(layer, module);
            let rank = pattern_value("rank_pattern", &ranks, &path)?.unwrap_or(self.r);
            let alpha = pattern_value("alpha_pattern", &alphas, &path)?.unwrap_or(self.alpha);
            adapted.push(Adapted {
                layer,
                module,
                rank,
                scale: self.scale_of(alpha, rank),
            });
        }
        Ok(adapted)
    }

    fn check_numbers(&self) -> std::result::Result<(), String> {
        if self.r == 0 || self.rank_pattern.values().any(|r| *r == 0) {
            let key = if self.r == 0 { "r" } else { "rank_pattern" };
            return Err(format!("lora.{key} = 0: the rank must be at least 1"));
        }
        // with 0 the adapter would change nothing, and its gradients would be 0
        let bad = |alpha: f64| !alpha.is_finite() || alpha == 0.0;
        if bad(self.alpha) {
            return Err(format!(
                "lora.alpha = {} is not a number other than 0",
                self.alpha
            ));
        }
        if let Some((pattern, alpha)) = self.alpha_pattern.iter().find(|(_, a)| bad(**a)) {
            return Err(format!(
                "lora.alpha_pattern: \"{pattern}\" = {alpha} is not a number other than 0"
            ));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(format!("lora.dropout = {} is not in [0, 1)", self.dropout));
        }
        Ok(())
    }
}

fn patterns<T: Copy>(
    key: &str,
    map: &BTreeMap<String, T>,
) -> std::result::Result<Vec<(Pattern, T)>, String> {
    let compiled = map.iter().map(|(text, value)| {
        let pattern = Pattern::of_end(text).map_err(|e| format!("lora.{key}: {e}"))?;
        Ok((pattern, *value))
    });
    compiled.collect()
}

/// The value of the patterns that match. PEFT takes the first of the file; a map has no order, so
/// two that disagree are refused.
fn pattern_value<T: Copy + PartialEq>(
    key: &str,
    patterns: &[(Pattern, T)],
    path: &str,
) -> std::result::Result<Option<T>, String> {
    let mut first: Option<&(Pattern, T)> = None;
    for entry in patterns {
        let (pattern, value) = entry;
        if !pattern
            .matches(path)
            .map_err(|e| format!("lora.{key}: {e}"))?
        {
            continue;
        }
        match first {
            Some((other, found)) if found != value => {
                return Err(format!(
                    "lora.{key}: \"{other}\" and \"{pattern}\" both match {path} and differ; keep one"
                ));
            }
            _ => first = Some(entry),
        }
    }
    Ok(first.map(|(_, value)| *value))
}

/// Refuses a pattern that matches none of the adapted matrices, whose paths these are.
fn check_used<T: Copy>(
    key: &str,
    map: &BTreeMap<String, T>,
    paths: &[String],
) -> std::result::Result<(), String> {
    for (pattern, _) in patterns(key, map)? {
        let mut used = false;
        for path in paths {
            used |= pattern
                .matches(path)
                .map_err(|e| format!("lora.{key}: {e}"))?;
        }
        if !used {
            let first = paths.first().map(String::as_str).unwrap_or_default();
            return Err(format!(
                "lora.{key}: \"{pattern}\" matches no adapted matrix; the first is {first}"
            ));
        }
    }
    Ok(())
}
