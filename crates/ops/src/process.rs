//! Settings of the process: candle allocates at every operation, and its own threads would compete
//! with rayon's.

use crate::level;
use std::sync::Once;

/// Every binary calls it first, before there are threads or tensors. Fails with one line if the
/// environment asks for an instruction set ([`Level::VARIABLE`](crate::Level)) that this machine
/// does not have. A second call does nothing.
///
/// - glibc's allocator keeps large allocations on its heap and never trims it. By default it
///   returns each one to the system and requests it again, and the page faults cost more than many
///   of the operations. The process keeps the memory of its peak.
/// - Candle's element-wise operations run on the calling thread (`CANDLE_NUM_THREADS=1`, unless it
///   is set): candle's pool spins for a while after each of them and takes the processors from
///   rayon's threads, which do the products.
pub fn prepare_process() -> Result<(), String> {
    level::check()?;
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        // SAFETY: mallopt changes only parameters of the allocator.
        unsafe {
            libc::mallopt(libc::M_MMAP_MAX, 0);
            libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
            libc::mallopt(libc::M_TOP_PAD, 64 << 20);
        }
        let name = "CANDLE_NUM_THREADS";
        if std::env::var_os(name).is_none() && is_single_threaded() {
            // SAFETY: there is no other thread that could read the environment.
            unsafe { std::env::set_var(name, "1") };
        }
    });
    Ok(())
}

/// The threads that the kernels use: `RAYON_NUM_THREADS`, or those of the machine.
pub fn n_threads() -> usize {
    rayon::current_num_threads()
}

/// Whether this process is known to have one thread.
fn is_single_threaded() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
}
