//! The forward pass over a ragged batch, teacher-forced. It records a graph where something is
//! trained. Source: Touvron et al. 2023; numerics are those of transformers.
//!
//! Letters: N tokens, d hidden size.

use crate::layer::{ForwardContext, Layer, LayerForward};
use crate::rope_tables::Stretch;
use crate::{CausalLm, Lora};
use candle_core::{Result, Tensor, bail};
use ops::Ragged;
use std::sync::Arc;

impl CausalLm {
    /// Hidden states [N, d] of a ragged batch after the final norm. Records a graph exactly when
    /// parameters of the adapter or the base are variables. `dropout` seeds the adapter's dropout,
    /// for training; without it nothing is dropped.
    pub fn hidden(
        &self,
        ids: &[u32],
        layout: &Ragged,
        lora: Option<&Lora>,
        dropout: Option<u64>,
    ) -> Result<Tensor> {
        self.check_ids(ids, layout)?;
        let longest = layout.contexts().into_iter().max().unwrap_or(0);
        let limit = self.config.max_position_embeddings;
        if longest > limit {
            bail!("sequence of {longest} tokens does not fit the model's context of {limit}");
        }
        let dropout = lora.and_then(|l| Some((l.config.dropout, dropout?)));
        let context = Arc::new(ForwardContext {
            eps: self.config.rms_norm_eps,
            rotations: self.rope.rotations(&stretches(layout))?,
            dropout: dropout.filter(|(p, _)| *p > 0.0),
            compute: self.compute,
        });
        let layout = Arc::new(layout.clone());
        let (embedding, norm) = (self.embedding.clone(), self.norm.clone());
        self.through_layers(ids, &embedding, &norm, |mut x| {
            for (index, layer) in self.layers.iter().enumerate() {
                let layer = layer.clone().with_lora(|m| lora?.of(index, m));
                let layer = self.layer_forward(index, layer, &context);
                x = self.teacher_forced(layer, &x, layout.clone())?;
            }
            Ok(x)
        })
    }

    pub(crate) fn layer_forward(
        &self,
        index: usize,
        layer: Layer,
        context: &Arc<ForwardContext>,
    ) -> LayerForward {
        LayerForward {
            index,
            layer,
            rotated: self.config.layers[index].rotated,
            head_dim: self.config.head_dim,
            context: context.clone(),
        }
    }

    /// One layer of [`Self::hidden`], checkpointed where that is asked for.
    fn teacher_forced(
        &self,
        layer: LayerForward,
        x: &Tensor,
        layout: Arc<Ragged>,
    ) -> Result<Tensor> {
        let attention = self.config.attention(layer.index);
        let run = move |layer: &LayerForward, x: &Tensor| {
            layer.run(x, |q, k, v| {
                let (q, k) = (layer.rotate(q)?, layer.rotate(k)?);
                ops::causal_attention(&q, &k, v, &layout, attention)
            })
        };
        let variables = layer.variables();
        let records = x.track_op() || !variables.is_empty();
        match records && layer.index < self.checkpointed_layers {
            true => ops::checkpoint(x, &variables, move |x, variables| {
                run(&layer.with_variables(variables), x)
            }),
            false => run(&layer, x),
        }
    }

    /// Embedding, `layers` ([N, d] -> [N, d]), final norm.
    pub(crate) fn through_layers(
        &self,
        ids: &[u32],
        embedding: &Tensor,
        norm: &Tensor,
        layers: impl FnOnce(Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        if ids.is_empty() {
            let shape = (0, self.config.hidden_size);
            return Tensor::zeros(shape, self.activation_dtype(), self.device());
        }
        let x = ops::embedding(embedding, &Tensor::new(ids, self.device())?)?; // [N, d]
        let x = x.to_dtype(self.activation_dtype())?;
        ops::rms_norm(&layers(x)?, norm, self.config.rms_norm_eps)
    }

    pub(crate) fn check_ids(&self, ids: &[u32], layout: &Ragged) -> Result<()> {
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

/// Sequences that share a prefix have the rotation frequencies of the longest of them.
fn stretches(layout: &Ragged) -> Vec<Stretch> {
    let contexts = layout.contexts();
    let mut longest = contexts.clone();
    for (seq, context) in contexts.iter().enumerate() {
        if let Some(parent) = layout.parent(seq) {
            longest[parent] = longest[parent].max(*context);
        }
    }
    let stretch = |seq| Stretch {
        first: layout.prefix(seq).len(),
        n: layout.len(seq),
        length: longest[layout.parent(seq).unwrap_or(seq)],
    };
    (0..layout.n_seqs()).map(stretch).collect()
}
