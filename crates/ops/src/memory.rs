//! Keeps freed pages for the next tensor. Candle allocates at every operation; glibc gives large blocks back to the system
//! and asks for them again, and the page faults cost more than many of the operations. Other allocators are left alone.

/// Tells glibc's allocator to serve large blocks from its heap and never to trim it. Call once, before tensors are made.
/// The process keeps the memory of its peak.
pub fn keep_freed_pages() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt changes parameters of the allocator and touches no memory of ours.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
        libc::mallopt(libc::M_TOP_PAD, 64 << 20);
    }
}
