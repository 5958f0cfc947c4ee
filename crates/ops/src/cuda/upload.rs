//! Numbers that a pass makes on the host and every layer of it reads: positions, tiles, rows. Sent once, for the layers ask for the same.

use candle_core::{Device, Result, Tensor};
use std::cell::RefCell;
use std::collections::VecDeque;

/// Lists that are kept at hand; a pass has at most five.
const KEPT: usize = 8;

thread_local! {
    static SENT: RefCell<VecDeque<(Vec<u32>, Tensor)>> = const { RefCell::new(VecDeque::new()) };
}

/// `numbers` as a tensor `[len]` on `device`.
pub(super) fn upload(numbers: Vec<u32>, device: &Device) -> Result<Tensor> {
    SENT.with_borrow_mut(|sent| {
        let same = |(kept, tensor): &(Vec<u32>, Tensor)| {
            *kept == numbers && tensor.device().same_device(device)
        };
        if let Some((_, tensor)) = sent.iter().find(|kept| same(kept)) {
            return Ok(tensor.clone());
        }
        let tensor = Tensor::from_slice(&numbers, numbers.len(), device)?;
        sent.truncate(KEPT - 1);
        sent.push_front((numbers, tensor.clone()));
        Ok(tensor)
    })
}
