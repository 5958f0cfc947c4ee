//! Keys and values of sequences in flight, one flat store of token rows per layer. A sequence takes
//! rows as it grows and may share those of the prompt it continues. It does not deal with
//! token ids or sampling.

use crate::Config;
use candle_core::{DType, Device, Result, Tensor, bail};
use std::collections::BTreeMap;

/// Names a sequence of one cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SeqId(pub usize);

/// Keys and values of sequences in flight; a sequence may share its prefix with a parent. The
/// stores grow by a quarter or by what is needed, and free rows are used again.
///
/// ```
/// use models::{CausalLm, Config, KvCache};
/// use ops::Ragged;
/// # let json = serde_json::json!({
/// #     "model_type": "llama", "vocab_size": 64, "hidden_size": 16, "intermediate_size": 32,
/// #     "num_hidden_layers": 2, "num_attention_heads": 4,
/// # });
/// # let config = Config::from_json(&json).unwrap();
/// let model = CausalLm::init(&config, 7, &candle_core::Device::Cpu)?;
/// let mut cache = KvCache::new(&model)?;
/// let prompt = cache.open(None)?;
/// let layout = Ragged::from_lens(&[3]);
/// model.forward_cached(&[5, 6, 7], &layout, &[prompt], &mut cache, None)?;
///
/// // two answers that share the prompt, one token each
/// let answers = [cache.open(Some(prompt))?, cache.open(Some(prompt))?];
/// let layout = Ragged::from_lens(&[1, 1]);
/// let hidden = model.forward_cached(&[8, 9], &layout, &answers, &mut cache, None)?;
/// assert_eq!(hidden.dims(), [2, 16]);
/// assert_eq!(cache.len(answers[0]), 4);
/// # Ok::<(), models::Error>(())
/// ```
pub struct KvCache {
    /// Per layer: rotated keys, and values, each [rows, K*D], in the model's activation dtype.
    stores: Vec<(Tensor, Tensor)>,
    width: usize,
    n_rows: usize,
    max_positions: usize,
    /// The model's window, for the layers that have one.
    window: Option<usize>,
    /// [`Config::rope_switch`]
    rope_switch: Option<usize>,
    dtype: DType,
    device: Device,
    /// Free runs of rows: start -> length. Adjacent runs are always joined.
    free: BTreeMap<usize, usize>,
    seqs: Vec<Option<Seq>>,
}

/// Rows that a sequence takes at a time, unless it needs more.
const RUN: usize = 16;

struct Seq {
    parent: Option<SeqId>,
    n_children: usize,
    closed: bool,
    /// Runs of its ancestors' rows, which it reads first.
    prefix: Vec<(usize, usize)>,
    prefix_len: usize,
    /// Runs of its own rows, in order; the last may have room.
    runs: Vec<(usize, usize)>,
    /// Own tokens.
    len: usize,
}

impl KvCache {
    pub(crate) fn empty(config: &Config, dtype: DType, device: &Device) -> Result<Self> {
        let width = config.num_key_value_heads * config.head_dim;
        let store = || Tensor::zeros((RUN, width), dtype, device);
        let stores = (0..config.num_hidden_layers)
            .map(|_| Ok((store()?, store()?)))
            .collect::<Result<_>>()?;
        Ok(Self {
            stores,
            width,
            n_rows: RUN,
            max_positions: config.max_position_embeddings,
            window: config.sliding_window(),
            rope_switch: config.rope_switch(),
            dtype,
            device: device.clone(),
            free: BTreeMap::from([(0, RUN)]),
            seqs: Vec::new(),
        })
    }

    /// Rows that a sequence with `tokens` of its own takes.
    pub fn rows_for(tokens: usize) -> usize {
        tokens.next_multiple_of(RUN)
    }

    /// Makes the stores at least this large before anything is in them, so that nothing is copied
    /// to grow. For GPUs, where unwritten rows take memory all the same.
    pub fn reserve(&mut self, rows: usize) -> Result<()> {
        if rows <= self.n_rows {
            return Ok(());
        }
        self.grow_to(rows)
    }

    /// An empty sequence; with a parent it begins where the parent now ends, sharing its rows.
    pub fn open(&mut self, parent: Option<SeqId>) -> Result<SeqId> {
        let (prefix, prefix_len) = match parent {
            None => (Vec::new(), 0),
            Some(id) => {
                let seq = self.get(id)?;
                (seq.spans(seq.len), seq.prefix_len + seq.len)
            }
        };
        if let Some(SeqId(id)) = parent {
            self.seqs[id].as_mut().expect("checked above").n_children += 1;
        }
        self.seqs.push(Some(Seq {
            parent,
            n_children: 0,
            closed: false,
            prefix,
            prefix_len,
            runs: Vec::new(),
            len: 0,
        }));
        Ok(SeqId(self.seqs.len() - 1))
    }

    /// Tokens of a sequence, including those it shares with its parent; 0 after it was freed.
    pub fn len(&self, seq: SeqId) -> usize {
        match self.seqs.get(seq.0) {
            Some(Some(seq)) => seq.prefix_len + seq.len,
            _ => 0,
        }
    }

    /// Whether no sequence is open.
    pub fn is_empty(&self) -> bool {
        self.seqs.iter().all(Option::is_none)
    }

    /// Rows of the stores, used or free.
    pub fn rows(&self) -> usize {
        self.n_rows
    }

    /// Rows now held by sequences.
    pub fn used_rows(&self) -> usize {
        self.n_rows - self.free.values().sum::<usize>()
    }

    /// Frees the rows once the sequence and its children are closed.
    pub fn close(&mut self, seq: SeqId) {
        if let Some(Some(s)) = self.seqs.get_mut(seq.0) {
            s.closed = true;
        }
        let mut next = Some(seq);
        while let Some(SeqId(id)) = next {
            let Some(slot) = self.seqs.get_mut(id) else {
                return;
            };
            if !slot.as_ref().is_some_and(|s| s.closed && s.n_children == 0) {
                return;
            }
            let gone = slot.take().expect("just seen");
            for (start, len) in gone.runs {
                self.release(start, len);
            }
            next = gone.parent;
            if let Some(SeqId(parent)) = next
                && let Some(Some(parent)) = self.seqs.get_mut(parent)
            {
                parent.n_children -= 1;
            }
        }
    }

    fn get(&self, id: SeqId) -> Result<&Seq> {
        match self.seqs.get(id.0) {
            Some(Some(seq)) if !seq.closed => Ok(seq),
            _ => bail!("KV cache: sequence {} is not open", id.0),
        }
    }

    /// Takes `n` more tokens into a sequence. Returns the position of the first, and the store rows
    /// they go to.
    pub(crate) fn advance(&mut self, id: SeqId, n: usize) -> Result<(usize, Vec<usize>)> {
        let max = self.max_positions;
        let seq = self.get(id)?;
        let (own, position) = (seq.len, seq.prefix_len + seq.len);
        if position + n > max {
            bail!(
                "sequence of {} tokens does not fit the model's context of {max}",
                position + n
            );
        }
        if let Some(limit) = self.rope_switch
            && (1..=limit).contains(&position)
            && position + n > limit
        {
            bail!(
                "decoding would pass {limit} tokens, where this model's RoPE changes its frequencies; keep prompt and answer within {limit} tokens"
            );
        }
        let room: usize = seq.runs.iter().map(|(_, len)| len).sum();
        if own + n > room {
            let missing = (own + n - room).next_multiple_of(RUN).min(max);
            let runs = self.allocate(missing)?;
            let seq = self.seqs[id.0].as_mut().expect("checked above");
            seq.runs.extend(runs);
        }
        let seq = self.seqs[id.0].as_mut().expect("checked above");
        seq.len += n;
        let rows = seq.runs.iter().flat_map(|&(start, len)| start..start + len);
        Ok((position, rows.skip(own).take(n).collect()))
    }

    /// The runs of rows a sequence reads, up to `own` of its own tokens.
    pub(crate) fn spans(&self, id: SeqId, own: usize) -> Result<Vec<(usize, usize)>> {
        Ok(self.get(id)?.spans(own))
    }

    pub(crate) fn window(&self) -> Option<usize> {
        self.window
    }

    pub(crate) fn own_len(&self, id: SeqId) -> Result<usize> {
        Ok(self.get(id)?.len)
    }

    pub(crate) fn layer(&self, layer: usize) -> (&Tensor, &Tensor) {
        let (keys, values) = &self.stores[layer];
        (keys, values)
    }

    /// The first free runs that add up to `n` rows. Grows the stores where there are too few.
    fn allocate(&mut self, n: usize) -> Result<Vec<(usize, usize)>> {
        let free: usize = self.free.values().sum();
        if free < n {
            self.grow(n - free)?;
        }
        let (mut runs, mut left) = (Vec::new(), n);
        while left > 0 {
            let (start, len) = self.free.pop_first().expect("the stores were grown for it");
            let taken = len.min(left);
            if taken < len {
                self.free.insert(start + taken, len - taken);
            }
            runs.push((start, taken));
            left -= taken;
        }
        Ok(runs)
    }

    fn grow(&mut self, n: usize) -> Result<()> {
        self.grow_to((self.n_rows + self.n_rows / 4).max(self.n_rows + n))
    }

    fn grow_to(&mut self, new_rows: usize) -> Result<()> {
        for (keys, values) in &mut self.stores {
            for store in [keys, values] {
                let larger = Tensor::zeros((new_rows, self.width), self.dtype, &self.device)?;
                larger.slice_set(store, 0, 0)?;
                *store = larger;
            }
        }
        self.release(self.n_rows, new_rows - self.n_rows);
        self.n_rows = new_rows;
        Ok(())
    }

    fn release(&mut self, mut start: usize, mut len: usize) {
        if len == 0 {
            return;
        }
        if let Some(after) = self.free.remove(&(start + len)) {
            len += after;
        }
        if let Some((&before, &before_len)) = self.free.range(..start).next_back()
            && before + before_len == start
        {
            start = before;
            len += before_len;
        }
        self.free.insert(start, len);
    }
}

impl Seq {
    fn spans(&self, own: usize) -> Vec<(usize, usize)> {
        let (mut spans, mut left) = (self.prefix.clone(), own);
        for &(start, len) in &self.runs {
            let len = len.min(left);
            left -= len;
            match spans.last_mut() {
                _ if len == 0 => break,
                Some((before, n)) if *before + *n == start => *n += len,
                _ => spans.push((start, len)),
            }
        }
        spans
    }
}
