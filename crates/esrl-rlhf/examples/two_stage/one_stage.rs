//! Sampling that keeps its graph, for measurement alone: what ESRL's two-stage sampling replaces.
//! Every token is decoded through cached keys and values that record, so the gradient of the
//! accumulated log-probabilities flows back through all steps. Of candle's own operations, since
//! the fused attention over a cache records no graph. Rows share one prompt and one length; the
//! prompt is decoded like the response, token by token.
//!
//! Letters: n rows, t tokens so far, d hidden size, V vocabulary, H heads, K key/value heads, D
//! head width.

use candle_core::{D, Device, Result, Tensor};
use models::{CausalLm, Config, Lora};
use ops::{Rotation, reference};
use std::collections::HashMap;

pub struct OneStage {
    config: Config,
    /// Frozen weights by Hugging Face name.
    weights: HashMap<String, Tensor>,
    /// The adapter's variables by PEFT key, and its scale.
    adapter: HashMap<String, Tensor>,
    scale: f64,
    /// Each [positions, D/2].
    rope: (Tensor, Tensor),
    /// Per layer keys and values so far, each [n, t, K*D].
    cache: Vec<Option<(Tensor, Tensor)>>,
    position: u32,
}

impl OneStage {
    /// `lora` is trainable. Rotary embedding without scaling.
    pub fn new(model: &CausalLm, lora: &Lora) -> Result<Self> {
        let config = model.config.clone();
        let (half, theta) = (config.head_dim / 2, config.rope_theta as f32);
        let angle = |p: usize, i: usize| {
            p as f32 * (1.0 / theta.powf(2.0 * i as f32 / config.head_dim as f32))
        };
        let table = |f: fn(f32) -> f32| {
            let n = config.max_position_embeddings;
            let values: Vec<f32> = (0..n)
                .flat_map(|p| (0..half).map(move |i| f(angle(p, i))))
                .collect();
            Tensor::from_vec(values, (n, half), &Device::Cpu)
        };
        Ok(Self {
            weights: model.tensors().into_iter().collect(),
            adapter: lora
                .vars()
                .into_iter()
                .map(|(key, var)| (key, var.as_tensor().clone()))
                .collect(),
            scale: lora.config.scale(),
            rope: (table(f32::cos)?, table(f32::sin)?),
            cache: vec![None; config.num_hidden_layers],
            position: 0,
            config,
        })
    }

    /// Takes one token into each row. Logits of the next, [n, V], with graph.
    pub fn step(&mut self, ids: &[u32]) -> Result<Tensor> {
        let eps = self.config.rms_norm_eps;
        let at = Tensor::new(ids, &Device::Cpu)?;
        let mut x = self
            .weight("model.embed_tokens.weight")
            .index_select(&at, 0)?; // [n, d]
        for layer in 0..self.config.num_hidden_layers {
            let name = |part: &str| format!("model.layers.{layer}.{part}");
            let norm = |x: &Tensor, part: &str| {
                reference::rms_norm(x, self.weight(&format!("{}.weight", name(part))), eps)
            };
            let h = norm(&x, "input_layernorm")?;
            let q = self.rotated(&self.linear(&name("self_attn.q_proj"), &h)?)?;
            let k = self.rotated(&self.linear(&name("self_attn.k_proj"), &h)?)?;
            let v = self.linear(&name("self_attn.v_proj"), &h)?;
            let grown = |old: Option<&Tensor>, new: Tensor| {
                let new = new.unsqueeze(1)?;
                old.map_or(Ok(new.clone()), |old| Tensor::cat(&[old, &new], 1))
            };
            let (keys, values) = {
                let old = self.cache[layer].as_ref();
                (grown(old.map(|c| &c.0), k)?, grown(old.map(|c| &c.1), v)?)
            };
            let attended = self.attend(&q, &keys, &values)?;
            x = (x + self.linear(&name("self_attn.o_proj"), &attended)?)?;
            let norm = |x: &Tensor, part: &str| {
                reference::rms_norm(x, self.weight(&format!("{}.weight", name(part))), eps)
            };
            let h = norm(&x, "post_attention_layernorm")?;
            let gate = self.linear(&name("mlp.gate_proj"), &h)?;
            let up = self.linear(&name("mlp.up_proj"), &h)?;
            let inner = reference::swiglu(&gate, &up)?;
            x = (x + self.linear(&name("mlp.down_proj"), &inner)?)?;
            self.cache[layer] = Some((keys, values));
        }
        self.position += 1;
        let head = match self.weights.get("lm_head.weight") {
            Some(head) => head,
            None => self.weight("model.embed_tokens.weight"),
        };
        ops::frozen_linear(
            &reference::rms_norm(&x, self.weight("model.norm.weight"), eps)?,
            head,
        )
    }

    fn weight(&self, name: &str) -> &Tensor {
        &self.weights[name]
    }

    fn linear(&self, module: &str, x: &Tensor) -> Result<Tensor> {
        let w = self.weight(&format!("{module}.weight"));
        let matrix = |which: &str| {
            self.adapter
                .get(&format!("base_model.model.{module}.lora_{which}.weight"))
        };
        match (matrix("A"), matrix("B")) {
            (Some(a), Some(b)) => reference::lora_linear(x, x, w, a, b, self.scale),
            _ => ops::frozen_linear(x, w),
        }
    }

    /// All rows are at the same position.
    fn rotated(&self, x: &Tensor) -> Result<Tensor> {
        let positions = vec![self.position; x.dim(0)?];
        let rotation = Rotation {
            tables: (&self.rope.0, &self.rope.1),
            positions: &positions,
            head_dim: self.config.head_dim,
        };
        reference::rope(x, rotation)
    }

    /// q [n, H*D] over keys and values [n, t, K*D]: [n, H*D].
    fn attend(&self, q: &Tensor, keys: &Tensor, values: &Tensor) -> Result<Tensor> {
        let (n, t, _) = keys.dims3()?;
        let c = &self.config;
        let (heads, kv, dim) = (c.num_attention_heads, c.num_key_value_heads, c.head_dim);
        // query head h reads key head h / (H/K): the groups of a key head stand together
        let q = q.reshape((n * kv, heads / kv, dim))?;
        let split = |x: &Tensor| -> Result<Tensor> {
            let x = x.reshape((n, t, kv, dim))?.transpose(1, 2)?;
            x.contiguous()?.reshape((n * kv, t, dim))
        };
        let scores = (q.matmul(&split(keys)?.transpose(1, 2)?.contiguous()?)?
            * (1.0 / (dim as f64).sqrt()))?; // [n*K, H/K, t]
        let e = scores
            .broadcast_sub(&scores.detach().max_keepdim(D::Minus1)?)?
            .exp()?;
        let weights = e.broadcast_div(&e.sum_keepdim(D::Minus1)?)?;
        weights.matmul(&split(values)?)?.reshape((n, heads * dim))
    }
}

/// Decodes `len` tokens for each of `n` rows after `prompt`; `choose(row, at, logits)` says which
/// token comes. The tokens, and the summed log-probabilities `[n]` of each row with their graph.
pub fn sample(
    model: &CausalLm,
    lora: &Lora,
    prompt: &[u32],
    n: usize,
    len: usize,
    mut choose: impl FnMut(usize, usize, &[f32]) -> u32,
) -> Result<(Vec<Vec<u32>>, Tensor)> {
    let mut state = OneStage::new(model, lora)?;
    let mut logits = None;
    for id in prompt {
        logits = Some(state.step(&vec![*id; n])?);
    }
    let mut rows = vec![Vec::with_capacity(len); n];
    let mut total = Tensor::zeros(n, candle_core::DType::F32, &Device::Cpu)?;
    for at in 0..len {
        let now = logits.take().expect("a prompt, or the step before");
        let numbers = now.detach().to_vec2::<f32>()?;
        let ids: Vec<u32> = (0..n).map(|row| choose(row, at, &numbers[row])).collect();
        let x = now.broadcast_sub(&now.detach().max_keepdim(D::Minus1)?)?;
        let logp = x.broadcast_sub(&x.exp()?.sum_keepdim(D::Minus1)?.log()?)?; // [n, V]
        let chosen = Tensor::new(ids.as_slice(), &Device::Cpu)?.unsqueeze(1)?;
        total = (total + logp.gather(&chosen, 1)?.squeeze(1)?)?;
        for (row, id) in rows.iter_mut().zip(&ids) {
            row.push(*id);
        }
        if at + 1 < len {
            logits = Some(state.step(&ids)?);
        }
    }
    Ok((rows, total))
}
