//! What a forward with a graph keeps for its gradient: a count of the tensors of `layer.rs`, where
//! each operation is one tensor. Attention of candle's own operations is several.

use crate::layer_spec::{LayerWidths, Module, Projection};
use crate::{Config, LoraConfig};

/// Numbers per token, and per pair of a token and one that its sequence reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activations {
    /// A layer that keeps everything.
    pub layer: usize,
    /// A layer that keeps only its input.
    pub checkpointed_layer: usize,
    /// Gradients that are alive together during a layer's backward.
    pub gradients: usize,
    /// A layer, per pair.
    pub layer_pairs: usize,
    /// Gradients, per pair.
    pub gradient_pairs: usize,
    /// 2 for bf16, 4 for f32.
    pub bytes_per_number: usize,
}

impl Activations {
    /// On the CPU. `lora`: of the adapter that the forward goes through.
    pub fn on_cpu(config: &Config, lora: Option<&LoraConfig>) -> Self {
        let LayerWidths {
            hidden: d,
            feed_forward: f,
            queries: q,
            keys: k,
            ..
        } = config.widths();
        // norm, sum, norm, sum; q and k before and after rotation, v, attention; gate, up, product
        let mut layer = 4 * d + 3 * q + 3 * k + 3 * f;
        let spec = config.layer();
        // a product before its bias is added
        layer += spec.bias_widths().sum::<usize>();
        if spec.norms_heads() {
            layer += q + k;
        }
        // O and Down: the product beside its sum, unless both are one operation
        let adapted = lora.map(|lora| lora.adapted_modules(config));
        let trained = |p: &Projection| {
            let same = |(module, _): &(Module, usize)| *module == Module::One(*p);
            adapted.as_ref().is_none_or(|all| all.iter().any(same))
        };
        let added = [Projection::O, Projection::Down];
        layer += d * added.iter().filter(|p| trained(p)).count();
        let gradients = 6 * f + 4 * d;
        for (module, rank) in adapted.iter().flatten() {
            let ((out, input), parts) = (spec.shape(*module), module.parts().len());
            layer += rank * parts;
            if lora.is_some_and(|lora| lora.dropout > 0.0) {
                // mask, masked input; the frozen and the low-rank part before their sum
                layer += 2 * input * parts + 2 * out;
            }
        }
        Self {
            layer,
            checkpointed_layer: d,
            gradients,
            layer_pairs: 0,
            gradient_pairs: 0,
            bytes_per_number: 4,
        }
    }

    /// On a GPU: in bf16 where the base is frozen and attention has a kernel, else in f32 with
    /// candle's own operations for attention.
    pub fn on_gpu(config: &Config, lora: Option<&LoraConfig>) -> Self {
        let LayerWidths {
            queries: q,
            keys: k,
            ..
        } = config.widths();
        let heads = config.num_attention_heads;
        let mut each = Self::on_cpu(config, lora);
        if let Some(lora) = lora.filter(|lora| lora.dropout > 0.0) {
            // the mask is drawn again for the gradient
            let spec = config.layer();
            let masks = lora.adapted_modules(config).into_iter();
            let masks = masks.map(|(m, _)| spec.shape(m).1 * m.parts().len());
            each.layer -= masks.sum::<usize>();
        }
        if lora.is_some() && ops::has_cuda_attention(config.head_dim) {
            // log Σ exp of each head's scores, and Σ dO∘O, in f32: two numbers of bf16
            each.layer += 2 * heads;
            each.gradients += 2 * heads;
            each.bytes_per_number = 2;
            return each;
        }
        // heads apart: q, k, k transposed, v; repeated where heads share keys; the values' sum, in
        // order, put together
        let shared = heads > config.num_key_value_heads;
        each.layer += 2 * q + 2 * k + if shared { 2 * q } else { 0 } + 3 * q;
        each.gradients += 4 * q;
        // product, scaled, masked; less its largest, exponential, quotient; gradients of the mask
        // and of the largest
        each.layer_pairs = 8 * heads;
        each.gradient_pairs = 5 * heads;
        each
    }
}
