//! What candle's way of working asks of the process: it allocates at every operation, and its own threads would stand in ours' way.

use crate::elements::Frozen;
use crate::level;
use candle_core::Tensor;
use std::sync::Once;

/// A binary calls it first, before there are threads or tensors. Refuses an instruction set ([`Level::VARIABLE`](crate::Level)) that this
/// machine does not have, in one line. A second call changes nothing.
///
/// - glibc's allocator serves large blocks from its heap and never trims it: it would give each one back to the system and ask for
///   it again, and the page faults cost more than many of the operations. The process keeps the memory of its peak.
/// - Candle's element-wise operations run on the thread that asks (`CANDLE_NUM_THREADS=1`, unless it is set): its pool spins for a
///   while after each of them and takes the processors from rayon's, where the products are (LOG.md, 2026-11-21).
pub fn prepare_process() -> Result<(), String> {
    level::check()?;
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        // SAFETY: mallopt changes parameters of the allocator and touches no memory of ours.
        unsafe {
            libc::mallopt(libc::M_MMAP_MAX, 0);
            libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
            libc::mallopt(libc::M_TOP_PAD, 64 << 20);
        }
        let name = "CANDLE_NUM_THREADS";
        if std::env::var_os(name).is_none() && alone() {
            // SAFETY: no other thread reads the environment meanwhile, for there is none.
            unsafe { std::env::set_var(name, "1") };
        }
    });
    Ok(())
}

/// Whether this process is known to have one thread.
fn alone() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
}

/// Of a page that the processor finds at once where it would look up 512 small ones.
const LARGE_PAGE: usize = 2 << 20;

/// Asks the system to move these tensors into large pages: matrices that stay for the whole run and are read for every token, which spends a
/// tenth of its time looking up the addresses of small ones (LOG.md). Where the system has none to give nothing changes. What lies between
/// neighbours goes with them.
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
        // SAFETY: this advice changes no memory's contents, and addresses that are not mapped are an error that is ignored.
        unsafe { libc::madvise(start as *mut libc::c_void, len, advice) };
    }
}

#[cfg(not(target_os = "linux"))]
fn collapse(_: usize, _: usize) {}
