//! V_ref: stub until the value head lands.
use algorithms::ValueFit;
use anyhow::{Result, bail};
use llama::{Llama, Lora};
pub(crate) struct ValueHead;
pub(crate) fn fit(
    _model: &Llama,
    _lora: Option<&Lora>,
    _prompts: &[Vec<u32>],
    _targets: &[f32],
    _fit: &ValueFit,
    _seed: u64,
) -> Result<ValueHead> {
    bail!("V_ref is not there yet")
}
impl ValueHead {
    pub fn values(
        &self,
        _model: &Llama,
        _lora: Option<&Lora>,
        _prompts: &[&[u32]],
        _max_tokens: usize,
    ) -> Result<Vec<f32>> {
        bail!("V_ref is not there yet")
    }
}
