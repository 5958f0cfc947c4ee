//! The forward pass that extends sequences in a KV cache, without a graph. Prefill and decoding
//! are the same call; decoding has lengths of one token.
//!
//! Letters: N tokens, d hidden size.

use crate::layer::{ForwardContext, LayerForward};
use crate::rope_tables::Stretch;
use crate::{CausalLm, KvCache, Lora, SeqId};
use candle_core::{Result, Tensor, bail};
use ops::{Ragged, SpinPool, step};
use std::sync::Arc;

/// Where the new tokens of one call stand, in their sequences and in the cache.
struct NewTokens {
    stretches: Vec<Stretch>,
    /// The cache row of each token.
    rows: Vec<usize>,
    /// For each token the runs of cache rows that it reads; empty where all sequences are new.
    spans: Vec<Vec<(usize, usize)>>,
    /// The same in layers with a window.
    windowed: Vec<Vec<(usize, usize)>>,
    /// No sequence had a token before, so each token reads only tokens of this call.
    all_new: bool,
}

impl KvCache {
    /// An empty cache for this model, in the dtype of its activations.
    pub fn new(model: &CausalLm) -> Result<Self> {
        Self::empty(&model.config, model.activation_dtype(), model.device())
    }

    fn take(&mut self, seqs: &[SeqId], layout: &Ragged) -> Result<NewTokens> {
        let mut new = NewTokens {
            stretches: Vec::new(),
            rows: Vec::new(),
            spans: Vec::new(),
            windowed: Vec::new(),
            all_new: seqs.iter().all(|seq| self.len(*seq) == 0),
        };
        for (i, seq) in seqs.iter().enumerate() {
            let n = layout.len(i);
            let own = self.own_len(*seq)?;
            let (position, rows) = self.advance(*seq, n)?;
            new.stretches.push(Stretch {
                first: position,
                n,
                length: position + n,
            });
            new.rows.extend(rows);
            if !new.all_new {
                for j in 0..n {
                    let spans = self.spans(*seq, own + j + 1)?;
                    if let Some(window) = self.window() {
                        new.windowed.push(last_rows(&spans, window));
                    }
                    new.spans.push(spans);
                }
            }
        }
        Ok(new)
    }
}

/// The last `n` rows of runs.
fn last_rows(spans: &[(usize, usize)], n: usize) -> Vec<(usize, usize)> {
    let (mut last, mut left) = (Vec::new(), n);
    for &(start, len) in spans.iter().rev() {
        let taken = len.min(left);
        if taken == 0 {
            break;
        }
        last.push((start + len - taken, taken));
        left -= taken;
    }
    last.reverse();
    last
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
        let new = cache.take(seqs, layout)?;
        let frozen = lora.map(Lora::frozen);
        let context = Arc::new(ForwardContext {
            eps: self.config.rms_norm_eps,
            rotations: self.rope.rotations(&new.stretches)?,
            dropout: None,
            compute: self.compute,
        });
        let layers = |mut x: Tensor, pool: Option<&SpinPool>| {
            for (index, layer) in self.layers.iter().enumerate() {
                let low_rank = |module| frozen.as_ref()?.of(index, module);
                let layer = layer.detach().with_lora(low_rank);
                let layer = self.layer_forward(index, layer, &context);
                x = self.cached_layer(&layer, &x, (&*cache, layout, &new), pool)?;
            }
            Ok(x)
        };
        let groups = self.config.num_attention_heads / self.config.num_key_value_heads;
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
        let attention = self.config.attention(layer.index);
        let (keys, values) = cache.layer(layer.index);
        let spans = match attention.window {
            Some(_) => &new.windowed,
            None => &new.spans,
        };
        let rows = &new.rows;
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
                let q = ops::rotate_into([q, k, v], layer.rotation(), (keys, values), rows)?;
                ops::cached_attention(&q, keys, values, spans, attention)
            }),
        }
    }
}
