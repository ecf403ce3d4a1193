//! `cargo xtask image --try`: the image's files, run as a pod runs them, on real data.
//!
//! Invariants
//! - The mover is the first process of its own namespaces, its root is read-only, its user has no
//!   name; where a control group for memory may be made, it has 128 MiB.
//! - What it restores is compared with the original.
//! - The only names it knows are those in a file: a static program must find servers without a
//!   library that is loaded when it runs.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::rootfs;
use crate::compare::{sameness, scratch::Scratch};
use crate::tree::{self, Shape};
use crate::workspace;

const MEMORY_BYTES: u64 = 128 << 20;
const IMAGE_BYTES: u64 = 30 << 20;
const GRACE: Duration = Duration::from_secs(10);
const VOLUMES: [&str; 4] = ["data", "cache", "repository", "tmp"];
/// Somebody without an entry in `passwd`.
const USER: &str = "12345:12346";

/// Mounts as the container runtime does, and becomes the mover.
const BECOME: &str = r#"set -e
root=$1 volumes=$2 user=$3 group=$4; shift 4
if [ -n "$group" ]; then echo $$ > "$group/cgroup.procs"; fi
mount --make-rprivate /
mount --bind "$root" "$root"
mount --bind /dev "$root/dev"
for volume in data cache repository tmp; do mount --bind "$volumes/$volume" "$root/$volume"; done
mount -o remount,bind,ro "$root"
exec chroot --userspec="$user" --groups= "$root" "$@"
"#;

/// A pod with its volumes.
struct Pod {
    scratch: Scratch,
    root: PathBuf,
    group: Option<Group>,
}

/// A control group for memory.
struct Group(PathBuf);

/// Builds the files and runs them.
pub(super) fn run(profile: &str) -> Result<(), String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("only root may mount and become somebody else".into());
    }
    let (files, root) = rootfs::in_scratch(profile)?;
    fs::create_dir(root.join("repository")).map_err(|error| error.to_string())?;
    println!("compressed: {:.1} MiB", compressed(&root)? as f64 / 1024.0 / 1024.0);
    let pod = Pod::new(root)?;
    let result = pod.try_all();
    drop(pod);
    drop(files);
    result
}

/// Bytes of the image as a registry keeps it.
fn compressed(root: &Path) -> Result<u64, String> {
    let archive = root.with_extension("tar.gz");
    let mut tar = Command::new("tar");
    tar.args(["-czf"]).arg(&archive).arg("-C").arg(root).arg(".");
    workspace::run(&mut tar)?;
    let bytes = archive.metadata().map_err(|error| error.to_string())?.len();
    match bytes <= IMAGE_BYTES {
        true => Ok(bytes),
        false => Err(format!("the image has {bytes} bytes compressed")),
    }
}

impl Pod {
    fn new(root: PathBuf) -> Result<Self, String> {
        let scratch = Scratch::new(&std::env::temp_dir())?;
        for volume in VOLUMES {
            let path = scratch.path().join(volume);
            fs::create_dir(&path).map_err(|error| format!("{volume}: {error}"))?;
        }
        let pod = Self { group: Group::new(), root, scratch };
        match &pod.group {
            Some(group) => println!("within 128 MiB: {}", group.0.display()),
            None => println!("no control group for memory may be made: without a limit"),
        }
        Ok(pod)
    }

    fn volume(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// The mover, once everything is mounted.
    fn mover(&self, words: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", BECOME, "become"]);
        command.arg(&self.root).arg(self.scratch.path()).arg(USER);
        command.arg(self.group.as_ref().map(|group| group.0.clone()).unwrap_or_default());
        command.arg("/mover-restic/entry.sh").args(words).env_clear();
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("PRIVILEGED_MOVER", "0");
        command.env("DATA_DIR", "/data").env("RESTIC_CACHE_DIR", "/cache");
        command.env("RESTIC_REPOSITORY", "/repository").env("RESTIC_PASSWORD", "correct horse");
        command.env("FORGET_OPTIONS", "--keep-last 1").stdin(Stdio::null());
        command
    }

    fn done(&self, words: &[&str]) -> Result<(), String> {
        let began = Instant::now();
        workspace::run(self.mover(words).stdout(Stdio::null()))?;
        println!("{}: {:.2} s", words.join(" "), began.elapsed().as_secs_f64());
        Ok(())
    }

    fn own(&self) -> Result<(), String> {
        let mut chown = Command::new("chown");
        workspace::run(chown.args(["-R", USER]).args(VOLUMES.map(|name| self.volume(name))))
    }

    fn try_all(&self) -> Result<(), String> {
        tree::generate(&self.volume("data").join("tree"), Shape { files: 5_000, seed: 1 })?;
        tree::incompressible(&self.volume("data").join("large"), 300 << 20, 2)?;
        self.own()?;
        self.finds_a_server_by_name()?;
        self.stop_and_go_on()?;
        self.done(&["backup", "prune"])?;
        let kept = self.volume("kept");
        let failed = |error: std::io::Error| error.to_string();
        fs::rename(self.volume("data"), &kept).map_err(failed)?;
        fs::create_dir(self.volume("data")).map_err(failed)?;
        self.own()?;
        self.done(&["restore"])?;
        let mut different = sameness::differences(&kept, &self.volume("data"))?;
        different.retain(|it| it.is_data);
        if let Some(first) = different.first() {
            return Err(format!("{} differences, first {first}", different.len()));
        }
        if let Some(peak) = self.group.as_ref().and_then(Group::peak_bytes) {
            println!("peak of the control group: {:.1} MiB", peak as f64 / 1024.0 / 1024.0);
        }
        Ok(())
    }

    /// Asks a server that only the pod's own table of names leads to.
    fn finds_a_server_by_name(&self) -> Result<(), String> {
        const NAME: &str = "store.test";
        let failed = |error: std::io::Error| error.to_string();
        fs::write(self.root.join("etc/hosts"), format!("127.0.0.1 {NAME}\n")).map_err(failed)?;
        let server = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
        let port = server.local_addr().map_err(failed)?.port();
        let mut mover = self.mover(&["backup"]);
        mover.env("RESTIC_REPOSITORY", format!("rest:http://{NAME}:{port}/"));
        let mut child =
            mover.stdout(Stdio::null()).stderr(Stdio::null()).spawn().map_err(failed)?;
        server.set_nonblocking(true).map_err(failed)?;
        let began = Instant::now();
        let asked = loop {
            let is_over = child.try_wait().map_err(failed)?.is_some();
            match server.accept() {
                Ok(_caller) => break true,
                Err(_) if is_over || began.elapsed() > GRACE => break false,
                Err(_nobody_yet) => sleep(Duration::from_millis(10)),
            }
        };
        child.kill().map_err(failed)?;
        child.wait().map_err(failed)?;
        match asked {
            true => Ok(()),
            false => Err(format!("the mover did not find {NAME}")),
        }
    }

    /// Tells the first process of the pod to go in the middle of a backup.
    fn stop_and_go_on(&self) -> Result<(), String> {
        let failed = |error: std::io::Error| error.to_string();
        let mut child = self.mover(&["backup"]).stdout(Stdio::null()).spawn().map_err(failed)?;
        let snapshots = self.volume("repository").join("snapshots");
        let data = self.volume("repository").join("data");
        let began = Instant::now();
        while packs(&data) < 3 {
            if let Some(status) = child.try_wait().map_err(failed)? {
                return Err(format!("the mover ended before it was told to: {status}"));
            }
            if began.elapsed() > Duration::from_secs(120) {
                return Err("the mover stores nothing".into());
            }
            sleep(Duration::from_millis(10));
        }
        let first = first_process(&child)?;
        kill(Pid::from_raw(first), Signal::SIGTERM).map_err(|error| error.to_string())?;
        let began = Instant::now();
        let status = child.wait().map_err(failed)?;
        let took = began.elapsed();
        let left = fs::read_dir(self.volume("repository").join("locks")).map_err(failed)?.count();
        let made = fs::read_dir(snapshots).map_err(failed)?.count();
        if status.code() != Some(143) || took > GRACE || left > 0 || made > 0 {
            return Err(format!(
                "after SIGTERM: {status}, {took:?}, {left} locks, {made} snapshots"
            ));
        }
        println!("SIGTERM: gone after {:.2} s", took.as_secs_f64());
        Ok(())
    }
}

/// The process that was told to become the mover: the only child of the one that was started.
fn first_process(child: &Child) -> Result<i32, String> {
    let path = format!("/proc/{0}/task/{0}/children", child.id());
    let children = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let first = children.split_whitespace().next().and_then(|pid| pid.parse().ok());
    first.ok_or_else(|| "the mover has ended".into())
}

fn packs(data: &Path) -> usize {
    let Ok(directories) = fs::read_dir(data) else { return 0 };
    let files = directories.flatten().filter_map(|it| fs::read_dir(it.path()).ok());
    // What is being written has a longer name than a pack.
    files.map(|it| it.flatten().filter(|it| it.file_name().len() == 64).count()).sum()
}

impl Group {
    /// One with the limit, of whichever version the system has.
    fn new() -> Option<Self> {
        let name = format!("windlass-trial-{}", std::process::id());
        for (base, limit) in
            [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")]
        {
            let group = Self(Path::new(base).join(&name));
            let made = fs::create_dir(&group.0).is_ok();
            if made && fs::write(group.0.join(limit), MEMORY_BYTES.to_string()).is_ok() {
                return Some(group);
            }
            drop(group);
        }
        None
    }

    fn peak_bytes(&self) -> Option<u64> {
        let names = ["memory.max_usage_in_bytes", "memory.peak"];
        let text = names.iter().find_map(|name| fs::read_to_string(self.0.join(name)).ok())?;
        text.trim().parse().ok()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _was_not_made_or_is_in_use = fs::remove_dir(&self.0);
    }
}
