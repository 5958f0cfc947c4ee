//! A decoder-only transformer: its parameters and what can be asked of them. The forward passes
//! are in `forward.rs` (training and scoring) and `cached_forward.rs` (decoding).
//!
//! Letters: V vocabulary, d hidden size.

use crate::layer::Layer;
use crate::layer_spec::Role;
use crate::model_spec::{ModelParam, Slot, params};
use crate::parameter::normal;
use crate::rope_tables::RopeTables;
use crate::{Config, Error, Result};
use candle_core::{DType, Device, Tensor, Var};
use ops::Compute;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// A base model. Its parameters are held once and are frozen (detached tensors), unless
/// [`Self::make_trainable`] turned them into variables. A matrix is f32, bf16 or in quantised
/// blocks, everything else is f32. All arithmetic is f32 unless [`Self::set_compute`] says
/// otherwise; on GPUs with non-f32 weights, activations are bf16.
///
/// ```
/// use models::{CausalLm, Config};
/// use ops::Ragged;
///
/// let json = serde_json::json!({
///     "model_type": "llama", "vocab_size": 64, "hidden_size": 16, "intermediate_size": 32,
///     "num_hidden_layers": 2, "num_attention_heads": 4,
/// });
/// let config = Config::from_json(&json).unwrap();
/// let model = CausalLm::init(&config, 7, &candle_core::Device::Cpu)?;
/// // two sequences of 3 and 2 tokens, one after another
/// let hidden = model.hidden(&[5, 6, 7, 8, 9], &Ragged::from_lens(&[3, 2]), None, None)?;
/// assert_eq!(hidden.dims(), [5, 16]);
/// # Ok::<(), models::Error>(())
/// ```
pub struct CausalLm {
    /// Its shape.
    pub config: Config,
    pub(crate) embedding: Tensor, // [V, d]
    pub(crate) layers: Vec<Layer>,
    pub(crate) norm: Tensor, // [d]
    head: Tensor,            // [V, d]; the same tensor as `embedding` when tied
    pub(crate) rope: RopeTables,
    device: Device,
    vars: Vec<(String, Var)>,
    /// The first layers that keep only their input for the gradient.
    pub(crate) checkpointed_layers: usize,
    activation_dtype: DType,
    pub(crate) compute: Compute,
}

impl CausalLm {
    /// Asks `take` for every parameter, in the order of [`params`].
    pub(crate) fn build(
        config: &Config,
        device: &Device,
        mut take: impl FnMut(&ModelParam) -> Result<Tensor>,
    ) -> Result<Self> {
        let mut taken = Vec::new();
        for param in params(config) {
            taken.push(take(&param)?);
        }
        let mut next = taken.into_iter();
        let mut next = || next.next().expect("one tensor for each parameter");
        let embedding = next();
        let spec = config.layer();
        let layers = (0..config.num_hidden_layers)
            .map(|_| Layer::build(&spec, |_| Ok::<_, Error>(next())))
            .collect::<Result<_>>()?;
        let norm = next();
        let head = match config.tie_word_embeddings {
            true => embedding.clone(),
            false => next(),
        };
        let weights = embedding.dtype();
        Ok(Self {
            activation_dtype: ops::activation_dtype(device, weights, config.head_dim),
            config: config.clone(),
            embedding,
            layers,
            norm,
            head,
            rope: RopeTables::new(config, device),
            device: device.clone(),
            vars: Vec::new(),
            checkpointed_layers: 0,
            compute: Compute::F32,
        })
    }

    /// Fresh random weights (N(0, 0.02), norms 1, biases 0), for pre-training and for tests.
    pub fn init(config: &Config, seed: u64, device: &Device) -> Result<Self> {
        Self::random(config, seed, device, |_, weight| {
            Ok(weight.to_device(device)?)
        })
    }

    /// As [`Self::init`]; `convert` gets each parameter, f32 in main memory, on its way into the
    /// model.
    pub(crate) fn random(
        config: &Config,
        seed: u64,
        device: &Device,
        convert: impl Fn(Slot, Tensor) -> Result<Tensor>,
    ) -> Result<Self> {
        config.check().map_err(Error::Input)?;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        Self::build(config, device, |ModelParam { slot, shape, .. }| {
            let drawn = match shape.as_slice() {
                [n] if slot.is_bias() => Tensor::zeros(*n, DType::F32, &Device::Cpu)?,
                [n] => Tensor::ones(*n, DType::F32, &Device::Cpu)?,
                _ => normal(shape, 0.02, &mut rng, &Device::Cpu)?,
            };
            convert(*slot, drawn)
        })
    }

    /// Where its parameters are.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The vocabulary head [V, d]. A variable when the model is trainable.
    pub fn head(&self) -> &Tensor {
        &self.head
    }

    /// What every decoded token is multiplied by: the projections and the head.
    pub(crate) fn matrices(&self) -> impl Iterator<Item = &Tensor> {
        let linears = self.layers.iter().flat_map(|layer| layer.linears());
        linears.map(|linear| &linear.weight).chain([&self.head])
    }

    /// Other layers and another head; the rest is shared.
    pub(crate) fn with_matrices(&self, layers: Vec<Layer>, head: Tensor) -> Self {
        Self {
            config: self.config.clone(),
            embedding: self.embedding.detach(),
            layers,
            norm: self.norm.detach(),
            head,
            rope: RopeTables::new(&self.config, &self.device),
            device: self.device.clone(),
            vars: Vec::new(),
            checkpointed_layers: 0,
            activation_dtype: self.activation_dtype,
            compute: self.compute,
        }
    }

    /// The dtype of activations, keys and values: bf16 on a GPU whose matrices are not f32 and
    /// whose attention has a kernel for these heads, else f32.
    pub fn activation_dtype(&self) -> DType {
        self.activation_dtype
    }

    /// Sets another dtype than the device's own, so that a CPU test can do what a GPU does.
    pub fn set_activation_dtype(&mut self, dtype: DType) {
        self.activation_dtype = dtype;
    }

    /// The arithmetic of its products where the weights are frozen.
    pub fn compute(&self) -> Compute {
        self.compute
    }

    /// Sets the arithmetic; f32 unless set.
    pub fn set_compute(&mut self, compute: Compute) {
        self.compute = compute;
    }

    /// Full-parameter training: turns every parameter into a `Var` and returns them by Hugging Face
    /// name. They are f32 and no longer shared with other models; a tied head stays tied.
    pub fn make_trainable(&mut self) -> Result<Vec<(String, Var)>> {
        if self.vars.is_empty() {
            let mut vars = Vec::new();
            for (name, tensor) in self.tensors() {
                let own = ops::widened(&tensor)?.to_dtype(DType::F32)?.copy()?;
                vars.push((name, Var::from_tensor(&own)?));
            }
            let mut next = vars.iter().map(|(_, var)| var.as_tensor().clone());
            let trainable = Self::build(&self.config, &self.device, |_| {
                Ok(next.next().expect("the same parameters in the same order"))
            })?;
            *self = Self {
                vars,
                checkpointed_layers: self.checkpointed_layers,
                ..trainable
            };
        }
        Ok(self.vars())
    }

    /// Variables by Hugging Face name; empty unless [`Self::make_trainable`] was called.
    pub fn vars(&self) -> Vec<(String, Var)> {
        self.vars.clone()
    }

    /// Every parameter by Hugging Face name, in a fixed order; a tied head is not listed twice.
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        let all = params(&self.config).into_iter();
        all.map(|param| {
            let tensor = self.param(param.slot).clone();
            (param.hf_name, tensor)
        })
        .collect()
    }

    /// A parameter that the model's description has.
    pub(crate) fn param(&self, slot: Slot) -> &Tensor {
        match slot {
            Slot::Embedding => &self.embedding,
            Slot::Layer(i, role) => self.layer_param(i, role),
            Slot::FinalNorm => &self.norm,
            Slot::Head => &self.head,
        }
    }

    fn layer_param(&self, layer: usize, role: Role) -> &Tensor {
        let param = self.layers[layer].param(role);
        param.expect("a layer was built from its description")
    }

    /// Parameters of the base; a tied head counts once.
    pub fn n_params(&self) -> usize {
        self.config.n_params()
    }

    /// Bytes of the parameters in memory.
    pub fn bytes(&self) -> usize {
        let size = |t: Tensor| t.elem_count() * t.dtype().size_in_bytes();
        self.tensors().into_iter().map(|(_, t)| size(t)).sum()
    }

    /// Activation checkpointing: the first `layers` layers keep only their input [N, d] for the
    /// gradient and are computed a second time for it. Values and gradients stay the same to the
    /// last bit; without a graph nothing is computed twice.
    pub fn checkpoint_layers(&mut self, layers: usize) {
        self.checkpointed_layers = layers.min(self.layers.len());
    }
}
