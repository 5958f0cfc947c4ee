//! Fresh adapters for a model. Initial values follow PEFT.

use crate::lora::LoraPair;
use crate::parameter::uniform;
use crate::{CausalLm, Error, Lora, LoraConfig, Result};
use candle_core::{DType, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// One matrix of one layer that an adapter changes.
pub(crate) struct Target<'a> {
    pub layer: usize,
    /// Hugging Face path within the layer.
    pub path: &'a str,
    /// (out, in)
    pub shape: (usize, usize),
    pub rank: usize,
}

impl Lora {
    /// A ~ Kaiming uniform (a = √5), B = 0. Frozen. An error where a target matches no layer.
    ///
    /// ```
    /// # use models::{CausalLm, Config, Lora, LoraConfig};
    /// # let json = serde_json::json!({
    /// #     "model_type": "llama", "vocab_size": 64, "hidden_size": 16, "intermediate_size": 32,
    /// #     "num_hidden_layers": 2, "num_attention_heads": 4,
    /// # });
    /// # let model_config = Config::from_json(&json).unwrap();
    /// # let model = CausalLm::init(&model_config, 7, &candle_core::Device::Cpu)?;
    /// let config = LoraConfig { r: 4, alpha: 8.0, ..LoraConfig::default() };
    /// let lora = Lora::init(&config, &model, 3)?.trainable()?;
    /// let (first, _) = &lora.vars()[0];
    /// assert_eq!(first, "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight");
    ///
    /// // B is zero, so a fresh adapter changes nothing
    /// let layout = ops::Ragged::from_lens(&[3]);
    /// let base = model.hidden(&[1, 2, 3], &layout, None, None)?;
    /// let adapted = model.hidden(&[1, 2, 3], &layout, Some(&lora), None)?;
    /// assert_eq!(base.to_vec2::<f32>()?, adapted.detach().to_vec2::<f32>()?);
    ///
    /// let merged = model.merged(&lora)?;
    /// assert_eq!(merged.n_params(), model.n_params());
    /// # Ok::<(), models::Error>(())
    /// ```
    pub fn init(config: &LoraConfig, model: &CausalLm, seed: u64) -> Result<Self> {
        config.check(&model.config)?;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        Self::build(config, model, |target| {
            let (out, input) = target.shape;
            let bound = 1.0 / (input as f32).sqrt(); // sqrt(6 / ((1 + 5) in))
            let a = uniform((target.rank, input), bound, &mut rng, model.device())?;
            let b = Tensor::zeros((out, target.rank), DType::F32, model.device())?;
            Ok((a, b))
        })
    }

    /// Asks `pair` for A and B of every adapted matrix, layer by layer in the order of the model's
    /// description.
    pub(crate) fn build(
        config: &LoraConfig,
        model: &CausalLm,
        mut pair: impl FnMut(Target) -> Result<(Tensor, Tensor)>,
    ) -> Result<Self> {
        let adapted = config.adapted(&model.config).map_err(Error::Input)?;
        let spec = model.config.layer();
        let mut layers = vec![Vec::new(); model.config.num_hidden_layers];
        for adapted in adapted {
            let path = spec.path(adapted.module);
            let tensors = pair(Target {
                layer: adapted.layer,
                path,
                shape: spec.shape(adapted.module),
                rank: adapted.rank,
            })?;
            layers[adapted.layer].push(LoraPair::new(&adapted, path, tensors));
        }
        Ok(Self::new(config.clone(), layers, model.fingerprint()?))
    }
}
