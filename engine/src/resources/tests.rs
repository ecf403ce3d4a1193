//! Limits as the files of a made-up system tell them.

use super::*;

/// A system of files with these contents, asked for its resources.
fn of(affinity: usize, files: &[(&str, &str)]) -> Resources {
    let root = tempfile::tempdir().expect("a temporary directory");
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, text).expect("written");
    }
    Resources::of(root.path(), affinity)
}

const MEMINFO: (&str, &str) =
    ("proc/meminfo", "MemTotal:       16777216 kB\nMemFree: 1 kB\nMemAvailable:    8388608 kB\n");
const MOUNT_V2: (&str, &str) = (
    "proc/self/mountinfo",
    "22 1 8:1 / / rw - ext4 /dev/sda rw\n\
     30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
);
const MOUNTS_V1: (&str, &str) = (
    "proc/self/mountinfo",
    "31 22 0:27 /pods/a /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n\
     32 22 0:28 /pods/a /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
);

#[test]
fn a_group_of_version_2_limits_both() {
    let found = of(
        16,
        &[
            MEMINFO,
            MOUNT_V2,
            ("proc/self/cgroup", "0::/\n"),
            ("sys/fs/cgroup/cpu.max", "250000 100000\n"),
            ("sys/fs/cgroup/memory.max", "536870912\n"),
            ("sys/fs/cgroup/memory.high", "max\n"),
        ],
    );
    assert_eq!((found.cpus, found.memory_bytes), (3, 512 * MIB));
    assert_eq!(
        found.because,
        "3 CPUs (quota of 2.500 in /sys/fs/cgroup/cpu.max), \
         512 MiB of memory (limit in /sys/fs/cgroup/memory.max)"
    );
}

#[test]
fn the_tightest_of_nested_groups_holds() {
    let found = of(
        16,
        &[
            MEMINFO,
            MOUNT_V2,
            ("proc/self/cgroup", "0::/pods/one/main\n"),
            ("sys/fs/cgroup/pods/one/main/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/pods/one/main/memory.max", "max\n"),
            ("sys/fs/cgroup/pods/one/cpu.max", "400000 100000\n"),
            ("sys/fs/cgroup/pods/one/memory.max", "2147483648\n"),
            ("sys/fs/cgroup/pods/memory.high", "1073741824\n"),
            ("sys/fs/cgroup/pods/cpu.max", "1000000 100000\n"),
        ],
    );
    assert_eq!((found.cpus, found.memory_bytes), (4, 1024 * MIB));
}

#[test]
fn groups_of_version_1_are_found_through_their_own_mounts() {
    let found = of(
        8,
        &[
            MEMINFO,
            MOUNTS_V1,
            ("proc/self/cgroup", "5:memory:/pods/a/x\n4:cpu,cpuacct:/pods/a/x\n0::/\n"),
            ("sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n"),
        ],
    );
    assert_eq!((found.cpus, found.memory_bytes), (1, 256 * MIB));
}

#[test]
fn without_limits_the_machine_counts() {
    let found = of(
        6,
        &[
            MEMINFO,
            MOUNT_V2,
            ("proc/self/cgroup", "0::/\n"),
            ("sys/fs/cgroup/cpu.max", "9900000 100000\n"),
            ("sys/fs/cgroup/memory.max", "12884901888\n"),
        ],
    );
    assert_eq!((found.cpus, found.memory_bytes), (6, 8192 * MIB));
    assert_eq!(
        found.because,
        "6 CPUs (all it may run on), 8192 MiB of memory (all that is available)"
    );
}

#[test]
fn a_system_that_tells_nothing_still_gives_an_answer() {
    let found = of(0, &[]);
    assert_eq!((found.cpus, found.memory_bytes), (1, UNKNOWN_MEMORY));
    let here = Resources::detect();
    assert!(here.cpus >= 1 && here.memory_bytes > 0 && !here.because.contains('\n'), "{here:?}");
}

#[test]
fn buffers_follow_cpus_within_the_memory() {
    let buffers = |cpus, memory_mib: u64| {
        let because = String::new();
        let memory_bytes = memory_mib * MIB;
        Resources { cpus, memory_bytes, buffer_bytes: None, most_rows: None, because }.buffers()
            as u64
            / MIB
    };
    assert_eq!(buffers(1, 4096), 16);
    assert_eq!(buffers(2, 4096), 24);
    assert_eq!(buffers(8, 4096), 72);
    assert_eq!(buffers(8, 512), 64);
    assert_eq!(buffers(2, 128), 16);
    assert_eq!(buffers(2, 64), 8);
    assert_eq!(buffers(500, 1 << 20), 1024);
    let mut chosen = of(2, &[MEMINFO]);
    chosen.buffer_bytes = Some(7);
    assert_eq!(chosen.buffers(), 7);
}
