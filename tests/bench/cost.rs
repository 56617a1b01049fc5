//! What a process took: time, processor time, memory, all as the kernel counts it.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// What one process, or one part of it, took.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Cost {
    pub wall: Duration,
    /// User and system together, all threads.
    pub cpu: Duration,
    /// The most memory it ever had, in bytes.
    pub peak: u64,
}

impl Cost {
    /// The medians of the times, and the largest of the peaks: a limit is kept in every run or not at all.
    pub fn typical(costs: &[Cost]) -> Cost {
        Cost {
            wall: median(costs.iter().map(|cost| cost.wall).collect()),
            cpu: median(costs.iter().map(|cost| cost.cpu).collect()),
            peak: costs.iter().map(|cost| cost.peak).max().unwrap_or(0),
        }
    }
}

/// The middle one; of an even number, the smaller of the two in the middle.
pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

/// Whose processor time.
#[derive(Clone, Copy)]
pub enum Whose {
    Mine,
    /// Of all children that were waited for.
    Children,
}

/// Processor time so far, to the microsecond. `/proc/self/stat` has it too, in hundredths of a second:
/// too coarse for a run of a few.
#[expect(unsafe_code, reason = "no safe function tells it in microseconds")]
pub fn cpu(whose: Whose) -> Duration {
    let who = match whose {
        Whose::Mine => libc::RUSAGE_SELF,
        Whose::Children => libc::RUSAGE_CHILDREN,
    };
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: getrusage writes one `rusage` to where it is told and keeps nothing; all zeros is a `rusage` too.
    let usage = unsafe {
        libc::getrusage(who, usage.as_mut_ptr());
        usage.assume_init()
    };
    let time = |at: libc::timeval| Duration::new(at.tv_sec as u64, at.tv_usec as u32 * 1_000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// The most memory this process ever had, in bytes. Not `ru_maxrss`: a child inherits that from its parent.
pub fn peak() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("the kernel tells no VmHWM")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024)
}
