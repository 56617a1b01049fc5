//! The memory of this process, in MiB, and its time, as the kernel counts them.

use std::fs;
use std::time::Duration;

/// Forgets the peak so far; answers what is taken now.
pub fn reset() -> u64 {
    // Where the kernel does not allow it, the peak is that of the whole process.
    let _ = fs::write("/proc/self/clear_refs", "5");
    read("VmRSS:")
}

pub fn peak() -> u64 {
    read("VmHWM:")
}

/// The processor's time that this thread has had.
pub fn busy() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(0))
}

fn read(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap_or(0) >> 10
}
