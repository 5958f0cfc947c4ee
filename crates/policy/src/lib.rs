//! Opens a policy from a base model or from the run of an earlier stage, and scores tokens with it
//! by a teacher-forced forward. Chooses the device, and records in a run what it depends on. Trains
//! nothing.

mod base;
mod base_place;
mod cuda_unavailable;
mod device;
mod forward;
mod inputs;
mod meta;
mod own_settings;
mod policy;
mod recorded;
mod source;
mod template;

pub use base::{Base, encoder, load_base};
pub use base_place::{BasePlace, has_base};
pub use cuda_unavailable::{cuda_unavailable_reason, first_usable_gpu};
pub use device::{DeviceChoice, check_compute, default_device, device, usable_bytes};
pub use forward::{Batch, Labels, per_label, score};
pub use inputs::{check_adapters, record_data, record_inputs, trained_prompts, write_identity};
pub use meta::PolicyMeta;
pub use own_settings::OwnSettings;
pub use policy::Policy;
pub use recorded::{find_recorded, run_and_adapter};
pub use source::{PolicyText, base_weights};
pub use template::{
    TemplateChoice, check_template_date, dated, default_template, same_but_date, template_date,
};
