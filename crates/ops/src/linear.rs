//! Layers, most of them with frozen weights. Candle's matmul always computes both gradients; here the frozen weight lives inside the
//! op, so only the input's is. The weight is f32, bf16, 8 bits or blocks, all arithmetic is f32, and few rows take
//! [`skinny`](crate::skinny); inputs of other dtypes take candle's product.

use crate::blocks::widened;
use crate::cpu::{self, Data, Shared};
use crate::elements::{Elements, Frozen, elements, width};
use crate::product::{Mat, Term, Threads, product};
use crate::skinny;
use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Storage, Tensor, bail,
};
use std::sync::OnceLock;

pub(crate) fn frozen_linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    check(x, weight)?;
    let weight = weight.detach().contiguous()?;
    x.contiguous()?.apply_op1(FrozenLinear { weight })
}

pub(crate) fn check(x: &Tensor, weight: &Tensor) -> Result<()> {
    if x.dims2()?.1 != width(weight)? {
        bail!(
            "linear: x is {:?} but the weight is {:?}",
            x.dims(),
            weight.dims()
        )
    }
    Ok(())
}

pub(crate) fn check_added(residual: &Tensor, x: &Tensor, weight: &Tensor) -> Result<()> {
    check(x, weight)?;
    if residual.dims() != [x.dim(0)?, weight.dim(0)?] {
        bail!(
            "linear: x {:?} and the weight {:?} make nothing to add to {:?}",
            x.dims(),
            weight.dims(),
            residual.dims()
        )
    }
    Ok(())
}

pub(crate) fn check_low_rank(x: &Tensor, x_lora: &Tensor, [w, a, b]: [&Tensor; 3]) -> Result<()> {
    check(x, w)?;
    check(x_lora, a)?;
    if b.dims2()? != (w.dim(0)?, a.dim(0)?) {
        bail!(
            "lora_linear: W {:?}, A {:?} and B {:?} do not fit",
            w.dims(),
            a.dims(),
            b.dims()
        )
    }
    Ok(())
}

struct FrozenLinear {
    /// [out, in], contiguous, detached; in blocks, or f32 or bf16, on the CPU 8 bits, too
    weight: Tensor,
}

impl CustomOp1 for FrozenLinear {
    fn name(&self) -> &'static str {
        "frozen-linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (n, k) = layout.shape().dims2()?;
        let out = self.weight.dim(0)?;
        let y = if let (CpuStorage::F32(_), Ok(w)) = (x, Frozen::of(&self.weight)) {
            // SAFETY: written whole by the product, as all room in this file.
            let mut y = unsafe { cpu::room(n * out) };
            let x = cpu::slice(x, layout)?;
            linear_into(x, w.elements(), k, &mut y, Threads::All);
            CpuStorage::F32(y)
        } else {
            let transposed = widened(&self.weight)?.t()?;
            let (w, wl) = transposed.storage_and_layout();
            match &*w {
                Storage::Cpu(w) => plain(x, layout, w, wl, (n, out, k))?,
                _ => bail!("linear: the weight is on another device than the input"),
            }
        };
        Ok((y, (n, out).into()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        if !(cpu::fused(&[&grad]) && Frozen::reads(&self.weight)) {
            let weight = widened(&self.weight)?;
            let dx = grad.to_dtype(weight.dtype())?.matmul(&weight)?;
            return Ok(Some(dx.to_dtype(grad.dtype())?));
        }
        let ((n, out), k) = (grad.dims2()?, width(&self.weight)?);
        let (g, w) = (Data::of(&grad)?, Frozen::of(&self.weight)?);
        // SAFETY: as above.
        let mut dx = unsafe { cpu::room(n * k) };
        let term = Term::new(out, Mat::rows(&g, out), Mat::of(w.elements(), k));
        product((n, k), &mut dx, k, false, &[term], Threads::All);
        Ok(Some(cpu::tensor(dx, (n, k))?))
    }
}

/// On the CPU in f32.
pub(crate) fn added_linear(residual: &Tensor, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    check_added(residual, x, weight)?;
    let weight = weight.detach().contiguous()?;
    let op = AddedLinear(FrozenLinear { weight });
    x.contiguous()?.apply_op2(&residual.contiguous()?, op)
}

/// `residual + x·Wᵀ` over (x, residual): one node of the graph where a sum after a layer is two, each with a gradient of its own.
struct AddedLinear(FrozenLinear);

impl CustomOp2 for AddedLinear {
    fn name(&self) -> &'static str {
        "added-linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        residual: &CpuStorage,
        rl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let ((n, k), out) = (xl.shape().dims2()?, self.0.weight.dim(0)?);
        let weight = Frozen::of(&self.0.weight)?;
        let (x, w) = (cpu::slice(x, xl)?, weight.elements());
        // the whole product first: a layer with an adapter of zeros adds the same, to the last bit
        // SAFETY: as above.
        let mut y = unsafe { cpu::room(n * out) };
        linear_into(x, w, k, &mut y, Threads::All);
        let (residual, sum) = (cpu::slice(residual, rl)?, Shared::new(&mut y));
        cpu::for_rows(n, out, |_, r| {
            let at = r.start * out..r.end * out;
            // SAFETY: the tasks' rows are disjoint.
            let y = unsafe { sum.part(at.clone()) };
            y.iter_mut().zip(&residual[at]).for_each(|(y, r)| *y += r);
        });
        Ok((CpuStorage::F32(y), (n, out).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        residual: &Tensor,
        y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let of_residual = residual.track_op().then(|| grad.clone());
        Ok((self.0.bwd(x, y, grad)?, of_residual))
    }
}

/// On the CPU.
pub(crate) fn logits(hidden: &Tensor, head: &Tensor, out: &mut Vec<f32>) -> Result<()> {
    check(hidden, head)?;
    let (n, k) = hidden.dims2()?;
    let (hidden, head) = (hidden.contiguous()?, head.contiguous()?);
    let (x, w) = (Data::of(&hidden)?, Frozen::of(&head)?);
    out.resize(n * head.dim(0)?, 0.0);
    linear_into(&x, w.elements(), k, out, Threads::All);
    Ok(())
}

/// Candle's product [n, k] x [k, out], at the precision of the weight where that is another than that of `x`, which the result has.
fn plain(
    x: &CpuStorage,
    xl: &Layout,
    w: &CpuStorage,
    wl: &Layout,
    (n, out, k): (usize, usize, usize),
) -> Result<CpuStorage> {
    let size = (1, n, out, k);
    if x.dtype() == w.dtype() {
        return x.matmul(w, size, xl, wl);
    }
    let rounded = x.to_dtype(xl, w.dtype())?;
    let y = rounded.matmul(w, size, &Layout::contiguous((n, k)), wl)?;
    y.to_dtype(&Layout::contiguous((n, out)), x.dtype())
}

/// On the CPU in f32: gradient to the weight, too.
pub(crate) fn linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    check(x, weight)?;
    x.contiguous()?.apply_op2(&weight.contiguous()?, Linear)
}

/// `x·Wᵀ` over (x, W).
struct Linear;

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let ((n, k), (out, _)) = (xl.shape().dims2()?, wl.shape().dims2()?);
        // SAFETY: as above.
        let mut y = unsafe { cpu::room(n * out) };
        let (x, w) = (cpu::slice(x, xl)?, elements(w, wl)?);
        linear_into(x, w, k, &mut y, Threads::All);
        Ok((CpuStorage::F32(y), (n, out).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let ((n, k), out) = (x.dims2()?, w.dim(0)?);
        let grad = grad.contiguous()?;
        let (xs, ws, gs) = (Data::of(x)?, Data::of(w)?, Data::of(&grad)?);
        let (x_mat, g) = (Mat::rows(&xs, k), Mat::rows(&gs, out));
        // SAFETY: as above.
        let (mut dx, mut dw) = (None, unsafe { cpu::room(out * k) });
        if x.track_op() {
            // SAFETY: as above.
            let mut to = unsafe { cpu::room(n * k) };
            let term = Term::new(out, g, Mat::rows(&ws, k));
            product((n, k), &mut to, k, false, &[term], Threads::All);
            dx = Some(cpu::tensor(to, (n, k))?);
        }
        let term = Term::new(n, g.t(), x_mat);
        product((out, k), &mut dw, k, false, &[term], Threads::All);
        Ok((dx, Some(cpu::tensor(dw, (out, k))?)))
    }
}

/// `y = x · wᵀ` with rows of `k` inputs.
pub(crate) fn linear_into(x: &[f32], w: Elements, k: usize, y: &mut [f32], threads: Threads) {
    if k == 0 {
        return y.fill(0.0);
    }
    let (n, out) = (x.len() / k, w.len() / k);
    if skinny::suits(n, w) {
        skinny::linear(x, w, k, y, threads);
    } else {
        product((n, out), y, out, false, &[layer(x, w, k)], threads);
    }
}

/// `x · wᵀ`
fn layer<'a>(x: &'a [f32], w: Elements<'a>, k: usize) -> Term<'a> {
    Term::new(k, Mat::rows(x, k), Mat::of(w, k).t())
}

/// On the CPU; all but W are f32.
pub(crate) fn lora_linear(
    x: &Tensor,
    x_lora: &Tensor,
    w: &Tensor,
    a: &Tensor,
    b: &Tensor,
    scale: f64,
) -> Result<Tensor> {
    check_low_rank(x, x_lora, [w, a, b])?;
    let (a, b) = (a.contiguous()?, b.contiguous()?);
    let op = |weight| LowRank {
        weight,
        scale: scale as f32,
        down: OnceLock::new(),
    };
    if x.id() == x_lora.id() {
        let weight = w.detach().contiguous()?;
        x.contiguous()?.apply_op3(&a, &b, op(Some(weight)))
    } else {
        frozen_linear(x, w)? + x_lora.contiguous()?.apply_op3(&a, &b, op(None))?
    }
}

/// `x·Wᵀ + scale·(x·Aᵀ)·Bᵀ` over (x, A, B); without W the low-rank part alone.
struct LowRank {
    /// [out, in], contiguous, detached
    weight: Option<Tensor>,
    scale: f32,
    /// x·Aᵀ [N, r] of the forward pass
    down: OnceLock<Vec<f32>>,
}

impl CustomOp3 for LowRank {
    fn name(&self) -> &'static str {
        "lora-linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        a: &CpuStorage,
        al: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let ((n, k), (out, r)) = (xl.shape().dims2()?, bl.shape().dims2()?);
        let (x, a, b) = (cpu::slice(x, xl)?, cpu::slice(a, al)?, cpu::slice(b, bl)?);
        // SAFETY: as above.
        let mut down = unsafe { cpu::room(n * r) };
        linear_into(x, Elements::F32(a), k, &mut down, Threads::All);
        let low_rank = Term {
            scale: self.scale,
            ..layer(&down, Elements::F32(b), r)
        };
        // SAFETY: as above.
        let mut y = unsafe { cpu::room(n * out) };
        let w = self.weight.as_ref().map(Frozen::of).transpose()?;
        let (size, all) = ((n, out), Threads::All);
        match w.as_ref().map(Frozen::elements) {
            Some(w) if skinny::suits(n, w) => {
                skinny::linear(x, w, k, &mut y, all);
                product(size, &mut y, out, true, &[low_rank], all);
            }
            Some(w) => product(size, &mut y, out, false, &[layer(x, w, k), low_rank], all),
            None => product(size, &mut y, out, false, &[low_rank], all),
        }
        self.down.get_or_init(|| down);
        Ok((CpuStorage::F32(y), (n, out).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        a: &Tensor,
        b: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let ((n, k), (out, r)) = (x.dims2()?, b.dims2()?);
        let grad = grad.contiguous()?;
        let Some(down) = self.down.get() else {
            bail!("lora-linear: backward without forward")
        };
        let (xs, as_, bs, gs) = (Data::of(x)?, Data::of(a)?, Data::of(b)?, Data::of(&grad)?);
        let (g, h) = (Mat::rows(&gs, out), Mat::rows(down, r));
        let (all, scale) = (Threads::All, self.scale);

        // SAFETY: as above.
        let mut db = unsafe { cpu::room(out * r) };
        let (a, b) = (g.t(), h);
        let term = Term { k: n, a, b, scale };
        product((out, r), &mut db, r, false, &[term], all);
        // the gradient at the narrow middle, scale·g·B
        // SAFETY: as above.
        let mut mid = unsafe { cpu::room(n * r) };
        let (a, b) = (g, Mat::rows(&bs, r));
        let term = Term {
            k: out,
            a,
            b,
            scale,
        };
        product((n, r), &mut mid, r, false, &[term], all);
        let mid = Mat::rows(&mid, r);
        // SAFETY: as above.
        let mut da = unsafe { cpu::room(r * k) };
        let term = Term::new(n, mid.t(), Mat::rows(&xs, k));
        product((r, k), &mut da, k, false, &[term], all);

        let dx = if x.track_op() {
            let low_rank = Term::new(r, mid, Mat::rows(&as_, k));
            let w = self.weight.as_ref().map(Frozen::of).transpose()?;
            let layer = w
                .as_ref()
                .map(|w| Term::new(out, g, Mat::of(w.elements(), k)));
            let terms: Vec<Term> = layer.into_iter().chain([low_rank]).collect();
            // SAFETY: as above.
            let mut dx = unsafe { cpu::room(n * k) };
            product((n, k), &mut dx, k, false, &terms, all);
            Some(cpu::tensor(dx, (n, k))?)
        } else {
            None
        };
        let (da, db) = (cpu::tensor(da, (r, k))?, cpu::tensor(db, (out, r))?);
        Ok((dx, Some(da), Some(db)))
    }
}
