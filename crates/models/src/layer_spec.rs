//! What a layer is made of, as data. The loaders, the exporter, the forward passes, the adapters
//! and the memory count all walk this list, so a parameter is described once: by its family.
//!
//! Letters: d hidden size, F feed-forward width, H query heads, K key/value heads, D head width.

/// The widths that a layer's shapes are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LayerWidths {
    /// d
    pub hidden: usize,
    /// F
    pub feed_forward: usize,
    /// All query heads: H·D
    pub queries: usize,
    /// All key heads, and all value heads: K·D
    pub keys: usize,
}

/// A matrix of a layer, by what it computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Projection {
    Q,
    K,
    V,
    O,
    Gate,
    Up,
    Down,
}

impl Projection {
    /// In the order in which adapters list them and their random numbers are drawn.
    pub const ALL: [Self; 7] = [
        Self::Q,
        Self::K,
        Self::V,
        Self::O,
        Self::Gate,
        Self::Up,
        Self::Down,
    ];

    /// The name in `lora.targets` and in PEFT's `target_modules`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Q => "q_proj",
            Self::K => "k_proj",
            Self::V => "v_proj",
            Self::O => "o_proj",
            Self::Gate => "gate_proj",
            Self::Up => "up_proj",
            Self::Down => "down_proj",
        }
    }

    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.name() == name)
    }
}

/// A norm of a layer, by what it precedes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Norm {
    Attention,
    FeedForward,
}

/// What a parameter is to its layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Norm(Norm),
    Weight(Projection),
    Bias(Projection),
}

/// One parameter of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LayerParam {
    pub role: Role,
    /// Hugging Face name within the layer: `self_attn.q_proj.weight`.
    pub hf_name: String,
    /// GGUF name within the layer: `attn_q.weight`.
    pub gguf_name: String,
    pub shape: Vec<usize>,
}

/// The parameters of a layer, in the order in which they are listed and drawn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LayerSpec {
    params: Vec<LayerParam>,
}

impl LayerSpec {
    /// Adds a norm over `width` numbers. `hf` and `gguf` name the module within the layer.
    pub fn norm(mut self, norm: Norm, hf: &str, gguf: &str, width: usize) -> Self {
        self.params.push(LayerParam {
            role: Role::Norm(norm),
            hf_name: format!("{hf}.weight"),
            gguf_name: format!("{gguf}.weight"),
            shape: vec![width],
        });
        self
    }

    /// Adds a matrix of shape (out, in) without a bias.
    pub fn projection(
        mut self,
        projection: Projection,
        hf: &str,
        gguf: &str,
        (rows, width): (usize, usize),
    ) -> Self {
        self.params.push(LayerParam {
            role: Role::Weight(projection),
            hf_name: format!("{hf}.weight"),
            gguf_name: format!("{gguf}.weight"),
            shape: vec![rows, width],
        });
        self
    }

    /// Adds a bias behind the weight of each of these projections.
    pub fn with_biases(mut self, biased: &[Projection]) -> Self {
        for projection in biased {
            let weight = Role::Weight(*projection);
            let at = self.params.iter().position(|p| p.role == weight);
            let at = at.expect("a bias belongs to a weight of the layer");
            let weight = &self.params[at];
            let bias_of = |name: &str| name.replace(".weight", ".bias");
            let bias = LayerParam {
                role: Role::Bias(*projection),
                hf_name: bias_of(&weight.hf_name),
                gguf_name: bias_of(&weight.gguf_name),
                shape: vec![weight.shape[0]],
            };
            self.params.insert(at + 1, bias);
        }
        self
    }

    pub fn params(&self) -> &[LayerParam] {
        &self.params
    }

    /// Hugging Face path of a projection within the layer: `self_attn.q_proj`.
    pub fn path(&self, projection: Projection) -> &str {
        self.weight(projection).hf_name.trim_end_matches(".weight")
    }

    /// Shape of a projection's weight, (out, in).
    pub fn shape(&self, projection: Projection) -> (usize, usize) {
        let shape = &self.weight(projection).shape;
        (shape[0], shape[1])
    }

    /// Widths of the biases.
    pub fn bias_widths(&self) -> impl Iterator<Item = usize> {
        let biases = self.params.iter();
        let biases = biases.filter(|p| matches!(p.role, Role::Bias(_)));
        biases.map(|p| p.shape[0])
    }

    fn weight(&self, projection: Projection) -> &LayerParam {
        let mut params = self.params.iter();
        let found = params.find(|p| p.role == Role::Weight(projection));
        found.expect("every family describes every projection")
    }
}
