//! Linear layers on a GPU. Products are at the precision of the weight, sums are f32, and the
//! result has the dtype of `x`.

use crate::cuda::gemm::{Product, Side};
use crate::cuda::op::{CudaOp, apply};
use crate::cuda::view::{OpenTensor, View, ViewMut, from_storage};
use crate::quantised_blocks::QuantisedBlocks;
use crate::widen::for_product;
use candle_core::{DType, Result, Shape, Storage, Tensor, bail};
use std::sync::OnceLock;

/// `view` in `dtype`: itself, or a copy that `copy` holds.
pub(crate) fn cast<'a>(
    view: View<'a>,
    dtype: DType,
    copy: &'a mut Option<Storage>,
) -> Result<View<'a>> {
    if view.dtype() == dtype {
        return Ok(view);
    }
    let copy = copy.insert(view.cast(dtype)?);
    Ok(View::whole(copy, view.shape))
}

pub(super) fn frozen_linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let weight = weight.detach().contiguous()?;
    apply(FrozenLinear { weight }, &[x])
}

struct FrozenLinear {
    /// [out, in], contiguous, detached; it may be quantised
    weight: Tensor,
}

/// x·Wᵀ in the dtype of x, added to `sum` if there is one.
fn layer(x: View, weight: &Tensor, sum: Option<Storage>) -> Result<Storage> {
    let weight = for_product(weight)?;
    let (w, mut copy) = (OpenTensor::of(&weight), None);
    let (w, dtype) = (w.view()?, x.dtype());
    let ((n, k), out) = (x.dims2()?, w.dims2()?.0);
    let rounded = cast(x, w.dtype(), &mut copy)?;
    let product = Product::new((n, out, k), Side::rows(rounded), Side::columns(w));
    let y = match sum {
        Some(mut sum) => {
            product.add_to(ViewMut::of(&mut sum))?;
            sum
        }
        None => {
            let mut y = x.alloc(dtype, n * out)?;
            product.write_to(ViewMut::of(&mut y))?;
            y
        }
    };
    Ok(y)
}

/// g·W in the dtype of the gradient.
fn layer_backward(grad: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let weight = for_product(weight)?;
    let (g, w, mut copy) = (OpenTensor::of(grad), OpenTensor::of(&weight), None);
    let (g, w) = (g.view()?, w.view()?);
    let ((n, out), k) = (g.dims2()?, w.dims2()?.1);
    let mut dx = g.alloc(g.dtype(), n * k)?;
    let g = cast(g, w.dtype(), &mut copy)?;
    let (a, b) = (Side::rows(g), Side::rows(w));
    Product::new((n, k, out), a, b).write_to(ViewMut::of(&mut dx))?;
    Ok(from_storage(dx, (n, k)))
}

impl CudaOp for FrozenLinear {
    const NAME: &'static str = "frozen-linear";

    fn forward(&self, inputs: &[View]) -> Result<(Storage, Shape)> {
        let (n, out) = (inputs[0].dims2()?.0, self.weight.dim(0)?);
        Ok((layer(inputs[0], &self.weight, None)?, (n, out).into()))
    }

    fn backward(&self, _: &[&Tensor], _: &Tensor, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(layer_backward(grad, &self.weight)?)])
    }
}

pub(super) fn added_linear(residual: &Tensor, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let weight = weight.detach().contiguous()?;
    apply(AddedLinear(weight), &[x, residual])
}

/// residual + x·Wᵀ over (x, residual), of one dtype.
struct AddedLinear(Tensor);

impl CudaOp for AddedLinear {
    const NAME: &'static str = "added-linear";

    fn forward(&self, inputs: &[View]) -> Result<(Storage, Shape)> {
        let (x, residual) = (inputs[0], inputs[1]);
        let sum = residual.copy()?;
        Ok((layer(x, &self.0, Some(sum))?, residual.shape.clone()))
    }

    fn backward(
        &self,
        inputs: &[&Tensor],
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<Vec<Option<Tensor>>> {
        let of_residual = inputs[1].track_op().then(|| grad.clone());
        Ok(vec![Some(layer_backward(grad, &self.0)?), of_residual])
    }
}

/// `hidden · headᵀ` [n, V], f32, without a graph.
pub(crate) fn logits(hidden: &Tensor, head: &Tensor) -> Result<Tensor> {
    let (hidden, head) = (
        hidden.detach().contiguous()?,
        for_product(&head.contiguous()?)?,
    );
    let (x, w, mut copy) = (OpenTensor::of(&hidden), OpenTensor::of(&head), None);
    let (x, w) = (x.view()?, w.view()?);
    let ((n, k), vocab) = (x.dims2()?, w.dims2()?.0);
    let mut y = x.alloc(DType::F32, n * vocab)?;
    let (a, b) = (Side::rows(cast(x, w.dtype(), &mut copy)?), Side::columns(w));
    Product::new((n, vocab, k), a, b).write_to(ViewMut::of(&mut y))?;
    Ok(from_storage(y, (n, vocab)))
}

pub(super) fn lora_linear(
    x: &Tensor,
    x_lora: &Tensor,
    w: &Tensor,
    a: &Tensor,
    b: &Tensor,
    scale: f64,
) -> Result<Tensor> {
    let low_rank = |weight| LowRank {
        weight,
        scale: scale as f32,
        down: OnceLock::new(),
    };
    if x.id() == x_lora.id() {
        let weight = w.detach().contiguous()?;
        apply(low_rank(Some(weight)), &[x, a, b])
    } else {
        frozen_linear(x, w)? + apply(low_rank(None), &[x_lora, a, b])?
    }
}

/// x·Wᵀ + scale·(x·Aᵀ)·Bᵀ over (x, A, B); without W only the low-rank part. A and B are rounded to
/// the precision of the product; their gradients keep their own dtype.
struct LowRank {
    /// [out, in], contiguous, detached; it may be quantised
    weight: Option<Tensor>,
    scale: f32,
    /// x·Aᵀ [N, r] of the forward pass, in the dtype of the products
    down: OnceLock<Tensor>,
}

impl LowRank {
    /// The dtype of the products.
    fn dtype(&self, x: View) -> DType {
        match &self.weight {
            None => x.dtype(),
            Some(weight) if QuantisedBlocks::of(weight).is_some() => DType::BF16,
            Some(weight) => weight.dtype(),
        }
    }
}

impl CudaOp for LowRank {
    const NAME: &'static str = "lora-linear";

    fn forward(&self, inputs: &[View]) -> Result<(Storage, Shape)> {
        let (x, a, b) = (inputs[0], inputs[1], inputs[2]);
        let ((n, k), (out, r)) = (x.dims2()?, b.dims2()?);
        let dtype = self.dtype(x);
        let mut copies = [None, None, None];
        let [for_x, for_a, for_b] = &mut copies;
        let rounded = cast(x, dtype, for_x)?;
        let (a, b) = (cast(a, dtype, for_a)?, cast(b, dtype, for_b)?);
        let mut down = x.alloc(dtype, n * r)?;
        Product::new((n, r, k), Side::rows(rounded), Side::columns(a))
            .write_to(ViewMut::of(&mut down))?;
        let down = from_storage(down, (n, r));
        let mut y = match &self.weight {
            Some(weight) => layer(x, weight, None)?,
            None => x.alloc(x.dtype(), n * out)?,
        };
        let narrow = OpenTensor::of(&down);
        let (left, right) = (Side::rows(narrow.view()?), Side::columns(b));
        let low_rank = Product {
            scale: self.scale,
            ..Product::new((n, out, r), left, right)
        };
        match self.weight.is_some() {
            true => low_rank.add_to(ViewMut::of(&mut y))?,
            false => low_rank.write_to(ViewMut::of(&mut y))?,
        }
        drop(narrow);
        self.down.get_or_init(|| down);
        Ok((y, (n, out).into()))
    }

    fn backward(
        &self,
        inputs: &[&Tensor],
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<Vec<Option<Tensor>>> {
        let Some(down) = self.down.get() else {
            bail!("lora-linear: backward without forward")
        };
        let [x, a, b] = [0, 1, 2].map(|i| OpenTensor::of(inputs[i]));
        let (g, down) = (OpenTensor::of(grad), OpenTensor::of(down));
        let (x, a, b, g, down) = (x.view()?, a.view()?, b.view()?, g.view()?, down.view()?);
        let ((n, k), (out, r)) = (x.dims2()?, b.dims2()?);
        let dtype = self.dtype(x);
        let mut copies = [None, None, None, None];
        let [for_x, for_a, for_b, for_g] = &mut copies;
        let rounded = cast(x, dtype, for_x)?;
        let (a, b, g) = (
            cast(a, dtype, for_a)?,
            cast(b, dtype, for_b)?,
            cast(g, dtype, for_g)?,
        );

        let scaled = |size, left, right| Product {
            scale: self.scale,
            ..Product::new(size, left, right)
        };
        let mut db = x.alloc(inputs[2].dtype(), out * r)?;
        scaled((out, r, n), Side::columns(g), Side::rows(down)).write_to(ViewMut::of(&mut db))?;
        // the gradient of x·Aᵀ: scale·g·B
        let mut dh = x.alloc(dtype, n * r)?;
        scaled((n, r, out), Side::rows(g), Side::rows(b)).write_to(ViewMut::of(&mut dh))?;
        let dh = from_storage(dh, (n, r));
        let dh = OpenTensor::of(&dh);
        let mut da = x.alloc(inputs[1].dtype(), r * k)?;
        Product::new((r, k, n), Side::columns(dh.view()?), Side::rows(rounded))
            .write_to(ViewMut::of(&mut da))?;

        let dx = match inputs[0].track_op() {
            false => None,
            true => {
                let mut dx = x.alloc(x.dtype(), n * k)?;
                let low_rank = Product::new((n, k, r), Side::rows(dh.view()?), Side::rows(a));
                if let Some(weight) = &self.weight {
                    let weight = for_product(weight)?;
                    let w = OpenTensor::of(&weight);
                    Product::new((n, k, out), Side::rows(g), Side::rows(w.view()?))
                        .write_to(ViewMut::of(&mut dx))?;
                    low_rank.add_to(ViewMut::of(&mut dx))?;
                } else {
                    low_rank.write_to(ViewMut::of(&mut dx))?;
                }
                Some(from_storage(dx, (n, k)))
            }
        };
        Ok(vec![
            dx,
            Some(from_storage(da, (r, k))),
            Some(from_storage(db, (out, r))),
        ])
    }
}
