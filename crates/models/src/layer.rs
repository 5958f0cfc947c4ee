//! One transformer layer: norm, attention, norm, gated feed-forward, each added to its input. The
//! caller says how queries find their keys.
//!
//! Letters: N tokens, d hidden size, H heads, K key/value heads, D head width.

use crate::layer_spec::{LayerParam, LayerSpec, Norm, Projection, Role};
use crate::linear::{Linear, LoraContext};
use candle_core::{Result, Tensor};
use ops::{Rotation, SpinPool, step};
use std::sync::Arc;

/// The parameters of one layer.
#[derive(Clone)]
pub(crate) struct Layer {
    attention_norm: Tensor,    // [d]
    feed_forward_norm: Tensor, // [d]
    linears: [Linear; 7],      // in the order of Projection::ALL
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
        Ok(Self {
            attention_norm: expect(Role::Norm(Norm::Attention)),
            feed_forward_norm: expect(Role::Norm(Norm::FeedForward)),
            linears: Projection::ALL.map(|projection| Linear {
                weight: expect(Role::Weight(projection)),
                bias: find(Role::Bias(projection)),
                lora: None,
            }),
        })
    }

    /// A parameter of the base.
    pub fn param(&self, role: Role) -> Option<&Tensor> {
        match role {
            Role::Norm(Norm::Attention) => Some(&self.attention_norm),
            Role::Norm(Norm::FeedForward) => Some(&self.feed_forward_norm),
            Role::Weight(projection) => Some(&self.linear(projection).weight),
            Role::Bias(projection) => self.linear(projection).bias.as_ref(),
        }
    }

    fn linear(&self, projection: Projection) -> &Linear {
        &self.linears[projection as usize]
    }

    pub fn linears(&self) -> &[Linear] {
        &self.linears
    }

    pub fn linears_mut(&mut self) -> &mut [Linear] {
        &mut self.linears
    }

    /// The same numbers without a graph, and no adapter.
    pub fn detach(&self) -> Self {
        Self {
            attention_norm: self.attention_norm.detach(),
            feed_forward_norm: self.feed_forward_norm.detach(),
            linears: self.linears.each_ref().map(Linear::detach),
        }
    }

    /// With A and B of an adapter.
    pub fn with_lora(mut self, pair: impl Fn(Projection) -> Option<(Tensor, Tensor)>) -> Self {
        for projection in Projection::ALL {
            self.linears[projection as usize].lora = pair(projection);
        }
        self
    }

    /// Norms, weights and biases, then the adapter's matrices.
    fn variables_mut(&mut self) -> impl Iterator<Item = &mut Tensor> {
        let mut variables = vec![&mut self.attention_norm, &mut self.feed_forward_norm];
        let mut of_lora = Vec::new();
        for Linear { weight, bias, lora } in &mut self.linears {
            variables.push(weight);
            variables.extend(bias);
            of_lora.extend(lora.iter_mut().flat_map(|(a, b)| [a, b]));
        }
        variables.extend(of_lora);
        variables.into_iter().filter(|tensor| tensor.is_variable())
    }
}

/// What the layers of one forward share.
pub(crate) struct ForwardContext {
    pub eps: f64,
    /// cos and sin.
    pub rope: (Tensor, Tensor),
    /// One per token.
    pub positions: Vec<u32>,
    pub head_dim: usize,
    pub lora: LoraContext,
}

impl ForwardContext {
    pub fn rotation(&self) -> Rotation<'_> {
        Rotation {
            tables: (&self.rope.0, &self.rope.1),
            positions: &self.positions,
            head_dim: self.head_dim,
        }
    }
}

/// One layer in one forward, with everything that it reads.
#[derive(Clone)]
pub(crate) struct LayerForward {
    pub index: usize,
    pub layer: Layer,
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
        let q = self.project(Projection::Q, &h)?;
        let k = self.project(Projection::K, &h)?;
        let v = self.project(Projection::V, &h)?;
        let x = self.project_add(x, Projection::O, &attend(&q, &k, &v)?)?;
        let h = ops::rms_norm(&x, &self.layer.feed_forward_norm, eps)?;
        let gate = self.project(Projection::Gate, &h)?;
        let up = self.project(Projection::Up, &h)?;
        self.project_add(&x, Projection::Down, &ops::swiglu(&gate, &up)?)
    }

    /// Queries or keys, rotated to their positions.
    pub fn rotate(&self, x: &Tensor) -> Result<Tensor> {
        ops::rope(x, self.context.rotation())
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
        let context = &*self.context;
        let linear = |projection| self.layer.linear(projection).for_step(&context.lora);
        let norm = |weight| step::Norm {
            weight,
            eps: context.eps,
        };
        let attention_norm = norm(&self.layer.attention_norm);
        let projections = [Q, K, V].map(linear);
        let [q, k, v] = pool.heads(x, attention_norm, projections, None, context.rotation())?;
        let x = pool.add(x, &attend(&q, &k, &v)?, linear(O))?;
        let feed_forward_norm = norm(&self.layer.feed_forward_norm);
        let h = pool.gated(&x, feed_forward_norm, linear(Gate), linear(Up))?;
        pool.add(&x, &h, linear(Down))
    }

    fn project(&self, projection: Projection, x: &Tensor) -> Result<Tensor> {
        let linear = self.layer.linear(projection);
        linear.forward(x, &self.context.lora, self.module(projection))
    }

    fn project_add(&self, residual: &Tensor, p: Projection, x: &Tensor) -> Result<Tensor> {
        let linear = self.layer.linear(p);
        linear.forward_add(residual, x, &self.context.lora, self.module(p))
    }

    /// The number of a projection in the model. Dropout's random stream is keyed by it.
    fn module(&self, projection: Projection) -> u32 {
        (self.index * Projection::ALL.len() + projection as usize) as u32
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
