//! An operation of kernels as a node of candle's graph.

use crate::cuda::place::{Place, View};
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Storage,
    Tensor, bail,
};

/// Forward over what the inputs hold, backward over tensors. Inputs are contiguous.
pub(crate) trait Node: Send + Sync + 'static {
    const NAME: &'static str;

    fn forward(&self, inputs: &[View]) -> Result<(Storage, Shape)>;

    /// A gradient for each input, `None` for none.
    fn backward(
        &self,
        inputs: &[&Tensor],
        result: &Tensor,
        grad: &Tensor,
    ) -> Result<Vec<Option<Tensor>>>;
}

/// The node over one, two or three inputs.
pub(crate) fn apply<N: Node>(node: N, inputs: &[&Tensor]) -> Result<Tensor> {
    let inputs = inputs
        .iter()
        .map(|x| x.contiguous())
        .collect::<Result<Vec<_>>>()?;
    match inputs.as_slice() {
        [x] => x.apply_op1(Op(node)),
        [x, y] => x.apply_op2(y, Op(node)),
        [x, y, z] => x.apply_op3(y, z, Op(node)),
        _ => bail!("ops: a node has one to three inputs"),
    }
}

struct Op<N>(N);

impl<N: Node> Op<N> {
    fn host(&self, inputs: &[(&CpuStorage, &Layout)]) -> Result<(CpuStorage, Shape)> {
        let views = inputs
            .iter()
            .map(|(storage, layout)| View::of(Place::Host(storage), layout))
            .collect::<Result<Vec<_>>>()?;
        match self.0.forward(&views)? {
            (Storage::Cpu(storage), shape) => Ok((storage, shape)),
            _ => bail!("{}: the result is on another device", N::NAME),
        }
    }

    fn card(&self, inputs: &[(&CudaStorage, &Layout)]) -> Result<(CudaStorage, Shape)> {
        let views = inputs
            .iter()
            .map(|(storage, layout)| View::of(Place::Card(storage), layout))
            .collect::<Result<Vec<_>>>()?;
        match self.0.forward(&views)? {
            (Storage::Cuda(storage), shape) => Ok((storage, shape)),
            _ => bail!("{}: the result is on another device", N::NAME),
        }
    }

    fn back<const INPUTS: usize>(
        &self,
        inputs: [&Tensor; INPUTS],
        result: &Tensor,
        grad: &Tensor,
    ) -> Result<[Option<Tensor>; INPUTS]> {
        let grads = self.0.backward(&inputs, result, &grad.contiguous()?)?;
        match grads.try_into() {
            Ok(grads) => Ok(grads),
            Err(_) => bail!("{}: one gradient for each input", N::NAME),
        }
    }
}

impl<N: Node> CustomOp1 for Op<N> {
    fn name(&self) -> &'static str {
        N::NAME
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout) -> Result<(CpuStorage, Shape)> {
        self.host(&[(x, xl)])
    }

    fn cuda_fwd(&self, x: &CudaStorage, xl: &Layout) -> Result<(CudaStorage, Shape)> {
        self.card(&[(x, xl)])
    }

    fn bwd(&self, x: &Tensor, result: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let [dx] = self.back([x], result, grad)?;
        Ok(dx)
    }
}

impl<N: Node> CustomOp2 for Op<N> {
    fn name(&self) -> &'static str {
        N::NAME
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        y: &CpuStorage,
        yl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.host(&[(x, xl), (y, yl)])
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        xl: &Layout,
        y: &CudaStorage,
        yl: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.card(&[(x, xl), (y, yl)])
    }

    fn bwd(
        &self,
        x: &Tensor,
        y: &Tensor,
        result: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok(self.back([x, y], result, grad)?.into())
    }
}

impl<N: Node> CustomOp3 for Op<N> {
    fn name(&self) -> &'static str {
        N::NAME
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        y: &CpuStorage,
        yl: &Layout,
        z: &CpuStorage,
        zl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.host(&[(x, xl), (y, yl), (z, zl)])
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        xl: &Layout,
        y: &CudaStorage,
        yl: &Layout,
        z: &CudaStorage,
        zl: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.card(&[(x, xl), (y, yl), (z, zl)])
    }

    fn bwd(
        &self,
        x: &Tensor,
        y: &Tensor,
        z: &Tensor,
        result: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        Ok(self.back([x, y, z], result, grad)?.into())
    }
}
