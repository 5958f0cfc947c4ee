//! Continuous batching: each prompt is prefilled once and shared by its samples, and a finished row
//! makes room for the next.

use crate::logits::{RowDraw, draw_rows};
use crate::request::refuse;
use crate::{Drawn, Finish, Request, Sample};
use candle_core::{DType, Result, Tensor};
use models::{CausalLm, KvCache, Lora, SeqId};
use ops::{Logits, Ragged};
use rand_chacha::ChaCha8Rng;
use std::collections::VecDeque;

/// Tokens of one prefill call, unless a single prompt is longer.
const PREFILL_TOKENS: usize = 2048;

/// A model that draws, with an adapter that is applied without dropout.
///
/// ```
/// use generation::{Engine, Request, Sampling};
/// # use models::{CausalLm, Config};
/// # let json = serde_json::json!({
/// #     "model_type": "llama", "vocab_size": 64, "hidden_size": 16, "intermediate_size": 32,
/// #     "num_hidden_layers": 2, "num_attention_heads": 4,
/// # });
/// # let config = Config::from_json(&json).unwrap();
/// let model = CausalLm::init(&config, 7, &candle_core::Device::Cpu).unwrap();
/// let engine = Engine { model: &model, lora: None, stop: &[2], max_rows: 8, keep_states: false };
/// let request = Request {
///     prompt: vec![1, 5, 9],
///     n: 2,
///     sampling: Sampling { max_new_tokens: 4, ..Sampling::default() },
///     stream: [1, 0, 0],
/// };
/// let samples = engine.run(&[request], &mut |_tokens, _finished| {})?;
/// assert_eq!(samples.len(), 2);
/// assert!(samples.iter().all(|s| s.ids.len() <= 4 && s.logps.len() == s.ids.len()));
/// # Ok::<(), candle_core::Error>(())
/// ```
pub struct Engine<'a> {
    /// The base, or a copy of it with sampling weights.
    pub model: &'a CausalLm,
    /// The policy's adapter.
    pub lora: Option<&'a Lora>,
    /// Any of these ids ends a response.
    pub stop: &'a [u32],
    /// Rows decoded together.
    pub max_rows: usize,
    /// Give each sample the hidden states that its tokens were drawn from.
    pub keep_states: bool,
}

impl Engine<'_> {
    /// Samples in the order of requests, then of indices, in whatever order they finished.
    /// `progress(tokens_so_far, finished)` is called once per decoding step. Every request is
    /// checked before any work.
    pub fn run(
        &self,
        requests: &[Request],
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Vec<Sample>> {
        if self.max_rows == 0 {
            return refuse("generation: max_rows = 0; at least one row must be decoded".into());
        }
        let config = &self.model.config;
        for (at, request) in requests.iter().enumerate() {
            request.check(at, config)?;
        }
        let dtype = self.model.activation_dtype();
        let frozen = self.lora.map(|lora| lora.frozen_as(dtype)).transpose()?;
        let mut cache = KvCache::new(self.model)?;
        if ops::preallocates_cache(self.model.device()) {
            cache.reserve(self.most_rows(requests))?;
        }
        let mut in_flight = InFlight {
            model: self.model,
            lora: frozen.as_ref(),
            stop: self.stop,
            keep_states: self.keep_states,
            requests,
            cache,
            waiting: (0..requests.len()).filter(|&r| requests[r].n > 0).collect(),
            prefilled: VecDeque::new(),
            rows: Vec::new(),
            done: Vec::new(),
            n_tokens: 0,
            logits: Logits::empty(),
        };
        loop {
            in_flight.fill(self.max_rows)?;
            if in_flight.rows.is_empty() {
                break;
            }
            in_flight.step()?;
            progress(in_flight.n_tokens, in_flight.done.len());
        }
        let mut samples = in_flight.done;
        samples.sort_unstable_by_key(|s| (s.request, s.index));
        Ok(samples)
    }

    /// The most rows that the cache can need: the longest prompts and the longest answers together.
    fn most_rows(&self, requests: &[Request]) -> usize {
        let largest = |rows: Vec<usize>| {
            let mut rows = rows;
            rows.sort_unstable_by(|a, b| b.cmp(a));
            rows.iter().take(self.max_rows).sum::<usize>()
        };
        let asked = || requests.iter().filter(|r| r.n > 0);
        let prompts = asked().map(|r| KvCache::rows_for(r.prompt.len()));
        let answers = asked().flat_map(|r| {
            let rows = KvCache::rows_for(r.sampling.max_new_tokens);
            std::iter::repeat_n(rows, r.n.min(self.max_rows))
        });
        largest(prompts.collect()) + largest(answers.collect())
    }
}

/// A prompt that is in the cache, with the logits after its last token. Not all of its samples have
/// started.
struct Prefilled {
    request: usize,
    seq: SeqId,
    /// The hidden state of its last token, `[d]`.
    state: Vec<f32>,
    logits: Logits,
    next_index: usize,
}

/// One response that is being decoded.
struct Row {
    seq: SeqId,
    rng: ChaCha8Rng,
    sample: Sample,
}

impl Row {
    fn draw(&mut self) -> RowDraw<'_> {
        RowDraw {
            sampling: self.sample.sampling,
            rng: &mut self.rng,
        }
    }

    /// Appends a token. Returns whether the response is complete.
    fn push(&mut self, drawn: Drawn, stop: &[u32]) -> bool {
        let sample = &mut self.sample;
        sample.ids.push(drawn.id);
        sample.logps.push(drawn.logp);
        sample.entropies.push(drawn.entropy);
        sample.max_probs.push(drawn.max_prob);
        if stop.contains(&drawn.id) {
            sample.finish = Finish::Stop;
            return true;
        }
        sample.ids.len() == sample.sampling.max_new_tokens
    }
}

struct InFlight<'a> {
    model: &'a CausalLm,
    lora: Option<&'a Lora>,
    stop: &'a [u32],
    keep_states: bool,
    requests: &'a [Request],
    cache: KvCache,
    waiting: VecDeque<usize>,
    prefilled: VecDeque<Prefilled>,
    rows: Vec<Row>,
    done: Vec<Sample>,
    n_tokens: usize,
    /// Of the last forward's rows; the next one reuses the buffer.
    logits: Logits,
}

impl InFlight<'_> {
    /// Fills free rows: first with samples of prefilled prompts, then with the next prompts.
    fn fill(&mut self, max_rows: usize) -> Result<()> {
        while self.rows.len() < max_rows {
            let room = max_rows - self.rows.len();
            if self.prefilled.is_empty() {
                if self.waiting.is_empty() {
                    return Ok(());
                }
                self.prefill(room)?;
            }
            self.start_samples(room)?;
        }
        Ok(())
    }

    /// Prefills the next prompts in one call: enough for `room` samples, within the token budget.
    fn prefill(&mut self, room: usize) -> Result<()> {
        let (mut ids, mut lens, mut seqs, mut n_samples) = (Vec::new(), Vec::new(), Vec::new(), 0);
        while let Some(&request) = self.waiting.front() {
            let prompt = &self.requests[request].prompt;
            let full = n_samples >= room || ids.len() + prompt.len() > PREFILL_TOKENS;
            if full && !lens.is_empty() {
                break;
            }
            self.waiting.pop_front();
            n_samples += self.requests[request].n;
            ids.extend_from_slice(prompt);
            lens.push(prompt.len());
            let seq = self.cache.open(None)?;
            seqs.push(seq);
            self.prefilled.push_back(Prefilled {
                request,
                seq,
                state: Vec::new(),
                logits: Logits::empty(),
                next_index: 0,
            });
        }
        let layout = Ragged::from_lens(&lens);
        let hidden = self
            .model
            .forward_cached(&ids, &layout, &seqs, &mut self.cache, self.lora)?;
        let last: Vec<u32> = layout.ranges().map(|r| r.end as u32 - 1).collect();
        let last = hidden.index_select(&Tensor::new(last, hidden.device())?, 0)?;
        self.read_logits(&last)?;
        let states = self.states(&last)?;
        for (i, prefilled) in self.prefilled.iter_mut().enumerate() {
            prefilled.logits = self.logits.row(i)?;
            prefilled.state = states.get(i).cloned().unwrap_or_default();
        }
        Ok(())
    }

    /// Starts up to `room` samples of prefilled prompts. Each gets a sequence that shares the
    /// prompt's rows, and its first token.
    fn start_samples(&mut self, mut room: usize) -> Result<()> {
        while let Some(prompt) = self.prefilled.front_mut() {
            let request = &self.requests[prompt.request];
            let n = room.min(request.n - prompt.next_index);
            let mut fresh = Vec::with_capacity(n);
            for index in prompt.next_index..prompt.next_index + n {
                fresh.push(Row {
                    seq: self.cache.open(Some(prompt.seq))?,
                    rng: stream(request, index),
                    sample: Sample {
                        request: prompt.request,
                        index,
                        ids: Vec::new(),
                        finish: Finish::Length,
                        sampling: request.sampling,
                        logps: Vec::new(),
                        entropies: Vec::new(),
                        max_probs: Vec::new(),
                        states: prompt.state.clone(),
                    },
                });
            }
            let draws = fresh.iter_mut().map(Row::draw).collect();
            let drawn = draw_rows(&prompt.logits, draws)?;
            prompt.next_index += n;
            room -= n;
            if prompt.next_index == request.n {
                self.cache.close(prompt.seq);
                self.prefilled.pop_front();
            }
            self.push_tokens(fresh, drawn);
            if room == 0 {
                break;
            }
        }
        Ok(())
    }

    /// One token for every row.
    fn step(&mut self) -> Result<()> {
        let rows = std::mem::take(&mut self.rows);
        let ids: Vec<u32> = rows
            .iter()
            .map(|r| *r.sample.ids.last().expect("a row has its first token"))
            .collect();
        let seqs: Vec<SeqId> = rows.iter().map(|r| r.seq).collect();
        let layout = Ragged::from_lens(&vec![1; rows.len()]);
        let hidden = self
            .model
            .forward_cached(&ids, &layout, &seqs, &mut self.cache, self.lora)?;
        self.read_logits(&hidden)?;
        let mut rows = rows;
        for (row, state) in rows.iter_mut().zip(self.states(&hidden)?) {
            row.sample.states.extend(state);
        }
        let drawn = draw_rows(&self.logits, rows.iter_mut().map(Row::draw).collect())?;
        self.push_tokens(rows, drawn);
        Ok(())
    }

    /// Appends drawn tokens to their rows. Complete rows leave; the others stay in flight.
    fn push_tokens(&mut self, rows: Vec<Row>, drawn: Vec<Drawn>) {
        self.n_tokens += drawn.len();
        for (mut row, drawn) in rows.into_iter().zip(drawn) {
            if row.push(drawn, self.stop) {
                self.cache.close(row.seq);
                self.done.push(row.sample);
            } else {
                self.rows.push(row);
            }
        }
    }

    /// The rows of `[n, d]` as f32; empty unless they are kept.
    fn states(&self, hidden: &Tensor) -> Result<Vec<Vec<f32>>> {
        match self.keep_states {
            true => hidden.to_dtype(DType::F32)?.to_vec2(),
            false => Ok(Vec::new()),
        }
    }

    fn read_logits(&mut self, hidden: &Tensor) -> Result<()> {
        let buffer = std::mem::replace(&mut self.logits, Logits::empty());
        let (compute, head) = (self.model.compute(), self.model.head());
        self.logits = Logits::compute(compute, hidden, head, buffer)?;
        Ok(())
    }
}

fn stream(request: &Request, index: usize) -> ChaCha8Rng {
    let [seed, step, row] = request.stream;
    run::stream(seed, &format!("sample/{index}"), step, row)
}
