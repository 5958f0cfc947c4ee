//! An operation made of CUDA kernels, in candle's graph.

use crate::cuda::view::{DeviceStorage, View};
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Storage,
    Tensor, bail,
};

/// Forward over views of the inputs, backward over tensors. Inputs are contiguous.
pub(crate) trait CudaOp: Send + Sync + 'static {
    const NAME: &'static str;

    fn forward(&self, inputs: &[View]) -> Result<(Storage, Shape)>;

    /// The gradient of each input; `None` if it needs none.
    fn backward(
        &self,
        inputs: &[&Tensor],
        result: &Tensor,
        grad: &Tensor,
    ) -> Result<Vec<Option<Tensor>>>;
}

/// Applies the op to one, two or three inputs.
pub(crate) fn apply<T: CudaOp>(op: T, inputs: &[&Tensor]) -> Result<Tensor> {
    let inputs = inputs
        .iter()
        .map(|x| x.contiguous())
        .collect::<Result<Vec<_>>>()?;
    match inputs.as_slice() {
        [x] => x.apply_op1(GraphOp(op)),
        [x, y] => x.apply_op2(y, GraphOp(op)),
        [x, y, z] => x.apply_op3(y, z, GraphOp(op)),
        _ => bail!("ops: an op has one to three inputs"),
    }
}

struct GraphOp<T>(T);

impl<T: CudaOp> GraphOp<T> {
    fn on_host(&self, inputs: &[(&CpuStorage, &Layout)]) -> Result<(CpuStorage, Shape)> {
        let views = inputs
            .iter()
            .map(|(storage, layout)| View::of(DeviceStorage::Host(storage), layout))
            .collect::<Result<Vec<_>>>()?;
        match self.0.forward(&views)? {
            (Storage::Cpu(storage), shape) => Ok((storage, shape)),
            _ => bail!("{}: the result is on another device", T::NAME),
        }
    }

    fn on_gpu(&self, inputs: &[(&CudaStorage, &Layout)]) -> Result<(CudaStorage, Shape)> {
        let views = inputs
            .iter()
            .map(|(storage, layout)| View::of(DeviceStorage::Gpu(storage), layout))
            .collect::<Result<Vec<_>>>()?;
        match self.0.forward(&views)? {
            (Storage::Cuda(storage), shape) => Ok((storage, shape)),
            _ => bail!("{}: the result is on another device", T::NAME),
        }
    }

    fn gradients<const INPUTS: usize>(
        &self,
        inputs: [&Tensor; INPUTS],
        result: &Tensor,
        grad: &Tensor,
    ) -> Result<[Option<Tensor>; INPUTS]> {
        let grads = self.0.backward(&inputs, result, &grad.contiguous()?)?;
        match grads.try_into() {
            Ok(grads) => Ok(grads),
            Err(_) => bail!("{}: expected one gradient for each input", T::NAME),
        }
    }
}

impl<T: CudaOp> CustomOp1 for GraphOp<T> {
    fn name(&self) -> &'static str {
        T::NAME
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout) -> Result<(CpuStorage, Shape)> {
        self.on_host(&[(x, xl)])
    }

    fn cuda_fwd(&self, x: &CudaStorage, xl: &Layout) -> Result<(CudaStorage, Shape)> {
        self.on_gpu(&[(x, xl)])
    }

    fn bwd(&self, x: &Tensor, result: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let [dx] = self.gradients([x], result, grad)?;
        Ok(dx)
    }
}

impl<T: CudaOp> CustomOp2 for GraphOp<T> {
    fn name(&self) -> &'static str {
        T::NAME
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        y: &CpuStorage,
        yl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.on_host(&[(x, xl), (y, yl)])
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        xl: &Layout,
        y: &CudaStorage,
        yl: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.on_gpu(&[(x, xl), (y, yl)])
    }

    fn bwd(
        &self,
        x: &Tensor,
        y: &Tensor,
        result: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok(self.gradients([x, y], result, grad)?.into())
    }
}

impl<T: CudaOp> CustomOp3 for GraphOp<T> {
    fn name(&self) -> &'static str {
        T::NAME
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
        self.on_host(&[(x, xl), (y, yl), (z, zl)])
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
        self.on_gpu(&[(x, xl), (y, yl), (z, zl)])
    }

    fn bwd(
        &self,
        x: &Tensor,
        y: &Tensor,
        z: &Tensor,
        result: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        Ok(self.gradients([x, y, z], result, grad)?.into())
    }
}
