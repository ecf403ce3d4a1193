//! How many threads and how much memory this process may use: of its control group, not of the node.
//!
//! Invariants
//! - Every group from the process's own up to the root counts; the tightest limit holds.
//! - What cannot be read is no limit. There is always at least one CPU.
//! - The choice explains itself in one line that callers log.
//!
//! Not here: sharing the memory out (`budget`).

mod cgroup;

use std::{fs, path::Path};

use cgroup::{Group, Limit};

/// What an operation may use. The fields are there to be overridden.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resources {
    /// Threads that compute.
    pub cpus: usize,
    /// Memory of the whole process.
    pub memory_bytes: u64,
    /// All buffers together, where the caller wants other than [`Resources::buffers`] chooses.
    pub buffer_bytes: Option<usize>,
    /// Places of chunks in memory, where the caller wants other than [`Resources::rows`] chooses.
    pub most_rows: Option<usize>,
    /// Where the numbers come from, in one line.
    pub because: String,
}

const MIB: u64 = 1 << 20;
/// A buffer of the largest usual chunk: the one being read.
const LEAST_BUFFERS: u64 = 8 * MIB;
/// Per CPU: one under way.
const BUFFERS_PER_CPU: u64 = 8 * MIB;
/// More buffers than this only hide a slow store and help nobody.
const MOST_BUFFERS: u64 = 1 << 30;
/// Four packs of the usual size.
const IN_FLIGHT: u64 = 64 * MIB;
/// They take 54 MiB.
const MOST_ROWS: u64 = 1 << 20;
/// Memory for one of them.
const ROW_BYTES: u64 = 54;
/// Assumed where the system tells nothing.
const UNKNOWN_MEMORY: u64 = 512 * MIB;

impl Resources {
    /// What this process has now.
    #[must_use]
    pub fn detect() -> Self {
        let affinity = rustix::thread::sched_getaffinity(None).map(|set| set.count() as usize);
        let affinity = affinity
            .ok()
            .or_else(|| std::thread::available_parallelism().ok().map(std::num::NonZeroUsize::get));
        Self::of(Path::new("/"), affinity.unwrap_or(1))
    }

    /// Memory for all buffers of an operation.
    ///
    /// Chunks wait between reading, computing and writing. Two CPUs keep busy with 24 MiB (chunks
    /// of 1 to 8 MiB, several in each stage), and each further one wants as much again as it works
    /// on. Buffers are not all the process has: tables of known chunks, stacks and the compressor
    /// need room too, so they get an eighth of the memory, at least 8 MiB, and in a very small
    /// group a quarter at the most, which is slow and safe.
    #[must_use]
    pub fn buffers(&self) -> usize {
        if let Some(bytes) = self.buffer_bytes {
            return bytes;
        }
        let cpus = self.cpus as u64;
        let wanted = LEAST_BUFFERS.saturating_add(BUFFERS_PER_CPU.saturating_mul(cpus));
        let bytes = wanted
            .min(MOST_BUFFERS)
            .min(self.memory_bytes / 8)
            .max(LEAST_BUFFERS)
            .min(self.memory_bytes / 4);
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// Bytes on their way from or to a server at once. A request costs milliseconds there, whatever
    /// its size: large ones are wanted, and a few of them.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        let bytes = IN_FLIGHT.min(self.memory_bytes / 4).max(LEAST_BUFFERS);
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// Places of chunks that an operation which needs all of them holds in memory; more of them are
    /// put into files where that is possible. They take an eighth of the memory at most.
    #[must_use]
    pub fn rows(&self) -> usize {
        let rows = MOST_ROWS.min(self.memory_bytes / 8 / ROW_BYTES);
        self.most_rows.unwrap_or(usize::try_from(rows).unwrap_or(usize::MAX))
    }

    fn of(root: &Path, affinity: usize) -> Self {
        let groups = cgroup::groups(root);
        let cpu = tightest(&groups, Group::cpu_limit);
        let memory = tightest(&groups, Group::memory_limit);
        let meminfo = fs::read_to_string(root.join("proc/meminfo")).unwrap_or_default();

        let affinity = affinity.max(1);
        let (cpus, cpu_why) = match cpu {
            // Part of a CPU rounds up: idle time is lost, throttling is not.
            Some(Limit { amount: milli, from }) if milli.div_ceil(1000) < affinity as u64 => {
                let cpus = usize::try_from(milli.div_ceil(1000)).unwrap_or(affinity).max(1);
                (cpus, format!("quota of {}.{:03} in {from}", milli / 1000, milli % 1000))
            }
            _ => (affinity, "all it may run on".to_owned()),
        };
        let available = meminfo_bytes(&meminfo, "MemAvailable");
        let (memory_bytes, memory_why) = match (memory, available) {
            // A limit above what the machine has left does not make more.
            (Some(limit), _) if available.is_none_or(|available| limit.amount < available) => {
                (limit.amount, format!("limit in {}", limit.from))
            }
            (_, Some(available)) => (available, "all that is available".to_owned()),
            _ => (UNKNOWN_MEMORY, "assumed, the system does not say".to_owned()),
        };
        let mib = memory_bytes / MIB;
        let because = format!("{cpus} CPUs ({cpu_why}), {mib} MiB of memory ({memory_why})");
        Self { cpus, memory_bytes, buffer_bytes: None, most_rows: None, because }
    }
}

fn tightest(groups: &[Group], limit: impl Fn(&Group) -> Option<Limit>) -> Option<Limit> {
    groups.iter().filter_map(limit).min_by_key(|limit| limit.amount)
}

fn meminfo_bytes(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests;
