//! Blocks on a card, widened by candle's kernels (which are llama.cpp's) where the bytes lie. Type-checked; no card was at hand to run it.

use super::Blocks;
use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{LaunchConfig, PushKernelArg};
use candle_core::cuda_backend::{CudaStorage, WrapErr, kernels};
use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, bail};

/// [out, in] in bf16; for a moment in f32, too.
pub(super) fn wide(weight: &Tensor) -> Result<Tensor> {
    weight.apply_op1_no_bwd(&Widen)?.to_dtype(DType::BF16)
}

struct Widen;

impl CustomOp1 for Widen {
    fn name(&self) -> &'static str {
        "widen-blocks"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("widen-blocks is a card's")
    }

    fn cuda_fwd(&self, weight: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let (Some(format), Some((start, end))) =
            (Blocks::of_dims(layout.dims()), layout.contiguous_offsets())
        else {
            bail!("widen-blocks: {:?} are no blocks in a row", layout.dims())
        };
        let shape = (layout.dims()[0], layout.dims()[1] * format.numbers());
        let numbers = shape.0 * shape.1;
        let Launch {
            kernel,
            grid,
            threads,
            count,
        } = Launch::of(format, numbers);
        let device = weight.device();
        let bytes = weight.as_cuda_slice::<u8>()?.slice(start..end);
        let kernel = device.get_or_load_func(kernel, &kernels::QUANTIZED)?;
        // SAFETY: the kernel writes every number.
        let out = unsafe { device.alloc::<f32>(numbers)? };
        let launch = LaunchConfig {
            grid_dim: (grid as u32, 1, 1),
            block_dim: (threads, 1, 1),
            shared_mem_bytes: 0,
        };
        let count = count.map(|n| n as i32);
        let mut call = kernel.builder();
        call.arg(&bytes).arg(&out);
        if let Some(count) = &count {
            call.arg(count);
        }
        // SAFETY: arguments and launch are those that candle's own `QTensor::dequantize` gives these kernels.
        unsafe { call.launch(launch) }.w()?;
        Ok((
            CudaStorage::wrap_cuda_slice(out, device.clone()),
            shape.into(),
        ))
    }
}

/// How a kernel of candle's is launched.
struct Launch {
    kernel: &'static str,
    grid: usize,
    threads: u32,
    /// What it is told of the size, where it asks
    count: Option<usize>,
}

impl Launch {
    fn of(format: Blocks, numbers: usize) -> Self {
        let large = numbers.div_ceil(256);
        let (kernel, grid, threads, count) = match format {
            Blocks::Q4_0 => ("dequantize_block_q4_0_f32", large, 32, Some(numbers / 32)),
            Blocks::Q4_1 => ("dequantize_block_q4_1_f32", large, 32, Some(numbers / 32)),
            Blocks::Q8_0 => ("dequantize_block_q8_0_f32", large, 32, Some(numbers / 32)),
            Blocks::Q5_0 => (
                "dequantize_block_q5_0_f32",
                numbers.div_ceil(512),
                256,
                Some(numbers),
            ),
            Blocks::Q5_1 => (
                "dequantize_block_q5_1_f32",
                numbers.div_ceil(512),
                256,
                Some(numbers),
            ),
            Blocks::Q2_K => ("dequantize_block_q2_K_f32", large, 64, None),
            Blocks::Q3_K => ("dequantize_block_q3_K_f32", large, 64, None),
            Blocks::Q4_K => ("dequantize_block_q4_K_f32", large, 32, None),
            Blocks::Q5_K => ("dequantize_block_q5_K_f32", large, 64, None),
            Blocks::Q6_K => ("dequantize_block_q6_K_f32", large, 64, None),
        };
        Self {
            kernel,
            grid,
            threads,
            count,
        }
    }
}
