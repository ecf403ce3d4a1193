//! Repositories that kopia reaches through rclone, which is run as a server of files.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use windlass_engine::{
    protocol::keys::OpenError,
    store::{
        Backend, Existing, Failure, Key,
        limit::Limiter,
        rclone::files::RcloneFiles,
        settings::{Patience, RcloneFiles as Files, SecretText, StoreSettings},
        trace::Observer,
    },
};
use windlass_testkit::{
    conformance::{check_failure, listed, put},
    server::rclone::Rclone,
};

use super::{Open, assert_same, copy_tree, expected, fixture};
use crate::{reach::store, scene::runtime};

const PATIENCE: Duration = Duration::from_secs(20);

/// How rclone is run, with a remote named `there` in `scratch`.
fn settings(program: &Rclone, scratch: &Path) -> StoreSettings {
    let room = scratch.join("room");
    fs::create_dir(&room).expect("made");
    let config = format!("[there]\ntype = alias\nremote = {}\n", scratch.display());
    let mut settings = StoreSettings::default();
    settings.rclone.files = Some(Files {
        program: Some(program.program().into()),
        args: vec!["--vfs-read-chunk-size=1M".into()],
        config: Some(SecretText::new(config)),
        room,
    });
    settings
}

/// The rclone that was given its configuration in this directory.
struct Served(i32);

impl Served {
    fn find(scratch: &Path) -> Option<Self> {
        let ours = scratch.join("room").display().to_string();
        let ids = fs::read_dir("/proc")
            .expect("processes")
            .filter_map(|entry| entry.expect("an entry").file_name().to_str()?.parse::<i32>().ok());
        let said = |id: &i32| fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default();
        ids.into_iter().find(|id| said(id).contains(&ours)).map(Self)
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.0)).expect("readable")
    }

    /// The value of one of its variables.
    fn variable(&self, name: &str) -> String {
        let all = self.read("environ");
        let found = all.split('\0').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
        found.expect("set").to_owned()
    }

    /// The ports on loopback where it listens, and whether it does so elsewhere.
    fn ports(&self) -> Vec<u16> {
        let links = fs::read_dir(format!("/proc/{}/fd", self.0)).expect("descriptors");
        let links: Vec<_> = links
            .filter_map(|entry| fs::read_link(entry.expect("an entry").path()).ok())
            .map(|link| link.display().to_string())
            .collect();
        assert!(!self.read("net/tcp6").lines().any(|line| is_listening(line, &links)));
        let listens = self.read("net/tcp");
        let listens = listens.lines().filter(|line| is_listening(line, &links));
        listens
            .map(|line| {
                let address = line.split_whitespace().nth(1).expect("an address");
                let port = address.strip_prefix("0100007F:").expect("on loopback");
                u16::from_str_radix(port, 16).expect("a port")
            })
            .collect()
    }

    fn kill(&self) {
        kill_process(Pid::from_raw(self.0).expect("an id"), Signal::KILL).expect("ended");
    }
}

/// Whether a row of the kernel's table is of a socket among these that waits for connections.
fn is_listening(row: &str, links: &[String]) -> bool {
    let columns: Vec<_> = row.split_whitespace().collect();
    let (Some(&"0A"), Some(inode)) = (columns.get(3), columns.get(9)) else { return false };
    links.contains(&format!("socket:[{inode}]"))
}

/// What a request without a login is answered with.
fn answer_to_a_stranger(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connected");
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer.lines().next().expect("a status").to_owned()
}

fn soon(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_repository_is_read_through_rclone_that_serves_nobody_else_and_ends_with_us() {
    let Some(program) = Rclone::find() else { return };
    let scratch = tempfile::tempdir().expect("a directory");
    fs::create_dir_all(scratch.path().join("deep/er")).expect("made");
    copy_tree(&fixture("default"), &scratch.path().join("deep/er")).expect("a copy");
    let settings = settings(&program, scratch.path());
    let open = Open::reached("rclone:there:deep/er", &settings).expect("opened");
    let read = || open.read(&open.tagged("first")).expect("read");
    assert_same(&read(), &expected("default", "first"));

    let served = Served::find(scratch.path()).expect("it runs");
    let password = served.variable("RCLONE_PASS");
    assert_eq!((password.len(), served.variable("RCLONE_RC_PASS")), (32, password.clone()));
    assert!(!served.read("cmdline").contains(&password), "arguments are for all to see");
    let ports = served.ports();
    assert_eq!(ports.len(), 2, "of files and of orders");
    for port in ports {
        let answer = answer_to_a_stranger(port);
        assert!(answer.contains(" 401 "), "{answer}");
    }
    let room = scratch.path().join("room");
    let [directory] = &fs::read_dir(&room).expect("a room").collect::<Vec<_>>()[..] else {
        panic!("one directory")
    };
    let directory = directory.as_ref().expect("an entry").path();
    for (path, mode) in [(directory.join("rclone.conf"), 0o600), (directory, 0o700)] {
        let found = fs::metadata(path).expect("there").permissions().mode();
        assert_eq!(found & 0o777, mode);
    }

    // One that is lost in the middle is started anew.
    served.kill();
    assert_same(&read(), &expected("default", "first"));
    let another = Served::find(scratch.path()).expect("it runs again");
    assert_ne!(another.0, served.0);

    drop(open);
    soon("rclone still runs", || Served::find(scratch.path()).is_none());
    assert_eq!(fs::read_dir(&room).expect("a room").count(), 0, "nothing stays");
}

#[test]
fn what_came_and_went_since_rclone_looked_is_seen_and_nothing_is_written() {
    let Some(program) = Rclone::find() else { return };
    let scratch = tempfile::tempdir().expect("a directory");
    let keys = scratch.path().join("keys");
    fs::create_dir(&keys).expect("made");
    // Absence, which may be wrong here, is asked for again more often than it takes.
    let hasty = Patience { tries: Some(2), ..Patience::default() };
    let settings = StoreSettings { patience: hasty, ..settings(&program, scratch.path()) };
    let limiter = Arc::new(Limiter::new(settings.limits));
    let files = RcloneFiles::new("there:", &settings, &limiter, &Observer::default());
    let store = store(files.expect("words"), &settings);
    let name = "ab".repeat(32);
    let (config, key) = (Key::new("config"), Key::new(format!("keys/{name}")));
    runtime().block_on(async {
        check_failure(store.stat(&config).await, Failure::NotFound);
        check_failure(store.stat(&key).await, Failure::NotFound);
        assert_eq!(listed(&store, "keys/").await.expect("listed"), []);
        fs::write(scratch.path().join("config"), "x").expect("written");
        fs::write(keys.join(&name), "xyz").expect("written");
        assert_eq!(store.stat(&config).await.expect("there").stored_bytes, 1);
        assert_eq!(listed(&store, "keys/").await.expect("listed").len(), 1);
        assert_eq!(store.stat(&key).await.expect("there").stored_bytes, 3);
        fs::remove_file(keys.join(&name)).expect("removed");
        assert_eq!(listed(&store, "keys/").await.expect("listed"), []);
        check_failure(store.stat(&key).await, Failure::NotFound);

        check_failure(put(&store, &key, b"x", Existing::Keep).await, Failure::Permanent);
        check_failure(store.delete(&config).await, Failure::Permanent);
        check_failure(store.create().await, Failure::Permanent);
    });
    assert!(scratch.path().join("config").exists());
}

#[test]
fn rclone_that_cannot_serve_files_says_why_and_a_place_without_any_has_no_repository() {
    let Some(program) = Rclone::find() else { return };
    let scratch = tempfile::tempdir().expect("a directory");
    let hasty = Patience { tries: Some(1), ..Patience::default() };
    let mut settings = StoreSettings { patience: hasty, ..settings(&program, scratch.path()) };
    let error = Open::reached("rclone:elsewhere:x", &settings).err().expect("refused").to_string();
    assert!(error.contains("elsewhere") && error.contains("rclone does not serve"), "{error}");
    let error = Open::reached("rclone:there:missing", &settings).err().expect("refused");
    assert!(matches!(error, OpenError::NoRepository { .. }), "{error}");
    let files = settings.rclone.files.as_mut().expect("as they were made");
    files.program = Some("/no/such/program".into());
    let error = Open::reached("rclone:there:", &settings).err().expect("refused").to_string();
    assert!(error.contains("/no/such/program"), "{error}");
}
