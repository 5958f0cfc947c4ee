//! Memory that this process uses, and that it could use. Linux only; elsewhere 0, which readers of
//! run.json show as unknown.

use std::sync::OnceLock;

type Measure = Box<dyn Fn() -> u64 + Send + Sync>;
static PEAK: OnceLock<Measure> = OnceLock::new();

/// Peak resident memory of this process, bytes (`VmHWM` of /proc/self/status), or the measure that
/// [`measure_peak_by`] installed.
pub fn peak_memory_bytes() -> u64 {
    PEAK.get()
        .map_or_else(|| read("VmHWM:"), |measure| measure())
}

/// Installs another measure of peak memory, in bytes: that of a GPU.
pub fn measure_peak_by(measure: impl Fn() -> u64 + Send + Sync + 'static) {
    // A process uses one GPU, so only the first call counts.
    let _ = PEAK.set(Box::new(measure));
}

/// Current resident memory of this process, bytes (`VmRSS`).
pub fn resident_memory_bytes() -> u64 {
    read("VmRSS:")
}

/// The most memory this process could use, bytes: its own plus `MemAvailable`, within the limit of
/// its control group (version 2). `None` if unknown.
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
