//! How much memory this process took, and how much it could. Linux only; elsewhere 0, which readers show as unknown.

use std::sync::OnceLock;

type Measure = Box<dyn Fn() -> u64 + Send + Sync>;
static PEAK: OnceLock<Measure> = OnceLock::new();

/// Highest resident memory of this process so far, bytes (`VmHWM` of /proc/self/status), or what [`measure_peak_by`] was given.
pub fn peak_memory_bytes() -> u64 {
    PEAK.get()
        .map_or_else(|| read("VmHWM:"), |measure| measure())
}

/// From now on the peak is that of another memory: a card's.
pub fn measure_peak_by(measure: impl Fn() -> u64 + Send + Sync + 'static) {
    // a process computes on one card
    let _ = PEAK.set(Box::new(measure));
}

/// Resident memory of this process at the moment, bytes (`VmRSS`).
pub fn resident_memory_bytes() -> u64 {
    read("VmRSS:")
}

/// What this process could hold if it took all that is free, bytes: what it holds and `MemAvailable`, within the limit of its
/// control group (version 2). None: unknown.
pub fn usable_memory_bytes() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok()?;
    let usable = resident_memory_bytes() + parse(&machine, "MemAvailable:");
    let limit = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let limit = limit.and_then(|text| text.trim().parse().ok());
    Some(usable.min(limit.unwrap_or(u64::MAX)))
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
