//! The forward pass that extends sequences in a KV cache, without a graph. Prefill and decoding
//! are the same call; decoding has lengths of one token.
//!
//! Letters: N tokens, d hidden size.

use crate::layer::{ForwardContext, LayerForward};
use crate::linear::LoraContext;
use crate::{CausalLm, KvCache, Lora, SeqId};
use candle_core::{Result, Tensor, bail};
use ops::{Ragged, SpinPool, step};
use std::sync::Arc;

/// Where the new tokens of one call stand, in their sequences and in the cache.
struct NewTokens {
    /// One per token.
    positions: Vec<u32>,
    /// The cache row of each token.
    rows: Vec<usize>,
    /// For each token the runs of cache rows that it reads; empty where all sequences are new.
    spans: Vec<Vec<(usize, usize)>>,
    /// No sequence had a token before, so each token reads only tokens of this call.
    all_new: bool,
    /// Tokens of the longest sequence.
    longest: usize,
}

impl KvCache {
    /// An empty cache for this model, in the dtype of its activations.
    pub fn new(model: &CausalLm) -> Result<Self> {
        Self::empty(&model.config, model.activation_dtype(), model.device())
    }

    fn take(&mut self, seqs: &[SeqId], layout: &Ragged) -> Result<NewTokens> {
        let mut new = NewTokens {
            positions: Vec::new(),
            rows: Vec::new(),
            spans: Vec::new(),
            all_new: seqs.iter().all(|seq| self.len(*seq) == 0),
            longest: 0,
        };
        for (i, seq) in seqs.iter().enumerate() {
            let n = layout.len(i);
            let own = self.own_len(*seq)?;
            let (position, rows) = self.advance(*seq, n)?;
            new.positions
                .extend((position..position + n).map(|p| p as u32));
            new.rows.extend(rows);
            new.longest = new.longest.max(position + n);
            if !new.all_new {
                for j in 0..n {
                    new.spans.push(self.spans(*seq, own + j + 1)?);
                }
            }
        }
        Ok(new)
    }
}

impl CausalLm {
    /// Hidden states [N, d] of new tokens, whose keys and values are written into the cache:
    /// `seqs[i]` grows by `layout.len(i)` tokens. Records no graph. After an error the sequences
    /// of this call hold rows that were not written: close them.
    pub fn forward_cached(
        &self,
        ids: &[u32],
        layout: &Ragged,
        seqs: &[SeqId],
        cache: &mut KvCache,
        lora: Option<&Lora>,
    ) -> Result<Tensor> {
        self.check_ids(ids, layout)?;
        if seqs.len() != layout.n_seqs() {
            bail!(
                "forward_cached: {} sequences but {} lengths",
                seqs.len(),
                layout.n_seqs()
            );
        }
        let mut new = cache.take(seqs, layout)?;
        let frozen = lora.map(Lora::frozen);
        let context = Arc::new(ForwardContext {
            eps: self.config.rms_norm_eps,
            rope: self.rope.get(new.longest)?,
            positions: std::mem::take(&mut new.positions),
            head_dim: self.config.head_dim,
            lora: LoraContext {
                scale: lora.map_or(0.0, |l| l.config.scale()),
                dropout: None,
            },
        });
        let layers = |mut x: Tensor, pool: Option<&SpinPool>| {
            for (index, layer) in self.layers.iter().enumerate() {
                let pair = |p| frozen.as_ref()?.tensors_of(index, p);
                let layer = LayerForward {
                    index,
                    layer: layer.detach().with_lora(pair),
                    context: context.clone(),
                };
                x = self.cached_layer(&layer, &x, (&*cache, layout, &new), pool)?;
            }
            Ok(x)
        };
        let groups = self.config.attention().groups();
        let single = !new.all_new && layout.n_tokens() == layout.n_seqs();
        let (embedding, norm) = (self.embedding.detach(), self.norm.detach());
        self.through_layers(ids, &embedding, &norm, |x| {
            match single && step::supports(&x, groups) {
                true => SpinPool::at_work(|pool| layers(x, Some(pool))),
                false => layers(x, None),
            }
        })
    }

    /// One layer of [`Self::forward_cached`].
    fn cached_layer(
        &self,
        layer: &LayerForward,
        x: &Tensor,
        (cache, layout, new): (&KvCache, &Ragged, &NewTokens),
        pool: Option<&SpinPool>,
    ) -> Result<Tensor> {
        let attention = self.config.attention();
        let (keys, values) = cache.layer(layer.index);
        let (rows, spans) = (&new.rows, &new.spans);
        let store = |k: &Tensor, v: &Tensor| {
            ops::scatter_rows(keys, rows, k)?;
            ops::scatter_rows(values, rows, v)
        };
        match pool {
            Some(pool) => layer.run_on_pool(pool, x, |q, k, v| {
                store(k, v)?;
                pool.attend(q, keys, values, spans, attention)
            }),
            None if new.all_new => layer.run(x, |q, k, v| {
                let (q, k) = (layer.rotate(q)?, layer.rotate(k)?);
                store(&k, v)?;
                ops::causal_attention(&q, &k, v, layout, attention)
            }),
            None => layer.run(x, |q, k, v| {
                let rotation = layer.context.rotation();
                let q = ops::rotate_into([q, k, v], rotation, (keys, values), rows)?;
                ops::cached_attention(&q, keys, values, spans, attention)
            }),
        }
    }
}
