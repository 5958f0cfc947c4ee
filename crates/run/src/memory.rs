//! How much memory this process took. Linux only; elsewhere 0, which readers show as unknown.

/// Highest resident memory of this process so far, bytes (`VmHWM` of /proc/self/status).
pub fn peak_memory_bytes() -> u64 {
    read("VmHWM:")
}

/// Resident memory of this process at the moment, bytes (`VmRSS`).
pub fn resident_memory_bytes() -> u64 {
    read("VmRSS:")
}

fn read(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status");
    status.map_or(0, |status| parse(&status, field))
}

fn parse(status: &str, field: &str) -> u64 {
    let kib = status.lines().find_map(|line| line.strip_prefix(field));
    kib.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}
