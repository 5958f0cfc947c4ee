//! Products with frozen weights. Candle's matmul always computes both gradients; here the frozen weight lives inside the
//! op, so only the input's is. Works on every device; on the CPU in f32 few rows take [`skinny`](crate::skinny).

use crate::cpu::{self, Data, Mat, Threads, product};
use crate::skinny;
use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp3, Layout, Result, Shape, Storage, Tensor, bail,
};
use std::sync::OnceLock;

pub(crate) fn frozen_linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    check(x, weight)?;
    let weight = weight.detach().contiguous()?;
    x.contiguous()?.apply_op1(FrozenLinear { weight })
}

fn check(x: &Tensor, weight: &Tensor) -> Result<()> {
    if x.dims2()?.1 != weight.dims2()?.1 {
        bail!(
            "linear: x is {:?} but the weight is {:?}",
            x.dims(),
            weight.dims()
        )
    }
    Ok(())
}

struct FrozenLinear {
    /// [out, in], contiguous, detached
    weight: Tensor,
}

impl CustomOp1 for FrozenLinear {
    fn name(&self) -> &'static str {
        "frozen-linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (n, k) = layout.shape().dims2()?;
        let out = self.weight.dim(0)?;
        let y = if let (CpuStorage::F32(_), Ok(w)) = (x, Data::of(&self.weight)) {
            let mut y = vec![0.0; n * out];
            linear_into(cpu::slice(x, layout)?, &w, k, &mut y, Threads::All);
            CpuStorage::F32(y)
        } else {
            let transposed = self.weight.t()?;
            let (w, wl) = transposed.storage_and_layout();
            match &*w {
                Storage::Cpu(w) => x.matmul(w, (1, n, out, k), layout, wl)?,
                _ => bail!("linear: the weight is on another device than the input"),
            }
        };
        Ok((y, (n, out).into()))
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let (n, k) = layout.shape().dims2()?;
        let transposed = self.weight.t()?;
        let (w, wl) = transposed.storage_and_layout();
        let out = wl.shape().dims()[1];
        match &*w {
            Storage::Cuda(w) => Ok((x.matmul(w, (1, n, out, k), layout, wl)?, (n, out).into())),
            _ => bail!("linear: the weight is on another device than the input"),
        }
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        if !cpu::fused(&[&grad, &self.weight]) {
            return Ok(Some(grad.matmul(&self.weight)?));
        }
        let ((n, out), k) = (grad.dims2()?, self.weight.dim(1)?);
        let (g, w) = (Data::of(&grad)?, Data::of(&self.weight)?);
        let mut dx = vec![0.0; n * k];
        let (g, w) = (Mat::rows(&g, out), Mat::rows(&w, k));
        product((n, k, out), &mut dx, k, false, g, w, 1.0, Threads::All);
        Ok(Some(cpu::tensor(dx, (n, k))?))
    }
}

/// `y = x · wᵀ` with rows of `k` inputs.
pub(crate) fn linear_into(x: &[f32], w: &[f32], k: usize, y: &mut [f32], threads: Threads) {
    if k == 0 {
        return y.fill(0.0);
    }
    let (n, out) = (x.len() / k, w.len() / k);
    if skinny::suits(n, k) {
        skinny::linear(x, w, k, y, threads);
    } else {
        let (x, w) = (Mat::rows(x, k), Mat::rows(w, k).t());
        product((n, out, k), y, out, false, x, w, 1.0, threads);
    }
}

/// All f32 on the CPU.
pub(crate) fn lora_linear(
    x: &Tensor,
    x_lora: &Tensor,
    w: &Tensor,
    a: &Tensor,
    b: &Tensor,
    scale: f64,
) -> Result<Tensor> {
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
        let mut y = vec![0.0; n * out];
        if let Some(w) = &self.weight {
            linear_into(x, &Data::of(w)?, k, &mut y, Threads::All);
        }
        let mut down = vec![0.0; n * r];
        linear_into(x, a, k, &mut down, Threads::All);
        let (h, bt) = (Mat::rows(&down, r), Mat::rows(b, r).t());
        let keep = self.weight.is_some();
        product(
            (n, out, r),
            &mut y,
            out,
            keep,
            h,
            bt,
            self.scale,
            Threads::All,
        );
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
        let all = Threads::All;

        let mut db = vec![0.0; out * r];
        product((out, r, n), &mut db, r, false, g.t(), h, self.scale, all);
        // the gradient at the narrow middle, scale·g·B
        let mut mid = vec![0.0; n * r];
        product(
            (n, r, out),
            &mut mid,
            r,
            false,
            g,
            Mat::rows(&bs, r),
            self.scale,
            all,
        );
        let mid = Mat::rows(&mid, r);
        let mut da = vec![0.0; r * k];
        product(
            (r, k, n),
            &mut da,
            k,
            false,
            mid.t(),
            Mat::rows(&xs, k),
            1.0,
            all,
        );

        let dx = if x.track_op() {
            let mut dx = vec![0.0; n * k];
            if let Some(w) = &self.weight {
                let w = Data::of(w)?;
                product(
                    (n, k, out),
                    &mut dx,
                    k,
                    false,
                    g,
                    Mat::rows(&w, k),
                    1.0,
                    all,
                );
            }
            product(
                (n, k, r),
                &mut dx,
                k,
                true,
                mid,
                Mat::rows(&as_, k),
                1.0,
                all,
            );
            Some(cpu::tensor(dx, (n, k))?)
        } else {
            None
        };
        let (da, db) = (cpu::tensor(da, (r, k))?, cpu::tensor(db, (out, r))?);
        Ok((dx, Some(da), Some(db)))
    }
}
