//! How much memory and time does an index of millions of chunks take?
//!
//! For each size a repository in a directory gets index files of chunks that nobody has. Then, each
//! in a process of its own: an unchanged backup of a small directory with no cache, with an empty
//! one (the table is made), with a warm one, look-ups of chunks that are there and that are not,
//! and a prune that lets go of all of them. Beside them restic's unchanged backup and prune, where
//! it is on the PATH. Prints a table.
//!
//! Then a repository whose snapshots need all of five million chunks, with few and with many
//! snapshots: what prune takes that finds nothing to do, and check. Only that with the word
//! `snapshots` behind `--`.
//!
//! The key is derived at the lowest cost, so that the times are those of the index.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use windlass_benches::repository::{runtime, scratch};
use windlass_engine::{
    backup,
    cancel::Cancel,
    check,
    model::chunk::ChunkKey,
    monitor::Silent,
    protocol::{Access, restic::OpenOptions},
    reclaim,
    repository::{Environment, Place, Repository},
    store::{cache::CacheOptions, trace::Observer},
};
use windlass_format::{restic::config::Version, secret::Password};
use windlass_testkit::{
    bare, forest,
    segments::{CHUNKS_OF_SEGMENT, chunk, segment},
};

const MILLIONS: [u64; 2] = [1, 5];
const LOOKUPS: u64 = 100_000;
const IN_USE: u64 = 5_000_000;
const SNAPSHOTS: [u64; 2] = [10, 1000];
const MODE: &str = "WINDLASS_BENCH_INDEX";

/// A repository that opens at once, with index files of so many chunks.
fn create(at: &Path, chunks: u64) {
    bare::write(at, Version::V2);
    let master = bare::master();
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let master = &master;
            scope.spawn(move || {
                for number in (thread..chunks / CHUNKS_OF_SEGMENT).step_by(threads as usize) {
                    let numbers = number * CHUNKS_OF_SEGMENT..(number + 1) * CHUNKS_OF_SEGMENT;
                    let (name, sealed) = segment(master, numbers);
                    fs::write(at.join(name), sealed).expect("written");
                }
            });
        }
    });
}

struct Room {
    dir: PathBuf,
}

impl Room {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    async fn open(&self, with_cache: bool) -> Repository {
        self.open_at("repository", with_cache).await
    }

    async fn open_at(&self, name: &str, with_cache: bool) -> Repository {
        let base = self.path("cache");
        let observer = Observer::default();
        let cache = CacheOptions { base, objects: false, limit_bytes: None, observer };
        let options = OpenOptions { cache: with_cache.then_some(cache), ..OpenOptions::default() };
        let place = Place::local(self.path(name));
        let password = Password::new(bare::PASSWORD);
        let environment = Environment::system();
        Repository::open(&place, &password, &options, environment).await.expect("opened")
    }

    async fn prune(&self, repository: &Repository, limits: reclaim::Limits) {
        let options = reclaim::Options {
            limits,
            most_time: None,
            dry_run: false,
            without: Vec::new(),
            pack_bytes: 16 << 20,
            announcement: bare::announcement(Access::Shared),
            unannounced: false,
            recover_space: false,
        };
        let (monitor, cancel) = (Arc::new(Silent::default()), Cancel::new());
        let pruned = reclaim::run(repository, &options, monitor, &cancel, |_forecast| {});
        pruned.await.expect("pruned");
    }

    async fn check(&self, repository: &Repository) {
        let options = check::Options { read: check::Read::Nothing, only: None };
        let (monitor, cancel) = (Arc::new(Silent::default()), Cancel::new());
        let checked = check::run(repository, &options, monitor, &cancel, |_finding| {}).await;
        let findings = checked.expect("checked").findings;
        assert!(findings.is_empty(), "{findings:?}");
    }

    async fn back_up(&self, repository: &Repository) {
        let options = backup::Options::new(vec![self.path("source")], "host".into());
        let monitor = Arc::new(Silent::default());
        backup::run(repository, options, monitor, &Cancel::new()).await.expect("backed up");
    }

    /// Runs this program again for one figure: seconds and peak memory in MiB.
    fn measured(&self, mode: &str) -> (f64, f64) {
        let program = std::env::current_exe().expect("a path");
        let output = Command::new(program)
            .env(MODE, mode)
            .current_dir(&self.dir)
            .stderr(Stdio::inherit())
            .output()
            .expect("started");
        assert!(output.status.success(), "{mode}");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let mut numbers = text.split_ascii_whitespace().map(|it| it.parse().expect("a number"));
        (numbers.next().expect("seconds"), numbers.next().expect("MiB"))
    }
}

/// One figure, in a process of its own.
#[expect(clippy::print_stdout, reason = "the figures go to the process that asked")]
fn measure(mode: &str) {
    windlass_engine::heap::return_large_blocks();
    let room = Room { dir: std::env::current_dir().expect("a directory") };
    let runtime = runtime();
    let began = Instant::now();
    let seconds = match mode {
        "restic backup" | "restic prune" => {
            let words: &[&str] = match mode {
                "restic backup" => &["-r", "repository", "backup", "source"],
                _ => &["-r", "again", "prune"],
            };
            let status = Command::new("restic")
                .args(words)
                .args(["--cache-dir", "restic-cache"])
                .env("RESTIC_PASSWORD", bare::PASSWORD)
                .stdout(Stdio::null())
                .status()
                .expect("restic runs");
            assert!(status.success());
            let seconds = began.elapsed();
            let usage = nix::sys::resource::UsageWho::RUSAGE_CHILDREN;
            let usage = nix::sys::resource::getrusage(usage).expect("a usage");
            println!("{} {}", seconds.as_secs_f64(), usage.max_rss() as f64 / 1024.0);
            return;
        }
        "present" | "absent" => {
            let repository = runtime.block_on(room.open(true));
            let index = runtime.block_on(repository.index()).expect("an index");
            let first = if mode == "present" { 0 } else { u64::MAX - LOOKUPS };
            let keys: Vec<ChunkKey> =
                (0..LOOKUPS).map(|at| ChunkKey::full(0, chunk(first + at * 7 % LOOKUPS))).collect();
            let began = Instant::now();
            let found = keys.iter().filter(|key| index.find(key).is_some()).count() as u64;
            assert!(found == 0 || found == LOOKUPS, "{found}");
            began.elapsed()
        }
        "open" => {
            let repository = runtime.block_on(room.open(true));
            runtime.block_on(repository.index()).expect("an index");
            began.elapsed()
        }
        "prune" => {
            let repository = runtime.block_on(room.open(true));
            runtime.block_on(room.prune(&repository, reclaim::Limits::default()));
            began.elapsed()
        }
        "prune nothing" => {
            let repository = runtime.block_on(room.open_at("forest", true));
            // All packs are small, and holes cannot be joined.
            let limits = reclaim::Limits { small_pack_bytes: Some(1), ..Default::default() };
            runtime.block_on(room.prune(&repository, limits));
            began.elapsed()
        }
        "check" => {
            let repository = runtime.block_on(room.open_at("forest", true));
            runtime.block_on(room.check(&repository));
            began.elapsed()
        }
        _ => {
            let repository = runtime.block_on(room.open(mode == "cached"));
            runtime.block_on(room.back_up(&repository));
            began.elapsed()
        }
    };
    let status = fs::read_to_string("/proc/self/status").expect("a status");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let peak: f64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    println!("{} {}", seconds.as_secs_f64(), peak / 1024.0);
}

fn main() {
    // Only listed by the test runner, never run by it.
    if std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        return;
    }
    if let Ok(mode) = std::env::var(MODE) {
        return measure(&mode);
    }
    if !std::env::args().any(|argument| argument == "snapshots") {
        sizes();
    }
    snapshots();
}

/// How time and memory grow with the number of snapshots.
#[expect(clippy::print_stdout, reason = "the table is the purpose")]
fn snapshots() {
    println!("| snapshots | work | seconds | peak MiB |\n|---|---|---|---|");
    for snapshots in SNAPSHOTS {
        let dir = scratch();
        let room = Room { dir: dir.path().to_owned() };
        bare::write(&room.path("forest"), Version::V2);
        forest::write(&room.path("forest"), &bare::master(), IN_USE, snapshots);
        for (mode, work) in [("prune nothing", "prune, nothing to do"), ("check", "check")] {
            let (seconds, peak) = room.measured(mode);
            println!("| {snapshots} | {work} | {seconds:.3} | {peak:.0} |");
        }
    }
}

/// How they grow with the number of chunks.
#[expect(clippy::print_stdout, reason = "the table is the purpose")]
fn sizes() {
    let has_restic = Command::new("restic").arg("version").output().is_ok();
    println!("| millions of chunks | work | seconds | peak MiB |\n|---|---|---|---|");
    for millions in MILLIONS {
        let dir = scratch();
        let room = Room { dir: dir.path().to_owned() };
        create(&room.path("repository"), millions * 1_000_000);
        fs::create_dir(room.path("source")).expect("made");
        for file in 0..100 {
            fs::write(room.path("source").join(file.to_string()), file.to_string()).expect("made");
        }
        let row = |work: &str, (seconds, peak): (f64, f64)| {
            println!("| {millions} | {work} | {seconds:.3} | {peak:.0} |");
        };
        let _first = room.measured("plain");
        row("unchanged backup, no cache", room.measured("plain"));
        row("unchanged backup, the table is made", room.measured("cached"));
        row("unchanged backup, warm", room.measured("cached"));
        row("open and load, warm", room.measured("open"));
        for (mode, what) in [("present", "there"), ("absent", "not there")] {
            let (seconds, peak) = room.measured(mode);
            let each = Duration::from_secs_f64(seconds / LOOKUPS as f64).as_nanos();
            println!("| {millions} | a look-up of what is {what} | {each} ns | {peak:.0} |");
        }
        if has_restic {
            let _first = room.measured("restic backup");
            row("unchanged backup by restic, warm", room.measured("restic backup"));
            create(&room.path("again"), millions * 1_000_000);
        }
        row("prune of all", room.measured("prune"));
        if has_restic {
            row("prune of all by restic", room.measured("restic prune"));
        }
    }
}
