//! Layers on a card. The product is at the weight's precision, sums are f32, and the result has the dtype of `x`.

use crate::Blocks;
use crate::cuda::gemm::{Side, gemm};
use crate::cuda::node::{Node, apply};
use crate::cuda::place::{Open, Target, View, tensor};
use crate::cuda::wide;
use crate::linear::{check, check_added, check_low_rank};
use candle_core::{DType, Result, Shape, Storage, Tensor, bail};
use std::sync::OnceLock;

/// Numbers of `view` in `dtype`: its own, or a copy that `room` keeps.
pub(super) fn cast<'a>(
    view: View<'a>,
    dtype: DType,
    room: &'a mut Option<Storage>,
) -> Result<View<'a>> {
    if view.dtype() == dtype {
        return Ok(view);
    }
    let copy = room.insert(view.cast(dtype)?);
    Ok(View::whole(copy, view.shape))
}

pub(crate) fn frozen_linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    check(x, weight)?;
    let weight = weight.detach().contiguous()?;
    apply(FrozenLinear { weight }, &[x])
}

struct FrozenLinear {
    /// [out, in], contiguous, detached; it may lie in blocks
    weight: Tensor,
}

/// x·Wᵀ in x's dtype, added to what `sum` holds where there is one.
fn layer(x: View, weight: &Tensor, sum: Option<Storage>) -> Result<Storage> {
    let weight = wide(weight)?;
    let (w, mut room) = (Open::of(&weight), None);
    let (w, dtype) = (w.view()?, x.dtype());
    let ((n, k), out) = (x.dims2()?, w.dims2()?.0);
    let add = sum.is_some();
    let mut y = match sum {
        Some(sum) => sum,
        None => x.room(dtype, n * out)?,
    };
    let x = cast(x, w.dtype(), &mut room)?;
    let (a, b) = (Side::rows(x), Side::columns(w));
    gemm(Target::of(&mut y), (n, out, k), 1.0, a, b, add)?;
    Ok(y)
}

/// g·W in the gradient's dtype.
fn layer_backward(grad: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let weight = wide(weight)?;
    let (g, w, mut room) = (Open::of(grad), Open::of(&weight), None);
    let (g, w) = (g.view()?, w.view()?);
    let ((n, out), k) = (g.dims2()?, w.dims2()?.1);
    let mut dx = g.room(g.dtype(), n * k)?;
    let g = cast(g, w.dtype(), &mut room)?;
    let (a, b) = (Side::rows(g), Side::rows(w));
    gemm(Target::of(&mut dx), (n, k, out), 1.0, a, b, false)?;
    Ok(tensor(dx, (n, k)))
}

impl Node for FrozenLinear {
    const NAME: &'static str = "frozen-linear";

    fn forward(&self, inputs: &[View]) -> Result<(Storage, Shape)> {
        let (n, out) = (inputs[0].dims2()?.0, self.weight.dim(0)?);
        Ok((layer(inputs[0], &self.weight, None)?, (n, out).into()))
    }

    fn backward(&self, _: &[&Tensor], _: &Tensor, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(layer_backward(grad, &self.weight)?)])
    }
}

pub(crate) fn added_linear(residual: &Tensor, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    check_added(residual, x, weight)?;
    let weight = weight.detach().contiguous()?;
    apply(AddedLinear(weight), &[x, residual])
}

/// residual + x·Wᵀ over (x, residual), of one dtype.
struct AddedLinear(Tensor);

impl Node for AddedLinear {
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

/// `hidden · headᵀ` [n, V], f32, without a graph, where kernels run.
pub(crate) fn logits(hidden: &Tensor, head: &Tensor) -> Result<Tensor> {
    check(hidden, head)?;
    let (hidden, head) = (hidden.detach().contiguous()?, wide(&head.contiguous()?)?);
    let (x, w, mut room) = (Open::of(&hidden), Open::of(&head), None);
    let (x, w) = (x.view()?, w.view()?);
    let ((n, k), vocab) = (x.dims2()?, w.dims2()?.0);
    let mut y = x.room(DType::F32, n * vocab)?;
    let (a, b) = (Side::rows(cast(x, w.dtype(), &mut room)?), Side::columns(w));
    gemm(Target::of(&mut y), (n, vocab, k), 1.0, a, b, false)?;
    Ok(tensor(y, (n, vocab)))
}

pub(crate) fn lora_linear(
    x: &Tensor,
    x_lora: &Tensor,
    w: &Tensor,
    a: &Tensor,
    b: &Tensor,
    scale: f64,
) -> Result<Tensor> {
    check_low_rank(x, x_lora, [w, a, b])?;
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

/// x·Wᵀ + scale·(x·Aᵀ)·Bᵀ over (x, A, B); without W the low-rank part alone. A and B are rounded to the product's precision; their
/// gradients have their own.
struct LowRank {
    /// [out, in], contiguous, detached; it may lie in blocks
    weight: Option<Tensor>,
    scale: f32,
    /// x·Aᵀ [N, r] of the forward pass, in the product's dtype
    down: OnceLock<Tensor>,
}

impl LowRank {
    /// What products are made in.
    fn dtype(&self, x: View) -> DType {
        match &self.weight {
            None => x.dtype(),
            Some(weight) if Blocks::of(weight).is_some() => DType::BF16,
            Some(weight) => weight.dtype(),
        }
    }
}

impl Node for LowRank {
    const NAME: &'static str = "lora-linear";

    fn forward(&self, inputs: &[View]) -> Result<(Storage, Shape)> {
        let (x, a, b) = (inputs[0], inputs[1], inputs[2]);
        let ((n, k), (out, r)) = (x.dims2()?, b.dims2()?);
        let dtype = self.dtype(x);
        let mut rooms = [None, None, None];
        let [for_x, for_a, for_b] = &mut rooms;
        let rounded = cast(x, dtype, for_x)?;
        let (a, b) = (cast(a, dtype, for_a)?, cast(b, dtype, for_b)?);
        let mut down = x.room(dtype, n * r)?;
        let to = Target::of(&mut down);
        gemm(
            to,
            (n, r, k),
            1.0,
            Side::rows(rounded),
            Side::columns(a),
            false,
        )?;
        let down = tensor(down, (n, r));
        let mut y = match &self.weight {
            Some(weight) => layer(x, weight, None)?,
            None => x.room(x.dtype(), n * out)?,
        };
        let narrow = Open::of(&down);
        let (left, right) = (Side::rows(narrow.view()?), Side::columns(b));
        let (to, add) = (Target::of(&mut y), self.weight.is_some());
        gemm(to, (n, out, r), self.scale, left, right, add)?;
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
        let [x, a, b] = [0, 1, 2].map(|i| Open::of(inputs[i]));
        let (g, down) = (Open::of(grad), Open::of(down));
        let (x, a, b, g, down) = (x.view()?, a.view()?, b.view()?, g.view()?, down.view()?);
        let ((n, k), (out, r)) = (x.dims2()?, b.dims2()?);
        let dtype = self.dtype(x);
        let mut rooms = [None, None, None, None];
        let [for_x, for_a, for_b, for_g] = &mut rooms;
        let rounded = cast(x, dtype, for_x)?;
        let (a, b, g) = (
            cast(a, dtype, for_a)?,
            cast(b, dtype, for_b)?,
            cast(g, dtype, for_g)?,
        );

        let mut db = x.room(inputs[2].dtype(), out * r)?;
        let (left, right) = (Side::columns(g), Side::rows(down));
        gemm(
            Target::of(&mut db),
            (out, r, n),
            self.scale,
            left,
            right,
            false,
        )?;
        // the gradient at the narrow middle, scale·g·B
        let mut middle = x.room(dtype, n * r)?;
        let (left, right) = (Side::rows(g), Side::rows(b));
        gemm(
            Target::of(&mut middle),
            (n, r, out),
            self.scale,
            left,
            right,
            false,
        )?;
        let middle = tensor(middle, (n, r));
        let middle = Open::of(&middle);
        let mut da = x.room(inputs[1].dtype(), r * k)?;
        let (left, right) = (Side::columns(middle.view()?), Side::rows(rounded));
        gemm(Target::of(&mut da), (r, k, n), 1.0, left, right, false)?;

        let dx = match inputs[0].track_op() {
            false => None,
            true => {
                let mut dx = x.room(x.dtype(), n * k)?;
                if let Some(weight) = &self.weight {
                    let weight = wide(weight)?;
                    let w = Open::of(&weight);
                    let (left, right) = (Side::rows(g), Side::rows(w.view()?));
                    gemm(Target::of(&mut dx), (n, k, out), 1.0, left, right, false)?;
                }
                let (left, right) = (Side::rows(middle.view()?), Side::rows(a));
                let (to, add) = (Target::of(&mut dx), self.weight.is_some());
                gemm(to, (n, k, r), 1.0, left, right, add)?;
                Some(tensor(dx, (n, k)))
            }
        };
        Ok(vec![
            dx,
            Some(tensor(da, (r, k))),
            Some(tensor(db, (out, r))),
        ])
    }
}
