//! LoRA adapters: low-rank additions to frozen projections, chosen per forward call.
//! Source: Hu et al. 2021; rank-stabilised scale: Kalajdzievski 2023. Initial values and names follow PEFT.

use crate::param::{Param, uniform};
use crate::proj::Proj;
use crate::{CausalLm, Config, Error, Result};
use candle_core::{DType, Result as CResult, Tensor, Var};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Settings of an adapter, as a run's config gives them.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoraConfig {
    pub r: usize,
    pub alpha: f64,
    /// Share of inputs to A that are zeroed while training.
    pub dropout: f64,
    /// of q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj
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

    /// Numbers of an adapter of these settings for a model of this shape; unknown targets have none.
    pub fn n_params(&self, model: &Config) -> usize {
        let targets = self.targets.iter().filter_map(|t| Proj::by_name(t));
        let each = targets.map(|proj| proj.shape(model));
        let sum: usize = each.map(|(out, input)| out + input).sum();
        sum * self.r * model.num_hidden_layers
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

    /// Tensors that [`n_params`](Self::n_params) are in.
    pub fn n_tensors(&self, model: &Config) -> usize {
        2 * self.targets.len() * model.num_hidden_layers
    }

    pub(crate) fn projections(&self) -> std::result::Result<Vec<Proj>, String> {
        if self.r == 0 {
            return Err("lora.r = 0: the rank must be at least 1".into());
        }
        if !self.alpha.is_finite() {
            return Err(format!("lora.alpha = {} is not a number", self.alpha));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(format!("lora.dropout = {} is not in [0, 1)", self.dropout));
        }
        let known = || Proj::ALL.map(Proj::name).join(", ");
        if self.targets.is_empty() {
            return Err(format!("lora.targets is empty; choose from {}", known()));
        }
        let mut found = Vec::new();
        for target in &self.targets {
            let proj = Proj::by_name(target).ok_or_else(|| {
                format!(
                    "lora.targets: \"{target}\" matches no layer; choose from {}",
                    known()
                )
            })?;
            if !found.contains(&proj) {
                found.push(proj);
            }
        }
        Ok(found)
    }
}

/// A [r, in] and B [out, r] of one projection.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub a: Param,
    pub b: Param,
}

/// One adapter. Trainable (its parameters are `Var`s) or frozen (detached copies of the same numbers).
#[derive(Clone, Debug)]
pub struct Lora {
    pub config: LoraConfig,
    /// Per layer, in the order of [`Proj::ALL`].
    pub(crate) layers: Vec<[Option<Pair>; 7]>,
    /// Fingerprint of the base it was made for.
    pub(crate) base: String,
}

impl Lora {
    /// A ~ kaiming uniform(a=sqrt 5), B = 0, as PEFT. Frozen; error when a target matches no layer.
    pub fn init(config: &LoraConfig, model: &CausalLm, seed: u64) -> Result<Self> {
        config.check(&model.config)?;
        let targets = config.projections().map_err(Error::Input)?;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        Self::build(config, model, |_, proj, (out, input)| {
            if !targets.contains(&proj) {
                return Ok(None);
            }
            let bound = 1.0 / (input as f32).sqrt(); // sqrt(6 / ((1 + 5) in))
            let a = uniform((config.r, input), bound, &mut rng, model.device())?;
            let b = Tensor::zeros((out, config.r), DType::F32, model.device())?;
            Ok(Some((a, b)))
        })
    }

    /// Asks for A and B of every projection of the model; none where the adapter leaves it alone.
    pub(crate) fn build(
        config: &LoraConfig,
        model: &CausalLm,
        mut pair: impl FnMut(usize, Proj, (usize, usize)) -> Result<Option<(Tensor, Tensor)>>,
    ) -> Result<Self> {
        let mut layers = Vec::with_capacity(model.config.num_hidden_layers);
        for layer in 0..model.config.num_hidden_layers {
            let mut pairs: [Option<Pair>; 7] = Default::default();
            for proj in Proj::ALL {
                pairs[proj as usize] =
                    pair(layer, proj, proj.shape(&model.config))?.map(|(a, b)| Pair {
                        a: Param::Frozen(a),
                        b: Param::Frozen(b),
                    });
            }
            layers.push(pairs);
        }
        Ok(Self {
            config: config.clone(),
            layers,
            base: model.fingerprint()?,
        })
    }

    /// A trainable copy with its own variables.
    pub fn trainable(&self) -> CResult<Self> {
        let mut copy = self.clone();
        for pair in copy.layers.iter_mut().flatten().flatten() {
            pair.a = pair.a.trainable()?;
            pair.b = pair.b.trainable()?;
        }
        Ok(copy)
    }

    /// A frozen view sharing no graph with this one; it shares storage, so it follows the training of its original.
    pub fn frozen(&self) -> Self {
        let mut copy = self.clone();
        for pair in copy.layers.iter_mut().flatten().flatten() {
            pair.a = pair.a.frozen();
            pair.b = pair.b.frozen();
        }
        copy
    }

    /// A frozen copy in `dtype`, for many forwards that would round it each time; the same numbers where they are so already.
    pub fn frozen_as(&self, dtype: DType) -> CResult<Self> {
        let mut copy = self.frozen();
        for pair in copy.layers.iter_mut().flatten().flatten() {
            for param in [&mut pair.a, &mut pair.b] {
                *param = Param::Frozen(param.tensor().to_dtype(dtype)?);
            }
        }
        Ok(copy)
    }

    /// Trainable parameters by PEFT key (empty when frozen), layer by layer, q k v o gate up down, A before B.
    pub fn vars(&self) -> Vec<(String, Var)> {
        self.params()
            .filter_map(|(key, p)| Some((key, p.var()?.clone())))
            .collect()
    }

    /// The numbers by PEFT key, in the same order; trainable or not.
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        self.params()
            .map(|(key, p)| (key, p.tensor().detach()))
            .collect()
    }

    fn params(&self) -> impl Iterator<Item = (String, &Param)> {
        let pairs = self.layers.iter().enumerate().flat_map(|(layer, pairs)| {
            Proj::ALL
                .into_iter()
                .zip(pairs)
                .map(move |(proj, pair)| (layer, proj, pair))
        });
        pairs
            .filter_map(|(layer, proj, pair)| Some((layer, proj, pair.as_ref()?)))
            .flat_map(|(layer, proj, pair)| {
                [
                    (peft_key(layer, proj, "A"), &pair.a),
                    (peft_key(layer, proj, "B"), &pair.b),
                ]
            })
    }

    pub(crate) fn pair(&self, layer: usize, proj: Proj) -> Option<&Pair> {
        self.layers[layer][proj as usize].as_ref()
    }
}

/// `base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight`
pub(crate) fn peft_key(layer: usize, proj: Proj, matrix: &str) -> String {
    format!(
        "base_model.model.model.layers.{layer}.{}.lora_{matrix}.weight",
        proj.path()
    )
}
