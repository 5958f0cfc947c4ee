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
    /// D
    pub head: usize,
}

/// A product that a layer computes.
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

/// A matrix that a layer has: that of one projection, or of several, whose rows follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Module {
    One(Projection),
    Qkv,
    GateUp,
}

impl Module {
    const ALL: [Self; 9] = [
        Self::One(Projection::Q),
        Self::One(Projection::K),
        Self::One(Projection::V),
        Self::Qkv,
        Self::One(Projection::O),
        Self::One(Projection::Gate),
        Self::One(Projection::Up),
        Self::GateUp,
        Self::One(Projection::Down),
    ];

    /// The name in `lora.targets` and in PEFT's `target_modules`.
    pub fn name(self) -> &'static str {
        match self {
            Self::One(Projection::Q) => "q_proj",
            Self::One(Projection::K) => "k_proj",
            Self::One(Projection::V) => "v_proj",
            Self::One(Projection::O) => "o_proj",
            Self::One(Projection::Gate) => "gate_proj",
            Self::One(Projection::Up) => "up_proj",
            Self::One(Projection::Down) => "down_proj",
            Self::Qkv => "qkv_proj",
            Self::GateUp => "gate_up_proj",
        }
    }

    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|module| module.name() == name)
    }

    /// The projections whose rows it has, in order.
    pub fn parts(&self) -> &[Projection] {
        use Projection::{Gate, K, Q, Up, V};
        match self {
            Self::One(projection) => std::slice::from_ref(projection),
            Self::Qkv => &[Q, K, V],
            Self::GateUp => &[Gate, Up],
        }
    }
}

/// A norm of a layer, by what it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Norm {
    /// The input of attention.
    Attention,
    /// The input of the feed-forward.
    FeedForward,
    /// Each head's query, before rotation.
    Query,
    /// Each head's key, before rotation.
    Key,
}

/// What a parameter is to its layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Norm(Norm),
    Weight(Module),
    Bias(Module),
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
    /// Rows of each part of each module.
    rows: Vec<(Module, Vec<usize>)>,
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

    /// Adds the matrix of one projection, of shape (out, in), without a bias.
    pub fn projection(
        self,
        projection: Projection,
        hf: &str,
        gguf: &str,
        (rows, width): (usize, usize),
    ) -> Self {
        self.fused(Module::One(projection), hf, gguf, (&[rows], width))
    }

    /// Adds the matrix of a module. `rows`: of each of its parts.
    pub fn fused(
        mut self,
        module: Module,
        hf: &str,
        gguf: &str,
        (rows, width): (&[usize], usize),
    ) -> Self {
        self.params.push(LayerParam {
            role: Role::Weight(module),
            hf_name: format!("{hf}.weight"),
            gguf_name: format!("{gguf}.weight"),
            shape: vec![rows.iter().sum(), width],
        });
        self.rows.push((module, rows.to_vec()));
        self
    }

    /// Adds a bias behind the weight of each of these projections.
    pub fn with_biases(mut self, biased: &[Projection]) -> Self {
        for projection in biased {
            let module = Module::One(*projection);
            let weight = Role::Weight(module);
            let at = self.params.iter().position(|p| p.role == weight);
            let at = at.expect("a bias belongs to a weight of the layer");
            let weight = &self.params[at];
            let bias_of = |name: &str| name.replace(".weight", ".bias");
            let bias = LayerParam {
                role: Role::Bias(module),
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

    /// In the order in which adapters list them and their random numbers are drawn.
    pub fn modules(&self) -> impl Iterator<Item = Module> + '_ {
        self.rows.iter().map(|(module, _)| *module)
    }

    /// Rows of each part of a module.
    pub fn rows(&self, module: Module) -> &[usize] {
        let found = self.rows.iter().find(|(m, _)| *m == module);
        &found.expect("a module of this layer").1
    }

    /// Hugging Face path of a module within the layer: `self_attn.q_proj`.
    pub fn path(&self, module: Module) -> &str {
        self.weight(module).hf_name.trim_end_matches(".weight")
    }

    /// Path of a module in the model: `model.layers.3.self_attn.q_proj`.
    pub fn full_path(&self, layer: usize, module: Module) -> String {
        format!("model.layers.{layer}.{}", self.path(module))
    }

    /// Shape of a module's weight, (out, in).
    pub fn shape(&self, module: Module) -> (usize, usize) {
        let shape = &self.weight(module).shape;
        (shape[0], shape[1])
    }

    /// Widths of the biases.
    pub fn bias_widths(&self) -> impl Iterator<Item = usize> {
        let biases = self.params.iter();
        let biases = biases.filter(|p| matches!(p.role, Role::Bias(_)));
        biases.map(|p| p.shape[0])
    }

    /// Whether queries and keys are normed.
    pub fn norms_heads(&self) -> bool {
        let mut params = self.params.iter();
        params.any(|p| p.role == Role::Norm(Norm::Query))
    }

    fn weight(&self, module: Module) -> &LayerParam {
        let mut params = self.params.iter();
        let found = params.find(|p| p.role == Role::Weight(module));
        found.expect("a module of this layer")
    }
}
