//! One transformer layer: norm, attention, norm, gated feed-forward, each added to its input. The
//! caller says how queries find their keys.
//!
//! Letters: N tokens, d hidden size, H heads, K key/value heads, D head width.

use crate::layer_spec::{LayerParam, LayerSpec, Module, Norm, Projection, Role};
use crate::linear::{Arithmetic, Dropout, Linear, LowRank};
use crate::rope_tables::Rotations;
use candle_core::{Result, Tensor};
use ops::{Compute, Rotation, SpinPool, step};
use std::sync::Arc;

/// The parameters of one layer.
#[derive(Clone)]
pub(crate) struct Layer {
    attention_norm: Tensor,    // [d]
    feed_forward_norm: Tensor, // [d]
    /// [D] of each head's query and key
    head_norms: Option<[Tensor; 2]>,
    /// In the order of the description.
    modules: Vec<(Module, Linear)>,
    /// The rows that each projection has in its module, in the order of [`Projection`].
    parts: Arc<[Part; 7]>,
}

/// Where the rows of a projection are.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    module: usize,
    start: usize,
    len: usize,
    /// The module has other rows, too.
    shared: bool,
    /// Numbers the module in its layer, for its dropout's stream.
    stream: usize,
}

fn parts(spec: &LayerSpec) -> [Part; 7] {
    let mut parts = [Part::default(); 7];
    for (module, kind) in spec.modules().enumerate() {
        let (mut start, projections) = (0, kind.parts());
        for (projection, len) in projections.iter().zip(spec.rows(kind)) {
            parts[*projection as usize] = Part {
                module,
                start,
                len: *len,
                shared: projections.len() > 1,
                stream: projections[0] as usize,
            };
            start += len;
        }
    }
    parts
}

impl Layer {
    /// Asks `take` for every parameter, in the order of the description.
    pub fn build<E>(
        spec: &LayerSpec,
        mut take: impl FnMut(&LayerParam) -> std::result::Result<Tensor, E>,
    ) -> std::result::Result<Self, E> {
        let mut taken = Vec::with_capacity(spec.params().len());
        for param in spec.params() {
            taken.push((param.role, take(param)?));
        }
        let find = |role: Role| {
            let found = taken.iter().find(|(r, _)| *r == role);
            found.map(|(_, tensor)| tensor.clone())
        };
        let expect = |role: Role| find(role).expect("every family describes it");
        let of_heads = [Norm::Query, Norm::Key].map(Role::Norm);
        let modules = spec.modules().map(|module| {
            let linear = Linear {
                weight: expect(Role::Weight(module)),
                bias: find(Role::Bias(module)),
                lora: None,
            };
            (module, linear)
        });
        Ok(Self {
            attention_norm: expect(Role::Norm(Norm::Attention)),
            feed_forward_norm: expect(Role::Norm(Norm::FeedForward)),
            head_norms: spec.norms_heads().then(|| of_heads.map(expect)),
            modules: modules.collect(),
            parts: Arc::new(parts(spec)),
        })
    }

    /// A parameter of the base.
    pub fn param(&self, role: Role) -> Option<&Tensor> {
        let of_heads = |at: usize| Some(&self.head_norms.as_ref()?[at]);
        let find = |module| {
            let found = self.modules.iter().find(|(m, _)| *m == module);
            found.map(|(_, linear)| linear)
        };
        match role {
            Role::Norm(Norm::Attention) => Some(&self.attention_norm),
            Role::Norm(Norm::FeedForward) => Some(&self.feed_forward_norm),
            Role::Norm(Norm::Query) => of_heads(0),
            Role::Norm(Norm::Key) => of_heads(1),
            Role::Weight(module) => Some(&find(module)?.weight),
            Role::Bias(module) => find(module)?.bias.as_ref(),
        }
    }

    fn linear(&self, projection: Projection) -> Result<Linear> {
        let part = &self.parts[projection as usize];
        let linear = &self.modules[part.module].1;
        match part.shared {
            true => linear.part(part.start, part.len),
            false => Ok(linear.clone()),
        }
    }

    pub fn linears(&self) -> impl Iterator<Item = &Linear> {
        self.modules.iter().map(|(_, linear)| linear)
    }

    pub fn linears_mut(&mut self) -> impl Iterator<Item = &mut Linear> {
        self.modules.iter_mut().map(|(_, linear)| linear)
    }

    /// The same numbers without a graph, and no adapter.
    pub fn detach(&self) -> Self {
        let modules = self.modules.iter();
        let head_norms = self.head_norms.as_ref();
        Self {
            attention_norm: self.attention_norm.detach(),
            feed_forward_norm: self.feed_forward_norm.detach(),
            head_norms: head_norms.map(|norms| norms.each_ref().map(|t| t.detach())),
            modules: modules.map(|(m, linear)| (*m, linear.detach())).collect(),
            parts: self.parts.clone(),
        }
    }

    /// With the additions of an adapter.
    pub fn with_lora(mut self, low_rank: impl Fn(Module) -> Option<LowRank>) -> Self {
        for (module, linear) in &mut self.modules {
            linear.lora = low_rank(*module);
        }
        self
    }

    /// Norms, weights and biases, then the adapter's matrices.
    fn variables_mut(&mut self) -> impl Iterator<Item = &mut Tensor> {
        let mut variables = vec![&mut self.attention_norm, &mut self.feed_forward_norm];
        variables.extend(self.head_norms.iter_mut().flatten());
        let mut of_lora = Vec::new();
        for (_, Linear { weight, bias, lora }) in &mut self.modules {
            variables.push(weight);
            variables.extend(bias);
            of_lora.extend(lora.iter_mut().flat_map(|low| [&mut low.a, &mut low.b]));
        }
        variables.extend(of_lora);
        variables.into_iter().filter(|tensor| tensor.is_variable())
    }
}

/// What the layers of one forward share.
pub(crate) struct ForwardContext {
    pub eps: f64,
    pub rotations: Rotations,
    pub dropout: Dropout,
    pub compute: Compute,
}

/// One layer in one forward, with everything that it reads.
#[derive(Clone)]
pub(crate) struct LayerForward {
    pub index: usize,
    pub layer: Layer,
    /// Whether queries and keys are rotated to their positions.
    pub rotated: bool,
    pub head_dim: usize,
    pub context: Arc<ForwardContext>,
}

impl LayerForward {
    /// `x` [N, d] -> [N, d]. `attend(q [N, H*D], k [N, K*D], v [N, K*D])` -> [N, H*D] gets q and k
    /// before rotation.
    pub fn run(
        &self,
        x: &Tensor,
        attend: impl FnOnce(&Tensor, &Tensor, &Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let eps = self.context.eps;
        let h = ops::rms_norm(x, &self.layer.attention_norm, eps)?;
        let q = self.norm_heads(0, self.project(Projection::Q, &h)?)?;
        let k = self.norm_heads(1, self.project(Projection::K, &h)?)?;
        let v = self.project(Projection::V, &h)?;
        let x = self.project_add(x, Projection::O, &attend(&q, &k, &v)?)?;
        let h = ops::rms_norm(&x, &self.layer.feed_forward_norm, eps)?;
        let gate = self.project(Projection::Gate, &h)?;
        let up = self.project(Projection::Up, &h)?;
        self.project_add(&x, Projection::Down, &ops::swiglu(&gate, &up)?)
    }

    /// Queries (0) or keys (1) [N, heads*D] after the norm of each head, where the model has one.
    fn norm_heads(&self, which: usize, x: Tensor) -> Result<Tensor> {
        let Some(norms) = &self.layer.head_norms else {
            return Ok(x);
        };
        let heads = x.reshape(((), self.head_dim))?;
        ops::rms_norm(&heads, &norms[which], self.context.eps)?.reshape(x.shape())
    }

    /// Queries or keys, rotated to their positions.
    pub fn rotate(&self, x: &Tensor) -> Result<Tensor> {
        match self.rotated {
            true => ops::rope(x, self.rotation()),
            false => Ok(x.clone()),
        }
    }

    pub fn rotation(&self) -> Rotation<'_> {
        let Rotations {
            tables: (cos, sin),
            rows,
            unrotated,
        } = &self.context.rotations;
        Rotation {
            tables: (cos, sin),
            positions: if self.rotated { rows } else { unrotated },
            head_dim: self.head_dim,
        }
    }

    /// [`Self::run`] for one more token of each sequence on the CPU, without graph and dropout.
    /// `attend` gets q and k after rotation.
    pub fn run_on_pool(
        &self,
        pool: &SpinPool,
        x: &Tensor,
        attend: impl FnOnce(&Tensor, &Tensor, &Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        use Projection::{Down, Gate, K, O, Q, Up, V};
        let linear = |projection| self.layer.linear(projection);
        let norm = |weight| step::Norm {
            weight,
            eps: self.context.eps,
        };
        let attention_norm = norm(&self.layer.attention_norm);
        let head_norms = self.layer.head_norms.as_ref();
        let head_norms = head_norms.map(|norms| norms.each_ref().map(norm));
        let (q, k, v) = (linear(Q)?, linear(K)?, linear(V)?);
        let compute = self.context.compute;
        let projections = [&q, &k, &v].map(|linear| linear.for_step(compute));
        let rotation = self.rotation();
        let [q, k, v] = pool.heads(x, attention_norm, projections, head_norms, rotation)?;
        let x = pool.add(x, &attend(&q, &k, &v)?, linear(O)?.for_step(compute))?;
        let feed_forward_norm = norm(&self.layer.feed_forward_norm);
        let (gate, up) = (linear(Gate)?, linear(Up)?);
        let h = pool.gated(
            &x,
            feed_forward_norm,
            gate.for_step(compute),
            up.for_step(compute),
        )?;
        pool.add(&x, &h, linear(Down)?.for_step(compute))
    }

    fn project(&self, projection: Projection, x: &Tensor) -> Result<Tensor> {
        let linear = self.layer.linear(projection)?;
        linear.forward(x, self.arithmetic(projection))
    }

    fn project_add(&self, residual: &Tensor, p: Projection, x: &Tensor) -> Result<Tensor> {
        let linear = self.layer.linear(p)?;
        linear.forward_add(residual, x, self.arithmetic(p))
    }

    fn arithmetic(&self, projection: Projection) -> Arithmetic {
        let parts = &self.layer.parts;
        Arithmetic {
            compute: self.context.compute,
            dropout: self.context.dropout,
            module: (self.index * parts.len() + parts[projection as usize].stream) as u32,
        }
    }

    /// What training changes, in a fixed order.
    pub fn variables(&self) -> Vec<Tensor> {
        let mut copy = self.layer.clone();
        copy.variables_mut().map(|t| t.clone()).collect()
    }

    /// The same layer with other tensors for its variables.
    pub fn with_variables(&self, values: &[Tensor]) -> Self {
        let mut copy = self.clone();
        copy.layer
            .variables_mut()
            .zip(values)
            .for_each(|(variable, value)| *variable = value.clone());
        copy
    }
}
