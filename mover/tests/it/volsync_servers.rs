//! The mover and repositories on servers: what is missing is made, what refuses is no "missing".

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use windlass_testkit::{
    s3::{KEY_ID, S3Server, SECRET_KEY},
    server::{certificates::Authority, rclone::Rclone},
    toxic::{Dose, Poison, Toxic},
};

use crate::{
    place::Said,
    pod::{Pod, check_kept, kept},
};

/// A pod whose repository is in a bucket that is not there yet.
struct Cloud {
    pod: Pod,
    server: S3Server,
    toxic: Toxic,
}

impl Cloud {
    fn new() -> Self {
        let server = S3Server::start();
        let toxic = Toxic::before(server.address());
        Self { pod: Pod::new(), server, toxic }
    }

    fn mover(&self, words: &[&str]) -> Command {
        let mut command = self.pod.mover(words);
        let location = format!("s3:http://{}/bucket/app", self.toxic.address());
        command.env("RESTIC_REPOSITORY", location).env("AWS_EC2_METADATA_DISABLED", "true");
        command.env("AWS_ACCESS_KEY_ID", KEY_ID).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
        command
    }

    fn done(&self, words: &[&str]) -> Said {
        let said = Said::of(&mut self.mover(words));
        assert_eq!(said.code, Some(0), "{said:?}");
        said
    }
}

#[test]
fn a_restore_before_the_first_backup_makes_bucket_and_repository() {
    let cloud = Cloud::new();
    let lines =
        ["=== Initialize Dir ===", "created restic repository ", "No eligible snapshots found"];
    check_kept(&cloud.done(&["restore"]), &lines);
    let again = cloud.done(&["restore"]);
    assert!(!again.out.contains("Initialize Dir"), "{again:?}");
    let said = cloud.done(&["backup", "prune"]);
    check_kept(&said, &["repository ", "no parent snapshot found", "snapshot "]);
    fs::remove_file(cloud.pod.path("data/a")).expect("removed");
    check_kept(&cloud.done(&["restore"]), &["restoring snapshot "]);
    assert_eq!(cloud.pod.read("data/a"), "first");
    assert!(cloud.server.keys("bucket").iter().all(|key| !key.contains("/locks/")));
}

#[test]
fn a_new_cache_is_told_once() {
    let cloud = Cloud::new();
    let cache = format!("created new cache in {}", cloud.pod.path("cache").display());
    let told = |words: &[&str]| kept(&cloud.done(words)).contains(&&*cache);
    assert!(told(&["backup"]));
    assert!(!told(&["backup"]));
}

#[test]
fn what_refuses_or_fails_is_not_missing() {
    let cloud = Cloud::new();
    let error = |code: &str| format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>");
    for (status, code) in
        [(403, "AccessDenied"), (400, "ExpiredToken"), (403, "InvalidAccessKeyId")]
    {
        cloud.toxic.clear();
        let (kind, text) = ("application/xml", error(code));
        cloud.toxic.add(Dose::always(Poison::Say { status, kind, text }));
        for word in ["backup", "restore"] {
            let said = Said::of(&mut cloud.mover(&[word]));
            assert_eq!(said.code, Some(3), "{said:?}");
            check_kept(&said, &["Fatal: ", "ERROR: failure checking existence of repository"]);
            assert!(said.out.contains("Next step:"), "{said:?}");
            assert!(!said.out.contains("Initialize Dir"), "{said:?}");
        }
    }
    cloud.toxic.clear();
    cloud.toxic.add(Dose::always(Poison::Page));
    let said = Said::of(&mut cloud.mover(&["restore"]));
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(cloud.server.keys("bucket").is_empty());
}

#[test]
fn a_request_that_fails_for_a_while_is_all_that_is_done_again() {
    let cloud = Cloud::new();
    cloud.done(&["backup"]);
    cloud.pod.write("data/a", b"other");
    cloud.toxic.add(Dose::of("DELETE", "/snapshots/", 0, 2, Poison::Busy { retry_after: None }));
    let said = cloud.done(&["backup"]);
    assert_eq!(said.out.matches("=== Starting backup ===").count(), 1, "{said:?}");
    let keys = cloud.server.keys("bucket");
    let snapshots = keys.iter().filter(|key| key.contains("/snapshots/")).count();
    assert_eq!(snapshots, 1, "{said:?}");
}

/// Tells a backup to go while its pack is on the way to a store that does not take it; how long it
/// took.
fn told_to_go(cloud: &Cloud) -> Duration {
    let mut mover = cloud.mover(&["backup"]);
    mover.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = mover.spawn().expect("started");
    let began = Instant::now();
    while !has_lock(cloud) {
        assert!(began.elapsed() < Duration::from_secs(60), "it takes no lock");
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_secs(1));
    let began = Instant::now();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("sent");
    assert_eq!(child.wait().expect("ends").code(), Some(143));
    let result = cloud.pod.result();
    assert_eq!((&result["outcome"], &result["exit_code"]), (&"stopped".into(), &143.into()));
    // No snapshot refers to what did not arrive.
    assert_eq!(result.get("snapshot"), None, "{result}");
    let keys = cloud.server.keys("bucket");
    assert_eq!(keys.iter().filter(|key| key.contains("/snapshots/")).count(), 1, "{keys:?}");
    began.elapsed()
}

fn has_lock(cloud: &Cloud) -> bool {
    cloud.server.keys("bucket").iter().any(|key| key.contains("/locks/"))
}

#[test]
fn a_signal_ends_it_although_the_store_stands_still() {
    let cloud = Cloud::new();
    cloud.done(&["backup"]);
    cloud.pod.write("data/other", b"to be stored");
    let stands_still = |method: &str, target: &str| {
        let latency = Poison::Latency(Duration::from_secs(300));
        cloud.toxic.add(Dose::of(method, target, 0, usize::MAX, latency));
    };
    stands_still("PUT", "/data/");
    let took = told_to_go(&cloud);
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert!(!has_lock(&cloud));
    // Not even the lock can be taken back.
    stands_still("DELETE", "/locks/");
    let took = told_to_go(&cloud);
    assert!(took < Duration::from_secs(12), "{took:?}");
    assert!(has_lock(&cloud));
    // The next pod of the same volume knows whose it was.
    cloud.toxic.clear();
    cloud.done(&["backup", "prune"]);
    assert!(!has_lock(&cloud));
}

#[test]
fn a_private_authority_is_trusted_as_the_volume_says() {
    let Some(program) = Rclone::find() else { return };
    let scratch = tempfile::tempdir().expect("a directory");
    let Some(authority) = Authority::new(scratch.path()) else { return };
    let [certificate, key] = authority.server("IP:127.0.0.1");
    let options = ["--cert", &certificate, "--key", &key];
    let served = scratch.path().join("served");
    let server = program.serve("restic", &served, scratch.path(), &options);
    let pod = Pod::new();
    pod.write("ca.crt", &authority.certificate());
    let mover = || {
        let mut command = pod.mover(&["backup"]);
        command.env("RESTIC_REPOSITORY", format!("rest:https://{}/app/", server.address()));
        command
    };
    let said = Said::of(&mut mover());
    assert_eq!(said.code, Some(3), "{said:?}");
    check_kept(&said, &["Fatal: ", "ERROR: failure checking existence of repository"]);
    let said = Said::of(mover().env("CUSTOM_CA", pod.path("ca.crt")));
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("Using custom CA."), "{said:?}");
    check_kept(&said, &["=== Initialize Dir ===", "snapshot "]);
}
