//! Control groups of both versions: which ones this process is in, and their limits.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// One directory of the control group file system.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Group {
    directory: PathBuf,
    /// Below the root, for explanations.
    name: String,
}

/// A limit and the file that sets it. CPUs are in thousandths.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Limit {
    pub(super) amount: u64,
    pub(super) from: String,
}

/// Where a hierarchy is mounted, and which part of it is visible there.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    controllers: Vec<String>,
    root: String,
    point: String,
}

/// No v1 limit: the largest number of pages.
const UNLIMITED_V1: u64 = 1 << 62;

/// Every group of this process, own ones before those above them.
pub(super) fn groups(root: &Path) -> Vec<Group> {
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let mounts = parse_mounts(&read("proc/self/mountinfo"));
    let mut groups = Vec::new();
    for (controllers, path) in parse_membership(&read("proc/self/cgroup")) {
        for mount in mounts.iter().filter(|mount| {
            mount.controllers.is_empty() == controllers.is_empty()
                && controllers.iter().all(|controller| mount.controllers.contains(controller))
        }) {
            for name in visible(mount, path) {
                let directory = root.join(name.trim_start_matches('/'));
                groups.push(Group { directory, name });
            }
        }
    }
    groups
}

impl Group {
    pub(super) fn cpu_limit(&self) -> Option<Limit> {
        let limit = |milli: Option<u64>, file: &str| {
            Some(Limit { amount: milli?, from: format!("{}/{file}", self.name) })
        };
        if let Some(text) = self.read("cpu.max") {
            return limit(parse_cpu_max(&text), "cpu.max");
        }
        let quota = self.read("cpu.cfs_quota_us")?;
        let period = self.read("cpu.cfs_period_us")?;
        limit(parse_cpu_max(&format!("{} {}", quota.trim(), period.trim())), "cpu.cfs_quota_us")
    }

    pub(super) fn memory_limit(&self) -> Option<Limit> {
        ["memory.max", "memory.high", "memory.limit_in_bytes"]
            .iter()
            .filter_map(|file| {
                let amount = parse_bytes(&self.read(file)?)?;
                Some(Limit { amount, from: format!("{}/{file}", self.name) })
            })
            .min_by_key(|limit| limit.amount)
    }

    fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.directory.join(file)).ok()
    }
}

/// Lines `id:controllers:path`; version 2 is the one without controllers.
fn parse_membership(text: &str) -> Vec<(Vec<String>, &str)> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (_id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            let controllers = controllers.split(',').filter(|name| !name.is_empty());
            Some((controllers.map(str::to_owned).collect(), path))
        })
        .collect()
}

/// Lines `id parent dev root point options … - type source super-options`.
fn parse_mounts(text: &str) -> Vec<Mount> {
    text.lines()
        .filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let mut left = left.split(' ').skip(3);
            let (root, point) = (left.next()?.to_owned(), left.next()?.to_owned());
            let mut right = right.split(' ');
            let controllers = match right.next()? {
                "cgroup2" => Vec::new(),
                // The source is free text; only the last field lists the controllers.
                "cgroup" => right.next_back()?.split(',').map(str::to_owned).collect(),
                _ => return None,
            };
            Some(Mount { controllers, root, point })
        })
        .collect()
}

/// The directories of group `path` and those above it, as far as the mount shows them.
fn visible(mount: &Mount, path: &str) -> Vec<String> {
    let below = if mount.root == "/" {
        path
    } else {
        // A group outside what is mounted (a container without its own name space): what is
        // mounted is then this container's.
        path.strip_prefix(mount.root.as_str())
            .filter(|rest| rest.is_empty() || rest.starts_with('/'))
            .unwrap_or("")
    };
    let below = if below.split('/').any(|part| part == "..") { "" } else { below };
    let mut names = Vec::new();
    let mut name = format!("{}{}", mount.point, below.trim_end_matches('/'));
    while name.len() > mount.point.len() {
        let above = name.rfind('/').unwrap_or(0);
        let shorter = name[..above].to_owned();
        names.push(std::mem::replace(&mut name, shorter));
    }
    names.push(mount.point.clone());
    names
}

/// `quota period` in thousandths of a CPU; `max` and `-1` are no limit.
fn parse_cpu_max(text: &str) -> Option<u64> {
    let mut fields = text.split_ascii_whitespace();
    let quota: u64 = fields.next()?.parse().ok()?;
    let period: u64 = fields.next().map_or(Ok(100_000), str::parse).ok()?;
    (quota > 0).then(|| quota.saturating_mul(1000).checked_div(period)).flatten()
}

fn parse_bytes(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|bytes| *bytes > 0 && *bytes < UNLIMITED_V1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_thousandths_of_a_cpu() {
        for (text, want) in [
            ("200000 100000\n", Some(2000)),
            ("150000 100000", Some(1500)),
            ("50000 100000", Some(500)),
            ("25000", Some(250)),
            ("max 100000\n", None),
            ("-1 100000", None),
            ("0 100000", None),
            ("1 0", None),
            ("", None),
        ] {
            assert_eq!(parse_cpu_max(text), want, "{text:?}");
        }
    }

    #[test]
    fn an_unlimited_memory_is_none() {
        assert_eq!(parse_bytes("536870912\n"), Some(536_870_912));
        for text in ["max\n", "9223372036854771712\n", "0", "", "1.5G"] {
            assert_eq!(parse_bytes(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_groups_above_count_as_far_as_they_are_mounted() {
        let mount = |root: &str| Mount {
            controllers: Vec::new(),
            root: root.to_owned(),
            point: "/sys/fs/cgroup".to_owned(),
        };
        let point = "/sys/fs/cgroup";
        assert_eq!(visible(&mount("/"), "/"), [point]);
        assert_eq!(
            visible(&mount("/"), "/pods/one"),
            ["/sys/fs/cgroup/pods/one", "/sys/fs/cgroup/pods", point]
        );
        assert_eq!(
            visible(&mount("/pods"), "/pods/one"),
            ["/sys/fs/cgroup/one", point],
            "the mount shows a part"
        );
        assert_eq!(visible(&mount("/pods/one"), "/pods/one"), [point]);
        assert_eq!(visible(&mount("/pods/one"), "/pods/oneself"), [point]);
        assert_eq!(visible(&mount("/pods/one"), "/elsewhere"), [point]);
        assert_eq!(visible(&mount("/"), "/../../above"), [point]);
    }
}
