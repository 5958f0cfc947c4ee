//! What every stage begins with: a policy opened from a base model or an earlier run, and the teacher-forced forward
//! that reads log-probabilities off it. Knows where things lie on disk; trains nothing.

mod device;
mod forward;
mod inputs;
mod meta;
mod policy;
mod settings;

pub use device::{DeviceChoice, cuda_unavailable_reason, device, usable_bytes, usable_card};
pub use forward::{Batch, Labels, per_label, score};
pub use inputs::{record_data, record_inputs};
pub use meta::PolicyMeta;
pub use policy::{
    Base, Policy, TemplateChoice, base_weights, encoder, load_base, run_and_adapter, write_identity,
};
pub use settings::{auto, check_data, cpu};
