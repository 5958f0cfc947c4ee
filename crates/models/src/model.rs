//! The LLaMA network over ragged batches: teacher-forced with a graph, or extending a KV cache without one.
//! Source: Touvron et al. 2023; names, layout and numerics are those of transformers' `LlamaForCausalLM`.
//!
//! Letters: N tokens, B sequences, d hidden size, V vocabulary, H heads, K key/value heads, D head width.

use crate::block::{Block, Layer, Pass};
use crate::param::normal;
use crate::proj::Proj;
use crate::rope::RopeTables;
use crate::{Config, Error, KvCache, Lora, Result, SeqId};
use candle_core::{DType, Device, Result as CResult, Tensor, Var, bail};
use ops::{Ragged, SpinPool, step};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// A base model: weights held once, frozen (detached tensors) unless `make_trainable` turned them into variables. Matrices are f32 or bf16
/// or lie in blocks, everything else is f32. So is all arithmetic; what the blocks hand on is bf16 on a card whose matrices are no f32.
pub struct CausalLm {
    pub config: Config,
    embed: Tensor, // [V, d]
    layers: Vec<Layer>,
    norm: Tensor, // [d]
    head: Tensor, // [V, d]; the same tensor as `embed` when tied
    rope: RopeTables,
    device: Device,
    vars: Vec<(String, Var)>,
    /// Blocks that a forward with graph keeps nothing of but their input
    checkpointed: usize,
    /// What the blocks hand on
    activations: DType,
}

impl CausalLm {
    /// Asks `take` for every weight by its Hugging Face name and shape. Tied models have no `lm_head.weight`.
    pub(crate) fn build(
        config: &Config,
        device: &Device,
        mut take: impl FnMut(&str, &[usize]) -> Result<Tensor>,
    ) -> Result<Self> {
        let mut weights = Vec::new();
        for (name, shape) in weight_shapes(config) {
            weights.push(take(&name, &shape)?);
        }
        let mut next = weights.into_iter();
        let mut next = || next.next().expect("one tensor for each name");
        let embed = next();
        let layers = (0..config.num_hidden_layers)
            .map(|_| Layer {
                input_norm: next(),
                proj: std::array::from_fn(|_| next()),
                post_norm: next(),
            })
            .collect();
        let norm = next();
        let head = if config.tie_word_embeddings {
            embed.clone()
        } else {
            next()
        };
        let activations = ops::activation_dtype(device, embed.dtype(), config.head_dim);
        Ok(Self {
            activations,
            config: config.clone(),
            embed,
            layers,
            norm,
            head,
            rope: RopeTables::new(config, device),
            device: device.clone(),
            vars: Vec::new(),
            checkpointed: 0,
        })
    }

    /// Fresh random weights (N(0, 0.02), norms 1), for pre-training the tiny world and for tests.
    pub fn init(config: &Config, seed: u64, device: &Device) -> Result<Self> {
        Self::random(config, seed, device, |_, weight| {
            Ok(weight.to_device(device)?)
        })
    }

    /// The same, each weight, f32 in main memory, as `keep` has it by its name.
    pub(crate) fn random(
        config: &Config,
        seed: u64,
        device: &Device,
        keep: impl Fn(&str, Tensor) -> Result<Tensor>,
    ) -> Result<Self> {
        config.check().map_err(Error::Input)?;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        Self::build(config, device, |name, shape| {
            let weight = match shape {
                [d] => Tensor::ones(*d, DType::F32, &Device::Cpu)?,
                _ => normal(shape, 0.02, &mut rng, &Device::Cpu)?,
            };
            keep(name, weight)
        })
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The vocabulary head [V, d]. A variable when the model is trainable.
    pub fn head(&self) -> &Tensor {
        &self.head
    }

    /// What each token drawn is multiplied by: the projections and the head.
    pub(crate) fn matrices(&self) -> impl Iterator<Item = &Tensor> {
        let projections = self.layers.iter().flat_map(|layer| &layer.proj);
        projections.chain([&self.head])
    }

    pub(crate) fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Other blocks and another head; the rest is shared.
    pub(crate) fn with_matrices(&self, layers: Vec<Layer>, head: Tensor) -> Self {
        Self {
            config: self.config.clone(),
            embed: self.embed.detach(),
            layers,
            norm: self.norm.detach(),
            head,
            rope: RopeTables::new(&self.config, &self.device),
            device: self.device.clone(),
            vars: Vec::new(),
            checkpointed: 0,
            activations: self.activations,
        }
    }

    /// What the blocks hand on, and keys and values are kept in: bf16 on a card whose matrices are no f32 and whose attention has a kernel, else f32.
    pub fn activations(&self) -> DType {
        self.activations
    }

    /// Activations of another dtype than the device's own: what a card does, where there is none.
    pub fn activate_in(&mut self, dtype: DType) {
        self.activations = dtype;
    }

    /// Turns every weight into a `Var` and returns them by Hugging Face name: full-parameter training.
    /// Weights are no longer shared with other models afterwards; a tied head stays tied.
    pub fn make_trainable(&mut self) -> Result<Vec<(String, Var)>> {
        if self.vars.is_empty() {
            let mut vars = Vec::new();
            for (name, tensor) in self.tensors() {
                let own = ops::widened(&tensor)?.to_dtype(DType::F32)?.copy()?;
                vars.push((name, Var::from_tensor(&own)?));
            }
            let mut next = vars.iter().map(|(_, var)| var.as_tensor().clone());
            let trainable = Self::build(&self.config, &self.device, |_, _| {
                Ok(next.next().expect("the same weights in the same order"))
            })?;
            *self = Self {
                vars,
                checkpointed: self.checkpointed,
                ..trainable
            };
        }
        Ok(self.vars())
    }

    /// Variables by Hugging Face name; empty unless `make_trainable` was called.
    pub fn vars(&self) -> Vec<(String, Var)> {
        self.vars.clone()
    }

    /// Every weight by Hugging Face name, in a fixed order; a tied head is not listed twice.
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        let mut all = vec![&self.embed];
        for layer in &self.layers {
            all.push(&layer.input_norm);
            all.extend(&layer.proj);
            all.push(&layer.post_norm);
        }
        all.push(&self.norm);
        all.push(&self.head);
        weight_shapes(&self.config)
            .into_iter()
            .zip(all)
            .map(|((name, _), t)| (name, t.clone()))
            .collect()
    }

    /// Weights of the base; a tied head counts once.
    pub fn n_params(&self) -> usize {
        self.config.n_params()
    }

    /// What they take in memory.
    pub fn bytes(&self) -> usize {
        let size = |t: Tensor| t.elem_count() * t.dtype().size_in_bytes();
        self.tensors().into_iter().map(|(_, t)| size(t)).sum()
    }

    /// Activation checkpointing: the first `blocks` blocks keep only their input [N, d] for the gradient and are computed a second
    /// time for it. Numbers and gradients stay the same to the last bit; without a graph nothing is done twice.
    pub fn checkpoint_blocks(&mut self, blocks: usize) {
        self.checkpointed = blocks.min(self.layers.len());
    }

    /// Final-norm hidden states [N, d] of a ragged batch, teacher-forced. Records a graph exactly when the adapter's
    /// (or the base's) parameters are variables. `dropout` (LoRA dropout, training only) seeds its own stream.
    pub fn hidden(
        &self,
        ids: &[u32],
        layout: &Ragged,
        lora: Option<&Lora>,
        dropout: Option<u64>,
    ) -> CResult<Tensor> {
        self.check_ids(ids, layout)?;
        let longest = layout.contexts().into_iter().max().unwrap_or(0);
        let context = self.config.max_position_embeddings;
        if longest > context {
            bail!("sequence of {longest} tokens does not fit the model's context of {context}");
        }
        let dropout = lora.and_then(|l| Some((l.config.dropout, dropout?)));
        let pass = Pass {
            eps: self.config.rms_norm_eps,
            rope: self.rope.get(longest)?,
            positions: layout.positions(),
            scale: lora.map_or(0.0, |l| l.config.scale()),
            dropout: dropout.filter(|(p, _)| *p > 0.0),
        };
        let head_dim = self.config.head_dim;
        let layout = Arc::new(layout.clone());
        self.walk(ids, &self.embed, &self.norm, |x| {
            let mut x = x;
            let pass = Arc::new(pass);
            for (index, layer) in self.layers.iter().enumerate() {
                let block = Block {
                    index,
                    weights: layer.clone(),
                    lora: pairs(lora, index),
                    pass: pass.clone(),
                };
                let layout = layout.clone();
                let run = move |block: &Block, x: &Tensor| {
                    block.run(x, |q, k, v| {
                        let (q, k) = (block.rotated(q)?, block.rotated(k)?);
                        ops::causal_attention(&q, &k, v, &layout, head_dim)
                    })
                };
                let params = block.variables();
                let records = x.track_op() || !params.is_empty();
                x = match records && index < self.checkpointed {
                    true => ops::checkpoint(&x, &params, move |x, params| {
                        run(&block.with_variables(params), x)
                    })?,
                    false => run(&block, &x)?,
                };
            }
            Ok(x)
        })
    }

    /// Hidden states [N, d] of new tokens while writing them into the cache: for each i, `seqs[i]` is extended by
    /// `layout.len(i)` tokens. No graph. Prefill and decode are the same call (decode: all lengths 1).
    /// After an error the sequences of this call hold rows that were not written: close them.
    pub fn extend(
        &self,
        ids: &[u32],
        layout: &Ragged,
        seqs: &[SeqId],
        cache: &mut KvCache,
        lora: Option<&Lora>,
    ) -> CResult<Tensor> {
        self.check_ids(ids, layout)?;
        if seqs.len() != layout.n_seqs() {
            bail!(
                "extend: {} sequences but {} lengths",
                seqs.len(),
                layout.n_seqs()
            );
        }
        let (mut positions, mut rows, mut longest) = (Vec::new(), Vec::new(), 0);
        let mut spans = Vec::new();
        let all_new = seqs.iter().all(|seq| cache.len(*seq) == 0);
        for (i, seq) in seqs.iter().enumerate() {
            let n = layout.len(i);
            let own = cache.own_len(*seq)?;
            let (position, taken) = cache.advance(*seq, n)?;
            positions.extend((position..position + n).map(|p| p as u32));
            rows.extend(taken);
            longest = longest.max(position + n);
            if !all_new {
                for j in 0..n {
                    spans.push(cache.spans(*seq, own + j + 1)?);
                }
            }
        }
        let frozen = lora.map(Lora::frozen);
        let pass = Arc::new(Pass {
            eps: self.config.rms_norm_eps,
            rope: self.rope.get(longest)?,
            positions,
            scale: lora.map_or(0.0, |l| l.config.scale()),
            dropout: None,
        });
        let head_dim = self.config.head_dim;
        let blocks = |x: Tensor, pool: Option<&SpinPool>| {
            let mut x = x;
            for (index, layer) in self.layers.iter().enumerate() {
                let block = Block {
                    index,
                    weights: layer.detach(),
                    lora: pairs(frozen.as_ref(), index),
                    pass: pass.clone(),
                };
                let (keys, values) = cache.layer(index);
                let store = |k: &Tensor, v: &Tensor| {
                    ops::scatter_rows(keys, &rows, k)?;
                    ops::scatter_rows(values, &rows, v)
                };
                x = match pool {
                    Some(pool) => block.step(pool, &x, |q, k, v| {
                        store(k, v)?;
                        pool.attend(q, keys, values, &spans, head_dim)
                    })?,
                    None if all_new => block.run(&x, |q, k, v| {
                        let (q, k) = (block.rotated(q)?, block.rotated(k)?);
                        store(&k, v)?;
                        ops::causal_attention(&q, &k, v, layout, head_dim)
                    })?,
                    None => block.run(&x, |q, k, v| {
                        let (tables, stores) = ((&pass.rope.0, &pass.rope.1), (keys, values));
                        let q =
                            ops::rotate_into([q, k, v], tables, &pass.positions, stores, &rows)?;
                        ops::cached_attention(&q, keys, values, &spans, head_dim)
                    })?,
                };
            }
            Ok(x)
        };
        let groups = self.config.num_attention_heads / self.config.num_key_value_heads;
        let single = !all_new && layout.n_tokens() == layout.n_seqs();
        let (embed, norm) = (self.embed.detach(), self.norm.detach());
        self.walk(ids, &embed, &norm, |x| {
            match single && step::supports(&x, groups) {
                true => SpinPool::at_work(|pool| blocks(x, Some(pool))),
                false => blocks(x, None),
            }
        })
    }

    /// Embedding, `blocks` ([N, d] -> [N, d]), final norm.
    fn walk(
        &self,
        ids: &[u32],
        embed: &Tensor,
        norm: &Tensor,
        blocks: impl FnOnce(Tensor) -> CResult<Tensor>,
    ) -> CResult<Tensor> {
        if ids.is_empty() {
            return Tensor::zeros((0, self.config.hidden_size), self.activations, &self.device);
        }
        let x = ops::embedding(embed, &Tensor::new(ids, &self.device)?)?; // [N, d]
        let x = x.to_dtype(self.activations)?;
        ops::rms_norm(&blocks(x)?, norm, self.config.rms_norm_eps)
    }

    /// Merged copy: W + scale·B·A. Weights the adapter leaves alone are shared.
    pub fn merged(&self, lora: &Lora) -> Result<CausalLm> {
        if lora.layers.len() != self.layers.len() {
            return Err(Error::Input(format!(
                "an adapter of {} layers does not fit a model of {}",
                lora.layers.len(),
                self.layers.len()
            )));
        }
        let mut weights = self.tensors().into_iter();
        let mut layer_proj = (0..self.layers.len()).flat_map(|l| Proj::ALL.map(|p| (l, p)));
        Self::build(&self.config, &self.device, |name, _| {
            let (_, w) = weights.next().expect("the same weights in the same order");
            if !name.contains("_proj") {
                return Ok(w.detach());
            }
            let (layer, proj) = layer_proj.next().expect("one per projection");
            match lora.pair(layer, proj) {
                None => Ok(w.detach()),
                Some(pair) => {
                    let (a, b) = (pair.a.tensor().detach(), pair.b.tensor().detach());
                    let w = ops::widened(&w)?.to_dtype(DType::F32)?;
                    Ok((w + (b.matmul(&a)? * lora.config.scale())?)?)
                }
            }
        })
    }

    fn check_ids(&self, ids: &[u32], layout: &Ragged) -> CResult<()> {
        if ids.len() != layout.n_tokens() {
            bail!(
                "{} ids but a layout of {} tokens",
                ids.len(),
                layout.n_tokens()
            );
        }
        let vocab = self.config.vocab_size;
        match ids.iter().find(|id| **id as usize >= vocab) {
            Some(id) => bail!("token id {id} is outside the model's vocabulary of {vocab}"),
            None => Ok(()),
        }
    }
}

/// A and B of a block's projections.
fn pairs(lora: Option<&Lora>, layer: usize) -> [Option<(Tensor, Tensor)>; 7] {
    Proj::ALL.map(|proj| {
        let pair = lora?.pair(layer, proj)?;
        Some((pair.a.tensor().clone(), pair.b.tensor().clone()))
    })
}

impl Config {
    /// Weights of a model of this shape; a tied head counts once.
    pub fn n_params(&self) -> usize {
        let count = |(_, shape): (String, Vec<usize>)| shape.iter().product::<usize>();
        weight_shapes(self).into_iter().map(count).sum()
    }
}

/// Every weight by Hugging Face name, with its shape.
pub(crate) fn weight_shapes(config: &Config) -> Vec<(String, Vec<usize>)> {
    let (v, d) = (config.vocab_size, config.hidden_size);
    let mut out = vec![("model.embed_tokens.weight".to_string(), vec![v, d])];
    for i in 0..config.num_hidden_layers {
        let name = |part: &str| format!("model.layers.{i}.{part}.weight");
        out.push((name("input_layernorm"), vec![d]));
        for proj in Proj::ALL {
            let (rows, cols) = proj.shape(config);
            out.push((name(&proj.path()), vec![rows, cols]));
        }
        out.push((name("post_attention_layernorm"), vec![d]));
    }
    out.push(("model.norm.weight".to_string(), vec![d]));
    if !config.tie_word_embeddings {
        out.push(("lm_head.weight".to_string(), vec![v, d]));
    }
    out
}
