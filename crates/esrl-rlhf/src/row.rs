//! One response with its prompt: what is scored and trained on, sampled by the policy or taken from
//! the data.

use crate::data::Task;
use algorithms::Experience;
use std::rc::Rc;

pub(crate) struct Row {
    pub task: Rc<Task>,
    /// Prompt and response
    pub ids: Vec<u32>,
    pub prompt_len: usize,
    /// The response ends in EOS
    pub finished: bool,
    /// None: the data's own answer, or one sampled in an earlier round
    pub sampler: Option<SamplerRecord>,
}

/// What the sampler logged of a response: its temperature, and numbers for each token.
pub(crate) struct SamplerRecord {
    pub temperature: f32,
    pub logps: Vec<f32>,
    pub entropies: Vec<f32>,
    pub max_probs: Vec<f32>,
    /// `[T, d]` hidden states that the tokens were drawn from, flat; empty where they are not kept
    pub states: Vec<f32>,
}

impl Row {
    pub fn new(
        task: &Rc<Task>,
        response: &[u32],
        finished: bool,
        sampler: Option<SamplerRecord>,
    ) -> Self {
        Self {
            task: Rc::clone(task),
            ids: [&task.ids, response].concat(),
            prompt_len: task.ids.len(),
            finished,
            sampler,
        }
    }

    /// The same response in another step, without the sampler's record.
    pub fn again(&self) -> Self {
        Self::new(&self.task, self.response(), self.finished, None)
    }

    /// Frees the hidden states.
    pub fn forget_states(&mut self) {
        if let Some(record) = &mut self.sampler {
            record.states = Vec::new();
        }
    }

    /// Ids and prompt length, for a forward.
    pub fn sequence(&self) -> models::Sequence<'_> {
        (&self.ids, self.prompt_len)
    }

    pub fn response(&self) -> &[u32] {
        &self.ids[self.prompt_len..]
    }

    /// Equal for equal tokens: FNV-1a 64 over the ids.
    pub fn response_key(&self) -> u64 {
        let step =
            |hash: u64, id: &u32| (hash ^ u64::from(*id)).wrapping_mul(0x0000_0100_0000_01b3);
        self.response().iter().fold(0xcbf2_9ce4_8422_2325, step)
    }
}

/// The columns that are known from the rows alone. Those of the sampler are empty if no row was
/// sampled; otherwise they are 0 for rows that were not.
pub(crate) fn experience(rows: &[Row]) -> Experience {
    let any_drawn = rows.iter().any(|row| row.sampler.is_some());
    let column = |of: fn(&SamplerRecord) -> &Vec<f32>| -> Vec<f32> {
        let of_row = |row: &Row| match &row.sampler {
            Some(record) => of(record).clone(),
            None => vec![0.0; row.response().len()],
        };
        match any_drawn {
            true => rows.iter().flat_map(of_row).collect(),
            false => Vec::new(),
        }
    };
    let temperature = |row: &Row| row.sampler.as_ref().map_or(1.0, |s| s.temperature);
    Experience {
        lens: rows.iter().map(|row| row.response().len()).collect(),
        prompt_key: rows.iter().map(|row| row.task.key).collect(),
        finished: rows.iter().map(|row| row.finished).collect(),
        sampled: rows.iter().map(|row| row.sampler.is_some()).collect(),
        response_key: rows.iter().map(Row::response_key).collect(),
        temperature: rows.iter().map(temperature).collect(),
        logp_sampled: column(|s| &s.logps),
        logp_old: column(|s| &s.logps),
        entropy: column(|s| &s.entropies),
        max_prob: column(|s| &s.max_probs),
        ..Experience::default()
    }
}
