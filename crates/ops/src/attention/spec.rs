//! The shape of an attention, and what every form of it asks of its inputs.

use candle_core::{Result, Tensor, bail};

/// The heads of an attention, the scale of its scores and the reach of a query. Query head h reads
/// key head h / groups.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionSpec {
    /// H: query heads
    pub heads: usize,
    /// K: key and value heads; divides H
    pub kv_heads: usize,
    /// D: width of a head
    pub head_dim: usize,
    /// Multiplies the scores before softmax
    pub scale: f64,
    /// Keys that a query sees: its own and those right before it, as in transformers' sliding
    /// window. None: all keys of its context up to its own.
    pub window: Option<usize>,
}

impl AttentionSpec {
    /// Heads of width D whose scores are multiplied by 1/√D.
    pub fn new(heads: usize, kv_heads: usize, head_dim: usize) -> Self {
        Self {
            heads,
            kv_heads,
            head_dim,
            scale: 1.0 / (head_dim as f64).sqrt(),
            window: None,
        }
    }

    /// The same with a sliding window of so many keys, or without one.
    pub fn with_window(self, window: Option<usize>) -> Self {
        Self { window, ..self }
    }

    /// The position of the first key that a query at `position` of its context sees.
    ///
    /// ```
    /// let spec = ops::AttentionSpec::new(1, 1, 2).with_window(Some(3));
    /// assert_eq!([0, 2, 3, 9].map(|position| spec.first_key(position)), [0, 0, 1, 7]);
    /// ```
    pub fn first_key(&self, position: usize) -> usize {
        (position + 1).saturating_sub(self.reach())
    }

    /// The window; without one, more than any context has.
    pub(super) fn reach(&self) -> usize {
        self.window.unwrap_or(usize::MAX)
    }

    /// Query heads that share a key head.
    pub fn groups(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Width of a row of queries, H*D.
    pub fn q_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Width of a row of keys or values, K*D.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// The scale in f32. 1/scale is rounded before it is inverted, so that 1/√D has the bits of a
    /// computation in f32 throughout.
    pub(super) fn scale_f32(&self) -> f32 {
        1.0 / (1.0 / self.scale) as f32
    }

    /// Checks `q` [n, H*D] and `k` and `v` [m, K*D] for the operation `name`.
    pub(super) fn check(&self, name: &str, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<()> {
        if self.window == Some(0) {
            bail!("{name}: a window of 0 keys; every query sees its own key")
        }
        let ((_, q_width), (_, kv_width)) = (q.dims2()?, k.dims2()?);
        let whole =
            self.head_dim > 0 && self.kv_heads > 0 && self.heads.is_multiple_of(self.kv_heads);
        let widths = q_width == self.q_width() && kv_width == self.kv_width();
        if !whole || !widths || v.dims() != k.dims() {
            bail!(
                "{name}: q {:?}, k {:?} and v {:?} do not fit {} query heads and {} key heads of width {}",
                q.dims(),
                k.dims(),
                v.dims(),
                self.heads,
                self.kv_heads,
                self.head_dim
            )
        }
        Ok(())
    }

    /// [`Self::check`], and that there are `tokens` rows of queries and of keys.
    pub(super) fn check_tokens(
        &self,
        name: &str,
        [q, k, v]: [&Tensor; 3],
        tokens: usize,
    ) -> Result<()> {
        self.check(name, q, k, v)?;
        if q.dim(0)? != tokens || k.dim(0)? != tokens {
            bail!(
                "{name}: q {:?} and k {:?} do not fit {tokens} tokens",
                q.dims(),
                k.dims()
            )
        }
        Ok(())
    }

    /// Checks single query rows over cached rows; `spans[i]` are the runs (start, length) of query
    /// i.
    pub(crate) fn check_cached(
        &self,
        [q, keys, values]: [&Tensor; 3],
        spans: &[Vec<(usize, usize)>],
    ) -> Result<()> {
        self.check("cached_attention", q, keys, values)?;
        let (n, size) = (q.dim(0)?, keys.dim(0)?);
        if spans.len() != n {
            bail!(
                "cached_attention: {n} queries but {} lists of spans",
                spans.len()
            )
        }
        for (i, spans) in spans.iter().enumerate() {
            let is_empty = spans.iter().all(|(_, len)| *len == 0);
            if is_empty || spans.iter().any(|(start, len)| start + len > size) {
                bail!(
                    "cached_attention: the spans of query {i} are empty or beyond the {size} cached rows"
                )
            }
        }
        Ok(())
    }
}
