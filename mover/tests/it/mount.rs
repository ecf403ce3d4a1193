//! Snapshots as a file system, where this machine lets us mount one.

use std::{
    ffi::CString,
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    mount::{UnmountFlags, unmount},
    process::{Pid, Signal, kill_process},
};
use windlass_testkit::{
    compare::{Aspect, compare},
    tree,
};

use crate::place::{NOBODY, Place, files, noise, skipped};

/// A running `windlass mount`.
struct Mounted {
    child: Child,
    at: PathBuf,
}

impl Mounted {
    fn start(place: &Place, args: &[&str]) -> Self {
        let at = place.path("mounted");
        fs::create_dir_all(&at).expect("made");
        Self::of(place.command(&[&["mount", "mounted"], args].concat()), at)
    }

    fn of(mut command: Command, at: PathBuf) -> Self {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
        let mut mounted = Self { child, at };
        let mut line = String::new();
        let out = mounted.child.stdout.as_mut().expect("a pipe");
        BufReader::new(out).read_line(&mut line).expect("a line");
        if !line.starts_with("snapshots are mounted at") {
            panic!("{line} {}", mounted.complaints());
        }
        mounted
    }

    fn complaints(&mut self) -> String {
        let mut err = String::new();
        self.child.stderr.take().expect("a pipe").read_to_string(&mut err).expect("UTF-8");
        err
    }

    /// The end of the program, and what it had to complain of.
    fn ended(&mut self) -> (Option<i32>, String) {
        let began = Instant::now();
        let code = self.child.wait().expect("ends").code();
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        (code, self.complaints())
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("sent");
    }

    fn is_mounted(&self) -> bool {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("told");
        mounts.contains(&format!(" {} ", self.at.display()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ended_already = (self.child.kill(), self.child.wait());
        let _not_mounted = unmount(&self.at, UnmountFlags::DETACH);
    }
}

/// Whether this test can mount anything; otherwise it says why not.
fn can_mount() -> bool {
    if !rustix::process::geteuid().is_root() {
        skipped("mounting in a test takes root");
        return false;
    }
    // In a container there may be neither the device nor the right to mount.
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    const SYS_ADMIN: u64 = 1 << 21;
    if effective.is_none_or(|mask| mask & SYS_ADMIN == 0) {
        skipped("mounting takes CAP_SYS_ADMIN");
        return false;
    }
    match File::options().read(true).write(true).open("/dev/fuse") {
        Ok(_device) => true,
        Err(error) => {
            skipped(&format!("/dev/fuse: {error}"));
            false
        }
    }
}

#[test]
fn every_byte_and_attribute_is_as_it_was_saved() {
    if !can_mount() {
        return;
    }
    let place = Place::with_repository();
    let options = tree::Options { seed: 77, entries: 250, ..tree::Options::default() };
    tree::grow(&place.path("src"), &options).expect("grown");
    place.write("src/large", &noise(2, 12_000_000));
    place.done(&["backup", "src"]);
    let mut mounted = Mounted::start(&place, &[]);
    assert_eq!(files(&place.path("repo/locks")).len(), 1, "others can see it");
    let shown = mounted.at.join("snapshots/latest/src");
    let differing = compare(&place.path("src"), &shown).expect("compared");
    assert_eq!(differing, []);
    let differing = compare(&place.path("src"), &shown).expect("from what the kernel keeps");
    assert_eq!(differing, []);

    let names = |path: &Path| {
        let entries = fs::read_dir(path).expect("a directory");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("one").file_name().into_string().expect("UTF-8"))
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(&mounted.at), ["hosts", "ids", "snapshots", "tags"]);
    let id = place.snapshots()[0]["short_id"].as_str().expect("an id").to_owned();
    assert_eq!(names(&mounted.at.join("ids")), [id]);
    assert_eq!(
        fs::read_link(mounted.at.join("snapshots/latest")).expect("a link").as_os_str().len(),
        names(&mounted.at.join("snapshots"))[0].len()
    );
    fs::write(mounted.at.join("ids/new"), "x").expect_err("read only");
    fs::write(shown.join("large"), "x").expect_err("read only");

    // What comes later is shown without mounting again.
    place.write("src/large", b"changed");
    place.done(&["backup", "src"]);
    let began = Instant::now();
    while names(&mounted.at.join("ids")).len() < 2 {
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", names(&mounted.at.join("ids")));
        thread::sleep(Duration::from_millis(200));
    }
    while fs::read(shown.join("large")).expect("read") != b"changed" {
        assert!(began.elapsed() < Duration::from_secs(30), "latest is the old one");
        thread::sleep(Duration::from_millis(200));
    }
    // Two snapshots of one file are two files to whoever compares them.
    let inodes: std::collections::BTreeSet<u64> = names(&mounted.at.join("ids"))
        .iter()
        .map(|id| mounted.at.join("ids").join(id).join("src/a"))
        .map(|path| fs::metadata(path).expect("there").ino())
        .collect();
    assert_eq!(inodes.len(), 2);

    mounted.signal(Signal::TERM);
    assert_eq!(mounted.ended(), (Some(0), String::new()));
    assert!(!mounted.is_mounted() && fs::read_dir(&mounted.at).expect("free").next().is_none());
    assert!(files(&place.path("repo/locks")).is_empty());
}

#[test]
fn whatever_ends_it_no_dead_mount_stays() {
    if !can_mount() {
        return;
    }
    let place = Place::with_repository();
    place.done(&["backup", "src"]);

    // Somebody else unmounts it.
    let mut mounted = Mounted::start(&place, &["--owner-root", "--path-template", "all/%T"]);
    let top = fs::metadata(mounted.at.join("all/latest")).expect("there");
    assert_eq!((top.uid(), top.gid(), top.mode() & 0o7777), (0, 0, 0o555));
    unmount(&mounted.at, UnmountFlags::empty()).expect("unmounted");
    assert_eq!(mounted.ended(), (Some(0), String::new()));

    // Somebody has a file open.
    let mut mounted = Mounted::start(&place, &["--allow-other"]);
    let open = File::open(mounted.at.join("snapshots/latest/src/a")).expect("opened");
    mounted.signal(Signal::INT);
    assert_eq!(mounted.ended(), (Some(0), String::new()));
    assert!(!mounted.is_mounted());
    drop(open);
    assert!(files(&place.path("repo/locks")).is_empty());

    // It is killed: the next one says what to do, and is not in the way of anything.
    let mounted = Mounted::start(&place, &[]);
    mounted.signal(Signal::KILL);
    let began = Instant::now();
    while fs::metadata(&mounted.at).is_ok() && began.elapsed() < Duration::from_secs(5) {
        thread::sleep(Duration::from_millis(20));
    }
    place.run(&["mount", "mounted"]).refused(1, &["program that is gone", "umount"]);
    drop(mounted);
    assert!(fs::read_dir(place.path("mounted")).expect("free").next().is_none());
}

#[test]
fn what_cannot_be_mounted_is_refused_with_a_reason() {
    let place = Place::with_repository();
    for (at, word) in [
        ("nowhere", "nowhere"),
        ("src/a", "not a directory"),
        ("repo", "in each other"),
        ("repo/data", "in each other"),
        (".", "in each other"),
    ] {
        place.run(&["mount", at]).refused(1, &[word]);
    }
    place.run(&["mount", "src", "--time-template="]).refused(1, &["time template"]);
    assert!(files(&place.path("repo/locks")).is_empty());
}

#[test]
fn damage_is_an_error_of_what_is_damaged() {
    if !can_mount() {
        return;
    }
    let place = Place::with_repository();
    place.write("src/d/b", &noise(4, 3_000_000));
    place.done(&["backup", "src", "--compression", "off"]);
    let largest = files(&place.path("repo/data"));
    let largest = largest.iter().max_by_key(|path| fs::metadata(path).expect("there").len());
    let largest = largest.expect("a pack");
    let mut bytes = fs::read(largest).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(largest, bytes).expect("written");
    let mut mounted = Mounted::start(&place, &[]);
    let shown = mounted.at.join("snapshots/latest/src");
    let error = fs::read(shown.join("d/b")).expect_err("damaged");
    assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()));
    let differing = compare(&place.path("src"), &shown);
    assert!(
        differing.is_err()
            || differing.is_ok_and(|all| all.iter().all(|one| one.aspect == Aspect::Content))
    );
    assert_eq!(fs::read(shown.join("a")).expect("whole"), b"first");
    mounted.signal(Signal::TERM);
    let (code, err) = mounted.ended();
    assert!(code == Some(0) && err.contains("damaged"), "{err}");
}

/// A command as somebody without privileges, in mounts of its own where everybody may open the
/// device: in a container it may be root's alone, and a test leaves it as it is.
fn as_somebody(place: &Place, command: &Command) -> Command {
    const SCRIPT: &str = "mount --bind \"$0\" /dev/fuse && exec \"$@\"";
    let mut own = Command::new("unshare");
    own.args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT]).arg(place.path("fuse"));
    own.args(unprivileged()).arg(command.get_program()).args(command.get_args());
    own.current_dir(place.dir.path()).stdin(Stdio::null()).env_clear().env("PATH", env!("PATH"));
    own.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    own
}

fn unprivileged() -> [String; 4] {
    let id = NOBODY.to_string();
    ["setpriv".into(), format!("--reuid={id}"), format!("--regid={id}"), "--clear-groups".into()]
}

#[test]
fn somebody_without_privileges_mounts_through_the_program_that_may() {
    if !can_mount() {
        return;
    }
    let can_run = |program: &str| Command::new(program).arg("--version").output().is_ok();
    if let Some(missing) =
        ["fusermount3", "unshare", "nsenter", "setpriv"].into_iter().find(|name| !can_run(name))
    {
        return skipped(&format!("mounting without root takes {missing}"));
    }
    let place = Place::with_repository();
    place.write("src/large", &noise(2, 3_000_000));
    place.done(&["backup", "src"]);
    place.as_nobody(&mut Command::new("true"));
    let device = CString::new(place.path("fuse").as_os_str().as_bytes()).expect("a path");
    let (kind, mode) = (rustix::fs::FileType::CharacterDevice, rustix::fs::Mode::from(0o666));
    let number = rustix::fs::makedev(10, 229);
    rustix::fs::mknodat(rustix::fs::CWD, &device, kind, mode, number).expect("a device");
    rustix::fs::chmod(&device, mode).expect("for all");
    let at = place.path("mounted");
    fs::create_dir(&at).expect("made");
    std::os::unix::fs::chown(&at, Some(NOBODY), Some(NOBODY)).expect("theirs");

    // Letting others in is for the administrator to allow.
    let conf = fs::read_to_string("/etc/fuse.conf").unwrap_or_default();
    if !conf.lines().any(|line| line.trim() == "user_allow_other") {
        let all = place.command_for_all(&["mount", "mounted", "--allow-other"]);
        let said = crate::place::Said::of(&mut as_somebody(&place, &all));
        said.refused(1, &["user_allow_other", "/etc/fuse.conf"]);
    }

    let command = place.command_for_all(&["mount", "mounted"]);
    let mut mounted = Mounted::of(as_somebody(&place, &command), at.clone());
    let pid = mounted.child.id();
    let mounts = |pid: u32| fs::read_to_string(format!("/proc/{pid}/mounts")).expect("told");
    let line =
        mounts(pid).lines().find(|line| line.contains(&*at.to_string_lossy())).map(str::to_owned);
    let line = line.expect("it is mounted");
    assert!(line.contains("fuse.windlass") && line.contains("nosuid"), "{line}");
    assert!(line.contains(&format!("user_id={NOBODY}")), "{line}");
    assert!(!mounted.is_mounted(), "it is theirs alone");
    let inside = |words: &[&str]| {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--target", &pid.to_string()]).args(unprivileged());
        command.args(words).current_dir("/").stdin(Stdio::null());
        command
    };
    let large = at.join("snapshots/latest/src/large");
    let large = large.to_str().expect("UTF-8");
    let shown = inside(&["cat", large]).output().expect("runs");
    assert!(shown.status.success() && shown.stdout == noise(2, 3_000_000), "{:?}", shown.stderr);

    // Somebody has a file open, and waits for nothing but the end of its input.
    let mut holder = inside(&["sh", "-c", "exec 3<\"$0\"; echo open; read end", large]);
    let mut holder = holder.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("runs");
    let mut said = String::new();
    let out = holder.stdout.as_mut().expect("a pipe");
    BufReader::new(out).read_line(&mut said).expect("a line");
    assert_eq!(said, "open\n");
    mounted.signal(Signal::TERM);
    assert_eq!(mounted.ended(), (Some(0), String::new()));
    assert!(!mounts(holder.id()).contains(&*at.to_string_lossy()), "no dead mount stays");
    drop(holder.stdin.take());
    holder.wait().expect("ends");
    assert!(files(&place.path("repo/locks")).is_empty());
}
