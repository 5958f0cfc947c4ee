//! Matrix products on a GPU by cuBLAS: inputs of one dtype, sums in f32, the result in f32 or the
//! inputs' dtype.

use crate::cuda::view::{DeviceStorage, View, ViewMut};
use candle_core::{CpuStorage, CudaStorage, DType, Result, bail};

/// One side of a product: `view` holds its rows, one after another, or, `transposed`, its columns.
#[derive(Clone, Copy)]
pub(crate) struct Side<'a> {
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

/// `scale·a·b`, of which a is m by k and b k by n.
pub(crate) struct Product<'a> {
    pub size: (usize, usize, usize),
    pub scale: f32,
    pub a: Side<'a>,
    pub b: Side<'a>,
}

impl<'a> Product<'a> {
    /// `a·b`; `size` is (m, n, k).
    pub fn new(size: (usize, usize, usize), a: Side<'a>, b: Side<'a>) -> Self {
        let scale = 1.0;
        Self { size, scale, a, b }
    }

    /// `out` [m, n] becomes the product.
    pub fn write_to(self, out: ViewMut) -> Result<()> {
        self.run(out, false)
    }

    /// Adds the product to `out` [m, n].
    pub fn add_to(self, out: ViewMut) -> Result<()> {
        self.run(out, true)
    }

    fn run(self, out: ViewMut, add: bool) -> Result<()> {
        let (m, n, _) = self.size;
        if m == 0 || n == 0 {
            return Ok(());
        }
        let (dtype, out_dtype) = (self.a.view.dtype(), out.dtype());
        let other = self.b.view.dtype();
        if dtype != other || (dtype == DType::F32 && out_dtype != DType::F32) {
            bail!("ops: cuBLAS has no product of {dtype:?} and {other:?} in {out_dtype:?}")
        }
        match (out, self.a.view.storage, self.b.view.storage) {
            (ViewMut::Host(out, start), DeviceStorage::Host(x), DeviceStorage::Host(y)) => {
                self.on_host((out, start), (x, y), add)
            }
            (ViewMut::Gpu(out, start), DeviceStorage::Gpu(x), DeviceStorage::Gpu(y)) => {
                self.on_gpu((out, start), (x, y), add)
            }
            _ => bail!("ops: a product of matrices on two devices"),
        }
    }

    /// The emulator's cuBLAS: sums in f32.
    fn on_host(
        &self,
        (out, start): (&mut CpuStorage, usize),
        (x, y): (&CpuStorage, &CpuStorage),
        add: bool,
    ) -> Result<()> {
        use crate::product::{Mat, Term, Threads, product};
        let (m, n, k) = self.size;
        let x = widened(x, self.a.view.start, m * k)?;
        let y = widened(y, self.b.view.start, k * n)?;
        let side = |data, rows, columns, transposed| match transposed {
            true => Mat::rows(data, rows).t(),
            false => Mat::rows(data, columns),
        };
        let term = Term {
            scale: self.scale,
            ..Term::new(
                k,
                side(&x, m, k, self.a.transposed),
                side(&y, k, n, self.b.transposed),
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
                let out = &mut out[start..start + m * n];
                out.iter_mut()
                    .zip(sum)
                    .for_each(|(out, x)| *out = half::bf16::from_f32(x));
            }
            _ => bail!("ops: a product gives f32 or bf16"),
        }
        Ok(())
    }

    #[cfg(not(feature = "cuda"))]
    fn on_gpu(
        &self,
        _: (&mut CudaStorage, usize),
        _: (&CudaStorage, &CudaStorage),
        _: bool,
    ) -> Result<()> {
        Err(candle_core::Error::NotCompiledWithCudaSupport)
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(
        &self,
        (out, start): (&mut CudaStorage, usize),
        (x, y): (&CudaStorage, &CudaStorage),
        add: bool,
    ) -> Result<()> {
        use crate::cuda::view::address;
        use candle_core::backend::BackendStorage;
        use candle_core::cuda_backend::WrapErr;
        use candle_core::cuda_backend::cudarc::cublas::{result, sys};
        use std::ffi::c_void;
        let kind = |dtype| {
            Ok(match dtype {
                DType::F32 => sys::cudaDataType_t::CUDA_R_32F,
                DType::BF16 => sys::cudaDataType_t::CUDA_R_16BF,
                dtype => bail!("ops: no product of {dtype:?} on a GPU"),
            })
        };
        let ((m, n, k), a, b) = (self.size, self.a, self.b);
        let (x_kind, y_kind, out_kind) = (kind(x.dtype())?, kind(y.dtype())?, kind(out.dtype())?);
        let device = out.device.clone();
        let stream = device.cuda_stream();
        let (x_at, _x) = address::read(x, a.view.start, &stream)?;
        let (y_at, _y) = address::read(y, b.view.start, &stream)?;
        let (out_at, _out) = address::write(out, start, &stream)?;
        let (alpha, beta) = (self.scale, if add { 1f32 } else { 0.0 });
        let op = |transposed| match transposed {
            true => sys::cublasOperation_t::CUBLAS_OP_T,
            false => sys::cublasOperation_t::CUBLAS_OP_N,
        };
        let stride = |rows: usize, columns: usize, transposed| match transposed {
            true => rows as i32,
            false => columns as i32,
        };
        // cuBLAS is column-major, and our row-major matrices are their transposes there: it
        // computes bᵀ·aᵀ SAFETY: the sizes are those of the tensors, which the callers check; the
        // guards keep the tensors until the work is on its stream.
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
