//! Every parameter of a model, in the order in which they are listed, drawn and hashed: the
//! embedding, the layers as their family describes them, the last norm, the head.

use crate::Config;
use crate::layer_spec::Role;

/// Where a parameter stands in the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    Embedding,
    Layer(usize, Role),
    FinalNorm,
    /// Absent where the head is the embedding.
    Head,
}

/// One parameter of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ModelParam {
    pub slot: Slot,
    /// `model.layers.3.self_attn.q_proj.weight`
    pub hf_name: String,
    /// `blk.3.attn_q.weight`
    pub gguf_name: String,
    pub shape: Vec<usize>,
}

impl Slot {
    /// Whether the parameter is a projection's matrix.
    pub fn is_projection(self) -> bool {
        matches!(self, Self::Layer(_, Role::Weight(_)))
    }

    /// Whether the parameter is added to a product.
    pub fn is_bias(self) -> bool {
        matches!(self, Self::Layer(_, Role::Bias(_)))
    }
}

/// A tied head is not listed.
pub(crate) fn params(config: &Config) -> Vec<ModelParam> {
    let (v, d) = (config.vocab_size, config.hidden_size);
    let whole = |slot, hf: &str, gguf: &str, shape: &[usize]| ModelParam {
        slot,
        hf_name: format!("{hf}.weight"),
        gguf_name: format!("{gguf}.weight"),
        shape: shape.to_vec(),
    };
    let embedding = "model.embed_tokens";
    let mut all = vec![whole(Slot::Embedding, embedding, "token_embd", &[v, d])];
    let layer = config.layer();
    for i in 0..config.num_hidden_layers {
        all.extend(layer.params().iter().map(|param| ModelParam {
            slot: Slot::Layer(i, param.role),
            hf_name: format!("model.layers.{i}.{}", param.hf_name),
            gguf_name: format!("blk.{i}.{}", param.gguf_name),
            shape: param.shape.clone(),
        }));
    }
    all.push(whole(Slot::FinalNorm, "model.norm", "output_norm", &[d]));
    if !config.tie_word_embeddings {
        all.push(whole(Slot::Head, "lm_head", "output", &[v, d]));
    }
    all
}

impl Config {
    /// Parameters of a model of this shape; a tied head counts once.
    pub fn n_params(&self) -> usize {
        let count = |param: ModelParam| param.shape.iter().product::<usize>();
        params(self).into_iter().map(count).sum()
    }
}
