//! Moving weights into large pages.

use crate::elements::Frozen;
use candle_core::Tensor;

/// Bytes of a large page; it replaces 512 small ones in the translation look-aside buffer.
const LARGE_PAGE: usize = 2 << 20;

/// Asks the system to move these tensors into large pages. For matrices that stay for the whole run
/// and are read for every token: looking up small pages takes a tenth of a decoding step. Without
/// free large pages nothing changes. Memory between neighbouring tensors moves with them.
pub fn in_large_pages<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) {
    let bytes = |tensor: &Tensor| -> Option<(usize, usize)> {
        let frozen = Frozen::of(tensor).ok()?;
        let start = frozen.elements().address();
        Some((
            start,
            start + tensor.elem_count() * tensor.dtype().size_in_bytes(),
        ))
    };
    let mut ranges: Vec<(usize, usize)> = tensors.into_iter().filter_map(bytes).collect();
    ranges.sort_unstable();
    let mut joined: Vec<(usize, usize)> = Vec::new();
    for (start, end) in ranges {
        match joined.last_mut() {
            Some(last) if start < last.1 + LARGE_PAGE => last.1 = last.1.max(end),
            _ => joined.push((start, end)),
        }
    }
    for (start, end) in joined {
        let (start, end) = (
            start / LARGE_PAGE * LARGE_PAGE,
            end.next_multiple_of(LARGE_PAGE),
        );
        collapse(start, end - start);
    }
}

#[cfg(target_os = "linux")]
fn collapse(start: usize, len: usize) {
    for advice in [libc::MADV_HUGEPAGE, libc::MADV_COLLAPSE] {
        // SAFETY: the advice does not change the contents of memory; an error about unmapped
        // addresses is ignored.
        unsafe { libc::madvise(start as *mut libc::c_void, len, advice) };
    }
}

#[cfg(not(target_os = "linux"))]
fn collapse(_: usize, _: usize) {}
