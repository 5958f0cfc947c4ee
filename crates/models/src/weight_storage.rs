//! In which format the matrices of a base model are held in memory. Norms and biases are f32.

use crate::bf16_exact::holds_tensor;
use crate::model_spec::Slot;
use crate::{BaseWeights, Result};
use candle_core::{DType, Device, Tensor};
use ops::QuantisedBlocks;

/// How matrices are held that are not in quantised blocks. The kernels of `ops` read every format
/// and compute in f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightStorage {
    /// In bf16 where that holds every number of the matrix, else in f32. Only the memory and the
    /// order of some sums change.
    Exact,
    /// In bf16, rounded.
    Rounded,
    /// In f32, as in the file; quantised blocks are expanded.
    Whole,
}

impl WeightStorage {
    /// A trained base starts from the numbers of its file. A frozen one stays exact on the CPU and
    /// is rounded on a GPU, whose memory is scarcer.
    pub fn of(on_cpu: bool, trained: bool) -> Self {
        match (on_cpu, trained) {
            (_, true) => Self::Whole,
            (true, false) => Self::Exact,
            (false, false) => Self::Rounded,
        }
    }
}

/// What a matrix is in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MatrixFormat {
    F32,
    Bf16,
    Blocks(QuantisedBlocks),
}

impl MatrixFormat {
    /// Bytes of a matrix [rows, width].
    pub fn bytes(self, (rows, width): (usize, usize)) -> usize {
        match self {
            Self::F32 => 4 * rows * width,
            Self::Bf16 => 2 * rows * width,
            Self::Blocks(blocks) => rows * blocks.row_bytes(width),
        }
    }
}

/// The rule for every matrix of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoragePlan {
    pub storage: WeightStorage,
    /// `model.weights`
    pub projections: BaseWeights,
}

impl StoragePlan {
    /// The format of a matrix with rows of `width` numbers. `stored`: the quantised blocks that its
    /// file has it in. `fits_bf16`: whether bf16 holds its numbers exactly.
    pub fn format(
        self,
        (slot, width): (Slot, usize),
        stored: Option<QuantisedBlocks>,
        fits_bf16: impl FnOnce() -> Result<bool>,
    ) -> Result<MatrixFormat> {
        let chosen = match slot.is_projection() {
            true => self.projections.blocks(width),
            false => None,
        };
        Ok(match (self.storage, chosen.or(stored)) {
            (WeightStorage::Whole, _) => MatrixFormat::F32,
            (_, Some(blocks)) => MatrixFormat::Blocks(blocks),
            (WeightStorage::Rounded, None) => MatrixFormat::Bf16,
            (WeightStorage::Exact, None) if fits_bf16()? => MatrixFormat::Bf16,
            (WeightStorage::Exact, None) => MatrixFormat::F32,
        })
    }

    /// Brings a parameter into its format and to the device. `read`: f32 or quantised blocks, in
    /// main memory.
    pub fn convert(self, slot: Slot, read: Tensor, device: &Device) -> Result<Tensor> {
        let stored = QuantisedBlocks::of(&read);
        let width = match (stored, read.dims()) {
            (Some(blocks), [_, n, _]) => n * blocks.numbers(),
            (None, [_, width]) => *width,
            _ => return Ok(read.to_device(device)?),
        };
        let format = self.format((slot, width), stored, || Ok(holds_tensor(&read)))?;
        let converted = match format {
            MatrixFormat::Blocks(blocks) if stored == Some(blocks) => read,
            MatrixFormat::Blocks(blocks) => blocks.round(&ops::widened(&read)?)?,
            MatrixFormat::Bf16 => read.to_dtype(DType::BF16)?,
            MatrixFormat::F32 => ops::widened(&read)?,
        };
        Ok(converted.to_device(device)?)
    }
}
