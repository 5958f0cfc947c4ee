//! The columns of a pool of stored responses, as an offline method sees them.

/// Stored responses that an offline method learns from, one entry per row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PoolColumns {
    /// Stable identity of the row's prompt.
    pub prompt_key: Vec<u64>,
    /// Response tokens.
    pub lens: Vec<usize>,
    /// Equal token ids have equal keys.
    pub response_key: Vec<u64>,
    /// true: sampled by a policy; false: an answer of the data set.
    pub sampled: Vec<bool>,
    /// Filled when [`crate::PoolRequirements::score`] asks for it.
    pub score: Vec<f32>,
    /// V_ref(x), filled when [`crate::PoolRequirements::prompt_value`] asks for it.
    pub prompt_value: Vec<f32>,
}
