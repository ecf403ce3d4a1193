//! The machine a comparison ran on, and where on it there is room.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Memory in RAM if `needed` bytes fit there, else the directory for temporary files.
pub(super) fn roomy_directory(needed: u64) -> PathBuf {
    // The tools themselves need memory too.
    const SPARE: u64 = 2 << 30;
    let memory = PathBuf::from("/dev/shm");
    let room = available_bytes(&memory).unwrap_or(0).min(memory_bytes("MemAvailable:"));
    if room >= needed + SPARE { memory } else { std::env::temp_dir() }
}

fn available_bytes(directory: &Path) -> Option<u64> {
    df("avail", directory)?.parse().ok()
}

fn df(field: &str, directory: &Path) -> Option<String> {
    let mut command = Command::new("df");
    command.args(["-B1", &format!("--output={field}")]).arg(directory);
    let output = String::from_utf8(command.output().ok()?.stdout).ok()?;
    Some(output.lines().nth(1)?.trim().to_string())
}

fn memory_bytes(field: &str) -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    kibibytes(&text, field).unwrap_or(0) << 10
}

fn kibibytes(meminfo: &str, field: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

/// One line about processor, memory, kernel, the file system of `directory` and the load.
pub(super) fn describe(directory: &Path) -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let processors = read("/proc/cpuinfo");
    let model =
        processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = memory_bytes("MemTotal:") as f64 / f64::from(1 << 30);
    let kernel = read("/proc/sys/kernel/osrelease");
    let kernel = kernel.trim();
    let filesystem = df("fstype", directory).unwrap_or_else(|| "unknown".into());
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or("unknown");
    format!(
        "{model}, {cores} cores, {memory:.0} GiB, Linux {kernel}; data on {filesystem}; load {load} \
         at the start"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_meminfo_is_found_by_its_whole_name() {
        let text = "MemTotal:       24 kB\nMemFree:        7 kB\nMemAvailable:   11 kB\n";
        assert_eq!(kibibytes(text, "MemAvailable:"), Some(11));
        assert_eq!(kibibytes(text, "Mem:"), None);
    }

    #[test]
    fn what_does_not_fit_in_memory_goes_to_the_temporary_directory() {
        assert_eq!(roomy_directory(1 << 60), std::env::temp_dir());
    }
}
