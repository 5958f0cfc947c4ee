//! What candle's way of working asks of the process: it allocates at every operation, and its own threads would stand in ours' way.

use crate::level;
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
