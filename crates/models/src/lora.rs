//! LoRA adapters: low-rank additions to the projections of a base, chosen per forward call.
//! Names follow PEFT. Making one is in `lora_init.rs`, files are in `peft.rs`.

use crate::LoraConfig;
use crate::layer_spec::Module;
use crate::linear::LowRank;
use crate::lora_config::Adapted;
use crate::parameter::Parameter;
use candle_core::{DType, Result, Tensor, Var};

/// The low-rank pair A, B of one weight matrix.
#[derive(Clone, Debug)]
pub(crate) struct LoraPair {
    module: Module,
    scale: f64,
    /// Hugging Face path of the module within its layer.
    path: String,
    /// [r, in]
    a: Parameter,
    /// [out, r]
    b: Parameter,
}

impl LoraPair {
    /// Frozen.
    pub fn new(adapted: &Adapted, path: &str, (a, b): (Tensor, Tensor)) -> Self {
        Self {
            module: adapted.module,
            scale: adapted.scale,
            path: path.to_string(),
            a: Parameter::Frozen(a),
            b: Parameter::Frozen(b),
        }
    }
}

/// One adapter. Trainable (its parameters are `Var`s) or frozen (detached tensors).
#[derive(Clone, Debug)]
pub struct Lora {
    /// Its settings.
    pub config: LoraConfig,
    /// Per layer, the adapted modules in the order of the model's description.
    layers: Vec<Vec<LoraPair>>,
    /// Fingerprint of the base it was made for.
    base: String,
}

impl Lora {
    pub(crate) fn new(config: LoraConfig, layers: Vec<Vec<LoraPair>>, base: String) -> Self {
        Self {
            config,
            layers,
            base,
        }
    }

    /// A trainable copy with its own variables.
    pub fn trainable(&self) -> Result<Self> {
        self.map(Parameter::trainable)
    }

    /// A frozen view: detached from the graph, so a forward through it records nothing. It shares
    /// storage with this adapter, so it follows training.
    pub fn frozen(&self) -> Self {
        let frozen = self.map(|parameter| Ok(parameter.frozen()));
        frozen.expect("a view does not fail")
    }

    /// A frozen copy in `dtype`, so that many forwards need not round it each time. If the dtype
    /// is the same, it shares storage.
    pub fn frozen_as(&self, dtype: DType) -> Result<Self> {
        self.map(|parameter| {
            let frozen = parameter.tensor().detach();
            Ok(Parameter::Frozen(frozen.to_dtype(dtype)?))
        })
    }

    fn map(&self, change: impl Fn(&Parameter) -> Result<Parameter>) -> Result<Self> {
        let mut copy = self.clone();
        for pair in copy.layers.iter_mut().flatten() {
            pair.a = change(&pair.a)?;
            pair.b = change(&pair.b)?;
        }
        Ok(copy)
    }

    /// Trainable parameters by PEFT key (empty when frozen), layer by layer, q k v o gate up down,
    /// A before B.
    pub fn vars(&self) -> Vec<(String, Var)> {
        self.params()
            .filter_map(|(key, p)| Some((key, p.var()?.clone())))
            .collect()
    }

    /// All parameters by PEFT key, in the same order; trainable or not.
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        self.params()
            .map(|(key, p)| (key, p.tensor().detach()))
            .collect()
    }

    fn params(&self) -> impl Iterator<Item = (String, &Parameter)> {
        let layers = self.layers.iter().enumerate();
        let pairs = layers.flat_map(|(layer, pairs)| pairs.iter().map(move |pair| (layer, pair)));
        pairs.flat_map(|(layer, pair)| {
            [
                (peft_key(layer, &pair.path, "A"), &pair.a),
                (peft_key(layer, &pair.path, "B"), &pair.b),
            ]
        })
    }

    /// The addition to one module, with its graph.
    pub(crate) fn of(&self, layer: usize, module: Module) -> Option<LowRank> {
        let mut pairs = self.layers[layer].iter();
        let pair = pairs.find(|pair| pair.module == module)?;
        Some(LowRank {
            a: pair.a.tensor().clone(),
            b: pair.b.tensor().clone(),
            scale: pair.scale,
        })
    }

    /// Names of the modules that are adapted in the first layer that has any.
    pub(crate) fn modules(&self) -> Vec<&'static str> {
        let mut layers = self.layers.iter();
        let pairs = layers.find(|pairs| !pairs.is_empty());
        pairs
            .into_iter()
            .flatten()
            .map(|p| p.module.name())
            .collect()
    }

    pub(crate) fn n_layers(&self) -> usize {
        self.layers.len()
    }

    pub(crate) fn base_fingerprint(&self) -> &str {
        &self.base
    }
}

/// `base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight`
pub(crate) fn peft_key(layer: usize, path: &str, matrix: &str) -> String {
    format!("base_model.model.model.layers.{layer}.{path}.lora_{matrix}.weight")
}
