//! Tables of the rotary embedding, computed as far as they are needed.
//! Frequencies follow transformers' `modeling_rope_utils` and, like it, are f32.

use crate::{Config, RopeScaling};
use candle_core::{Device, Result, Tensor};
use std::f32::consts::PI;
use std::sync::Mutex;

/// cos and sin by position, f32: one block of rows for each set of frequencies. Where some layers
/// do not rotate, one identity row (cos 1, sin 0) follows.
pub(crate) struct RopeTables {
    /// Radians per position of each pair, [rotated width / 2]. The second set is that of long
    /// sequences.
    frequencies: Vec<Vec<f32>>,
    /// Multiplies cos and sin.
    factor: f32,
    /// Sequences of more tokens have the second set.
    short: usize,
    has_unrotated: bool,
    max_positions: usize,
    device: Device,
    made: Mutex<Option<(Tensor, Tensor)>>,
}

/// The rotations of the tokens of one forward.
pub(crate) struct Rotations {
    /// cos and sin, each [rows, rotated width / 2].
    pub tables: (Tensor, Tensor),
    /// The row of each token.
    pub rows: Vec<u32>,
    /// The same in a layer that rotates nothing; empty where no layer does.
    pub unrotated: Vec<u32>,
}

/// Tokens at consecutive positions.
pub(crate) struct Stretch {
    /// Position of the first.
    pub first: usize,
    pub n: usize,
    /// Tokens of the sequence they are read with; it decides their frequencies.
    pub length: usize,
}

impl RopeTables {
    pub fn new(config: &Config, device: &Device) -> Self {
        let scaling = &config.rope_scaling;
        let sets = match scaling {
            RopeScaling::LongRope(_) => 2,
            _ => 1,
        };
        Self {
            frequencies: (0..sets).map(|set| frequencies(config, set == 1)).collect(),
            factor: scaling.attention_factor(config.max_position_embeddings) as f32,
            short: config.rope_switch().unwrap_or(usize::MAX),
            has_unrotated: config.layers.iter().any(|layer| !layer.rotated),
            max_positions: config.max_position_embeddings,
            device: device.clone(),
            made: Mutex::new(None),
        }
    }

    /// The rotations of these stretches of tokens, one after another.
    pub fn rotations(&self, stretches: &[Stretch]) -> Result<Rotations> {
        let ends = stretches.iter().map(|s| s.first + s.n);
        let tables = self.get(ends.max().unwrap_or(0))?;
        let rows = tables.0.dim(0)?;
        let block = self.block(rows);
        let mut of_tokens = Vec::with_capacity(stretches.iter().map(|s| s.n).sum());
        for stretch in stretches {
            let start = if stretch.length > self.short {
                block
            } else {
                0
            };
            let first = start + stretch.first;
            of_tokens.extend((first..first + stretch.n).map(|row| row as u32));
        }
        let unrotated = match self.has_unrotated {
            true => vec![rows as u32 - 1; of_tokens.len()],
            false => Vec::new(),
        };
        Ok(Rotations {
            tables,
            rows: of_tokens,
            unrotated,
        })
    }

    /// Rows of a block in tables of `rows` rows.
    fn block(&self, rows: usize) -> usize {
        (rows - usize::from(self.has_unrotated)) / self.frequencies.len()
    }

    /// Tables of at least `positions` rows in each block (at most the model's context).
    fn get(&self, positions: usize) -> Result<(Tensor, Tensor)> {
        let mut made = self.made.lock().unwrap_or_else(|e| e.into_inner());
        if let Some((cos, sin)) = &*made
            && self.block(cos.dim(0)?) >= positions
        {
            return Ok((cos.clone(), sin.clone()));
        }
        let n = positions
            .next_power_of_two()
            .max(256)
            .min(self.max_positions);
        let (sets, width) = (self.frequencies.len(), self.frequencies[0].len());
        let table = |f: fn(f32) -> f32, unrotated: f32| -> Result<Tensor> {
            let mut table = Vec::with_capacity((sets * n + 1) * width);
            for frequencies in &self.frequencies {
                for p in 0..n {
                    let angles = frequencies.iter().map(|w| p as f32 * w);
                    table.extend(angles.map(|angle| f(angle) * self.factor));
                }
            }
            if self.has_unrotated {
                table.extend(std::iter::repeat_n(unrotated, width));
            }
            let rows = table.len() / width;
            Tensor::from_vec(table, (rows, width), &self.device)
        };
        let tables = (table(f32::cos, 1.0)?, table(f32::sin, 0.0)?);
        *made = Some(tables.clone());
        Ok(tables)
    }
}

/// Radians per position of each pair, [rotated width / 2]. `long`: of sequences beyond
/// [`Config::rope_switch`].
pub(crate) fn frequencies(config: &Config, long: bool) -> Vec<f32> {
    let (dim, theta) = (config.rotary_dim(), config.rope_theta as f32);
    let exponents = (0..dim).step_by(2).map(|i| i as f32 / dim as f32);
    let powers: Vec<f32> = exponents.map(|e| theta.powf(e)).collect();
    let plain = powers.iter().map(|power| 1.0 / power);
    match &config.rope_scaling {
        // dynamic scaling begins beyond the context, where no sequence is
        RopeScaling::None | RopeScaling::Dynamic { .. } => plain.collect(),
        RopeScaling::Linear { factor } => plain.map(|w| w / *factor as f32).collect(),
        llama3 @ RopeScaling::Llama3 { .. } => plain.map(|w| llama3_scaled(w, llama3)).collect(),
        RopeScaling::Yarn(yarn) => {
            let kept = yarn.kept(dim, config.rope_theta);
            let stretched = powers
                .iter()
                .map(|power| 1.0 / (yarn.factor as f32 * power));
            let both = stretched.zip(plain).zip(kept);
            both.map(|((s, w), kept)| s * (1.0 - kept) + w * kept)
                .collect()
        }
        RopeScaling::LongRope(scaling) => {
            let factors = match long {
                true => &scaling.long_factor,
                false => &scaling.short_factor,
            };
            let both = powers.iter().zip(factors);
            both.map(|(power, factor)| 1.0 / (*factor as f32 * power))
                .collect()
        }
    }
}

fn llama3_scaled(w: f32, scaling: &RopeScaling) -> f32 {
    let RopeScaling::Llama3 {
        factor,
        low_freq_factor,
        high_freq_factor,
        original_max_position_embeddings,
    } = scaling
    else {
        return w;
    };
    let (factor, low, high) = (
        *factor as f32,
        *low_freq_factor as f32,
        *high_freq_factor as f32,
    );
    let old_context = *original_max_position_embeddings as f32;
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
