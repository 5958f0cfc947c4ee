//! Matrix products on a card: cuBLAS, inputs of one dtype, sums in f32, the result in any.

use crate::cuda::place::{Place, Target, View};
use candle_core::{CpuStorage, DType, Result, bail};

/// One side of a product: `view` holds its rows of `stride` numbers, or, `transposed`, its columns.
#[derive(Clone, Copy)]
pub(super) struct Side<'a> {
    pub view: View<'a>,
    pub transposed: bool,
}

impl<'a> Side<'a> {
    pub fn rows(view: View<'a>) -> Self {
        Self {
            view,
            transposed: false,
        }
    }

    pub fn columns(view: View<'a>) -> Self {
        Self {
            view,
            transposed: true,
        }
    }
}

/// `out` [m, n] = alpha·a·b, of which a is m by k and b k by n; `add`: + what `out` holds.
pub(super) fn gemm(
    out: Target,
    (m, n, k): (usize, usize, usize),
    alpha: f32,
    a: Side,
    b: Side,
    add: bool,
) -> Result<()> {
    if m == 0 || n == 0 {
        return Ok(());
    }
    let (of_a, of_out) = (a.view.dtype(), out.dtype());
    if of_a != b.view.dtype() || (of_a == DType::F32 && of_out != DType::F32) {
        bail!(
            "ops: cuBLAS has no product of {of_a:?} and {:?} in {of_out:?}",
            b.view.dtype()
        )
    }
    match (out, a.view.place, b.view.place) {
        (Target::Host(out, start), Place::Host(x), Place::Host(y)) => {
            on_host((out, start), (m, n, k), alpha, (x, a), (y, b), add)
        }
        (Target::Card(out, start), Place::Card(x), Place::Card(y)) => {
            on_card((out, start), (m, n, k), alpha, (x, a), (y, b), add)
        }
        _ => bail!("ops: a product of matrices on two devices"),
    }
}

/// What the emulator has for cuBLAS: f32 sums of the inputs as they are.
fn on_host(
    (out, start): (&mut CpuStorage, usize),
    (m, n, k): (usize, usize, usize),
    alpha: f32,
    (x, a): (&CpuStorage, Side),
    (y, b): (&CpuStorage, Side),
    add: bool,
) -> Result<()> {
    use crate::product::{Mat, Term, Threads, product};
    let x = widened(x, a.view.start, m * k)?;
    let y = widened(y, b.view.start, k * n)?;
    let side = |data, rows, columns, transposed| match transposed {
        true => Mat::rows(data, rows).t(),
        false => Mat::rows(data, columns),
    };
    let term = Term {
        scale: alpha,
        ..Term::new(
            k,
            side(&x, m, k, a.transposed),
            side(&y, k, n, b.transposed),
        )
    };
    let mut sum = match add {
        true => widened(out, start, m * n)?,
        false => vec![0.0; m * n],
    };
    product((m, n), &mut sum, n, add, &[term], Threads::One);
    match out {
        CpuStorage::F32(out) => out[start..start + m * n].copy_from_slice(&sum),
        CpuStorage::BF16(out) => {
            let to = &mut out[start..start + m * n];
            to.iter_mut()
                .zip(sum)
                .for_each(|(to, x)| *to = half::bf16::from_f32(x));
        }
        _ => bail!("ops: a product gives f32 or bf16"),
    }
    Ok(())
}

fn widened(storage: &CpuStorage, start: usize, count: usize) -> Result<Vec<f32>> {
    Ok(match storage {
        CpuStorage::F32(data) => data[start..start + count].to_vec(),
        CpuStorage::BF16(data) => data[start..start + count]
            .iter()
            .map(|x| x.to_f32())
            .collect(),
        _ => bail!("ops: a product takes f32 or bf16"),
    })
}

#[cfg(not(feature = "cuda"))]
fn on_card(
    _: (&mut candle_core::CudaStorage, usize),
    _: (usize, usize, usize),
    _: f32,
    _: (&candle_core::CudaStorage, Side),
    _: (&candle_core::CudaStorage, Side),
    _: bool,
) -> Result<()> {
    Err(candle_core::Error::NotCompiledWithCudaSupport)
}

#[cfg(feature = "cuda")]
fn on_card(
    (out, start): (&mut candle_core::CudaStorage, usize),
    (m, n, k): (usize, usize, usize),
    alpha: f32,
    (x, a): (&candle_core::CudaStorage, Side),
    (y, b): (&candle_core::CudaStorage, Side),
    add: bool,
) -> Result<()> {
    use crate::cuda::place::card;
    use candle_core::backend::BackendStorage;
    use candle_core::cuda_backend::WrapErr;
    use candle_core::cuda_backend::cudarc::cublas::{result, sys};
    use std::ffi::c_void;
    let kind = |dtype| {
        Ok(match dtype {
            candle_core::DType::F32 => sys::cudaDataType_t::CUDA_R_32F,
            candle_core::DType::BF16 => sys::cudaDataType_t::CUDA_R_16BF,
            dtype => bail!("ops: no product of {dtype:?} on a card"),
        })
    };
    let (x_kind, y_kind, out_kind) = (kind(x.dtype())?, kind(y.dtype())?, kind(out.dtype())?);
    let device = out.device.clone();
    let stream = device.cuda_stream();
    let (x_at, _x) = cuda::address(x, a.view.start, &stream)?;
    let (y_at, _y) = cuda::address(y, b.view.start, &stream)?;
    let (out_at, _out) = cuda::address_mut(out, start, &stream)?;
    let (alpha, beta) = (alpha, if add { 1f32 } else { 0.0 });
    let op = |transposed| match transposed {
        true => sys::cublasOperation_t::CUBLAS_OP_T,
        false => sys::cublasOperation_t::CUBLAS_OP_N,
    };
    let stride = |rows: usize, columns: usize, transposed| match transposed {
        true => rows as i32,
        false => columns as i32,
    };
    // cuBLAS counts in columns: the transposed result is bᵀ·aᵀ, and what lies in rows here is transposed there
    // SAFETY: the sizes are those of the tensors, which the callers check; the guards keep them until the work is on its stream.
    unsafe {
        result::gemm_ex(
            *device.cublas_handle().handle(),
            op(b.transposed),
            op(a.transposed),
            n as i32,
            m as i32,
            k as i32,
            std::ptr::from_ref(&alpha).cast(),
            y_at as *const c_void,
            y_kind,
            stride(k, n, b.transposed),
            x_at as *const c_void,
            x_kind,
            stride(m, k, a.transposed),
            std::ptr::from_ref(&beta).cast(),
            out_at as *mut c_void,
            out_kind,
            n as i32,
            sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
            sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
        )
    }
    .w()?;
    Ok(())
}
