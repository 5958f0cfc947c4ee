//! Tables of the rotary embedding, computed as far as they are needed.
//! Frequencies follow transformers' `modeling_rope_utils` and, like it, are f32.

use crate::{Config, RopeScaling};
use candle_core::{Device, Result, Tensor};
use std::f32::consts::PI;
use std::sync::Mutex;

/// cos and sin, each [positions, head_dim / 2], f32.
pub(crate) struct RopeTables {
    inv_freq: Vec<f32>,
    max_positions: usize,
    device: Device,
    made: Mutex<Option<(Tensor, Tensor)>>,
}

impl RopeTables {
    pub fn new(config: &Config, device: &Device) -> Self {
        Self {
            inv_freq: inv_freq(config),
            max_positions: config.max_position_embeddings,
            device: device.clone(),
            made: Mutex::new(None),
        }
    }

    /// Tables of at least `positions` rows (at most the model's context).
    pub fn get(&self, positions: usize) -> Result<(Tensor, Tensor)> {
        let mut made = self.made.lock().unwrap_or_else(|e| e.into_inner());
        if let Some((cos, sin)) = &*made
            && cos.dim(0)? >= positions
        {
            return Ok((cos.clone(), sin.clone()));
        }
        let n = positions
            .next_power_of_two()
            .max(256)
            .min(self.max_positions);
        let angles = |f: fn(f32) -> f32| -> Result<Tensor> {
            let table: Vec<f32> = (0..n)
                .flat_map(|p| self.inv_freq.iter().map(move |w| f(p as f32 * w)))
                .collect();
            Tensor::from_vec(table, (n, self.inv_freq.len()), &self.device)
        };
        let tables = (angles(f32::cos)?, angles(f32::sin)?);
        *made = Some(tables.clone());
        Ok(tables)
    }
}

/// Radians per position of each pair, [head_dim / 2].
pub(crate) fn inv_freq(config: &Config) -> Vec<f32> {
    let (dim, theta) = (config.head_dim, config.rope_theta as f32);
    (0..dim)
        .step_by(2)
        .map(|i| 1.0 / theta.powf(i as f32 / dim as f32))
        .map(|w| match config.rope_scaling {
            RopeScaling::None => w,
            RopeScaling::Linear { factor } => w / factor as f32,
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings,
            } => {
                let (factor, low, high) = (
                    factor as f32,
                    low_freq_factor as f32,
                    high_freq_factor as f32,
                );
                let old_context = original_max_position_embeddings as f32;
                let wavelength = 2.0 * PI / w;
                if wavelength < old_context / high {
                    w
                } else if wavelength > old_context / low {
                    w / factor
                } else {
                    let smooth = (old_context / wavelength - low) / (high - low);
                    (1.0 - smooth) * w / factor + smooth * w
                }
            }
        })
        .collect()
}
