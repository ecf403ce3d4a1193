//! The contract of VolSync's restic mover, driven as its controller drives it.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    os::unix::{
        fs::{PermissionsExt, symlink},
        process::CommandExt,
    },
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    place::{NOBODY, PASSWORD, Said, files, noise, skipped},
    pod::{ENTRY, Pod, check_kept, kept},
};

/// Names in a directory.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = names.map(|it| it.into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

#[test]
fn a_backup_creates_the_repository_and_the_next_one_goes_on_from_its_snapshot() {
    let pod = Pod::new();
    for furniture in ["data/lost+found", "data/d/lost+found"] {
        fs::create_dir(pod.path(furniture)).expect("made");
        pod.write(&format!("{furniture}/#12"), b"of the file system");
    }
    let said = pod.done(&["backup"]);
    check_kept(
        &said,
        &[
            "=== Initialize Dir ===",
            "created restic repository ",
            "repository ",
            "no parent snapshot found, will read all files",
            "Added to the repository: ",
            "processed 2 files, ",
            "snapshot ",
            "Restic completed in ",
        ],
    );
    assert!(said.out.ends_with("=== Done ===\n"), "{said:?}");
    let at = pod.path("repo");
    assert!(said.out.contains(&format!(" at {}\n", at.display())), "{said:?}");

    let snapshots = pod.snapshots();
    let data = pod.path("data");
    assert_eq!(snapshots[0]["paths"], json!([data]));
    assert_eq!(snapshots[0]["hostname"], "volsync");
    assert_eq!(snapshots[0]["excludes"], json!(["lost+found"]));
    assert_eq!(snapshots[0]["tags"], Value::Null);
    let listed = pod.place.done(&["ls", "latest", "--json"]);
    let paths =
        listed.messages().into_iter().filter_map(|it| it["path"].as_str().map(str::to_owned));
    let mut paths: Vec<String> = paths.collect();
    paths.sort();
    assert_eq!(paths, ["/a", "/d", "/d/b"], "the volume's entries are the snapshot's top");

    let result = pod.result();
    assert_eq!((&result["outcome"], &result["exit_code"]), (&json!("success"), &json!(0)));
    assert_eq!(result["snapshot"]["id"], snapshots[0]["id"]);
    assert_eq!(result["created"], true);
    assert_eq!(result["backup"]["read_for"], json!({ "new": 2 }));
    assert_eq!(result["backup"]["bytes_read"], 100_005);
    assert!(result["peak_memory_bytes"].as_u64().is_some_and(|bytes| bytes > 1 << 20));

    let said = pod.done(&["backup"]);
    check_kept(
        &said,
        &["repository ", "using parent snapshot ", "processed 2 files, ", "snapshot "],
    );
    assert!(!said.out.contains("Initialize"), "{said:?}");
    // Only the last one is kept where nobody says otherwise.
    let after = pod.snapshots();
    assert_eq!(after.len(), 1);
    assert_ne!(after[0]["id"], snapshots[0]["id"]);
    let result = pod.result();
    assert_eq!((&result["snapshots_removed"], &result["created"]), (&json!(1), &json!(false)));
    assert_eq!(result["snapshot"]["parent"], snapshots[0]["id"]);
    assert!(files(&pod.path("repo/locks")).is_empty());
}

#[test]
fn an_empty_volume_ends_the_run_before_anything_is_made() {
    let pod = Pod::new();
    fs::remove_dir_all(pod.path("data")).expect("removed");
    fs::create_dir_all(pod.path("data/lost+found")).expect("made");
    let said = pod.done(&["unlock", "backup", "prune"]);
    check_kept(&said, &["== Directory is empty skipping backup ==="]);
    assert!(said.out.contains("No repo, ignoring unlock error"), "{said:?}");
    assert!(!said.out.contains("completed") && !said.out.contains("prune ==="), "{said:?}");
    assert!(!pod.has_repository());
    assert_eq!(pod.result()["outcome"], "empty-volume");
}

#[test]
fn what_is_missing_or_malformed_is_named_before_anything_is_touched() {
    let pod = Pod::new();
    let refused = |mut command: Command, code: i32, words: &[&str]| {
        let said = Said::of(&mut command);
        assert_eq!(said.code, Some(code), "{said:?}");
        let lines = kept(&said).join("\n");
        words.iter().for_each(|word| assert!(lines.contains(word), "{word:?}: {said:?}"));
        assert!(!pod.has_repository(), "{said:?}");
        assert_eq!(
            (&pod.result()["outcome"], &pod.result()["exit_code"]),
            (&json!("failed"), &json!(code))
        );
    };
    for name in
        ["PRIVILEGED_MOVER", "RESTIC_CACHE_DIR", "RESTIC_PASSWORD", "RESTIC_REPOSITORY", "DATA_DIR"]
    {
        for is_empty in [false, true] {
            let mut command = pod.mover(&["backup"]);
            match is_empty {
                true => command.env(name, ""),
                false => command.env_remove(name),
            };
            refused(command, 1, &[&format!("ERROR: {name} must be defined")]);
        }
    }
    refused(pod.mover(&["backup", "defrag"]), 2, &["ERROR: unknown operation: defrag"]);
    for (word, name, value) in [
        ("backup", "FORGET_OPTIONS", " --keep-daily 3 --prune"),
        ("backup", "FORGET_OPTIONS", "--keep-last many"),
        ("backup", "FORGET_OPTIONS", "--keep-hourly 0"),
        ("restore", "RESTORE_AS_OF", "yesterday"),
        ("restore", "SELECT_PREVIOUS", "-1"),
        ("restore", "RESTORE_OPTIONS", "--delete --target /etc"),
        ("backup", "RESTIC_COMPRESSION", "hard"),
        ("backup", "RESTIC_PACK_SIZE", "1000"),
        ("backup", "RESTIC_PACK_SIZE", "big"),
        ("backup", "RESTIC_READ_CONCURRENCY", "many"),
        ("backup", "CUSTOM_CA", "/no/such/ca.crt"),
        ("backup", "WINDLASS_RETRY_LOCK", "long"),
    ] {
        let mut command = pod.mover(&[word]);
        command.env(name, value);
        refused(command, 1, &[name]);
    }
    let mut half = pod.mover(&["backup"]);
    half.env("RESTIC_REPOSITORY", "s3:http://127.0.0.1:1/bucket").env("AWS_ACCESS_KEY_ID", "x");
    refused(half, 1, &["AWS_SECRET_ACCESS_KEY is empty"]);
    // What the step does not look at may say anything: the controller sets all of it always.
    pod.done_with(&["backup"], &[("RESTORE_AS_OF", "x"), ("SELECT_PREVIOUS", "x")]);
    pod.done_with(&["restore"], &[("FORGET_OPTIONS", "x")]);
}

#[test]
fn the_password_has_to_be_right_and_what_cannot_be_asked_is_not_nothing() {
    let pod = Pod::new();
    pod.done(&["backup"]);
    let before = files(&pod.path("repo"));
    for (word, code, line) in [
        ("backup", 3, "ERROR: failure connecting to repository, incorrect password"),
        ("restore", 3, "ERROR: failure connecting to repository, incorrect password"),
        ("unlock", 3, "ERROR: failure unlocking repository"),
        ("prune", 12, "Fatal: wrong password or no key found"),
    ] {
        let said = Said::of(pod.mover(&[word]).env("RESTIC_PASSWORD", "wrong"));
        assert_eq!(said.code, Some(code), "{word}: {said:?}");
        check_kept(&said, &["Fatal: wrong password or no key found"]);
        assert!(kept(&said).contains(&line), "{word}: {said:?}");
    }
    assert_eq!(files(&pod.path("repo")), before);
    // A config that cannot be read is there.
    let config = pod.path("repo/config");
    fs::remove_file(&config).expect("removed");
    fs::create_dir(&config).expect("made");
    for word in ["backup", "restore"] {
        let said = pod.run(&[word]);
        assert_eq!(said.code, Some(3), "{said:?}");
        check_kept(&said, &["Fatal: ", "ERROR: failure checking existence of repository"]);
        assert!(!said.out.contains("Initialize"), "{said:?}");
    }
    // Prune makes none and checks for none.
    let elsewhere = pod.path("elsewhere");
    let said = Said::of(pod.mover(&["prune"]).env("RESTIC_REPOSITORY", &elsewhere));
    assert_eq!(said.code, Some(10), "{said:?}");
    assert!(!elsewhere.exists());
}

#[test]
fn a_creation_that_was_cut_off_is_gone_on_with() {
    let pod = Pod::new();
    pod.done(&["restore"]);
    fs::remove_file(pod.path("repo/config")).expect("removed");
    // It may be under way still: waiting for it does not help.
    let said = pod.run(&["backup"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.out.contains("Fatal: keys at "), "{said:?}");
    crate::forge::change_key(&pod.place, |key| key["created"] = "2024-01-01T00:00:00Z".into());
    let key = files(&pod.path("repo/keys"));
    let said = Said::of(pod.mover(&["backup"]).env("RESTIC_PASSWORD", "another"));
    assert_eq!(said.code, Some(1), "{said:?}");
    pod.done(&["backup"]);
    assert_eq!(files(&pod.path("repo/keys")), key);
    assert_eq!(pod.snapshots().len(), 1);
    pod.place.done(&["check", "--read-data"]);
}

#[test]
fn the_policy_is_for_the_volumes_own_snapshots() {
    let pod = Pod::new();
    pod.done(&["backup"]);
    let data = pod.path("data");
    pod.place.done(&["backup", "--host", "another", data.to_str().expect("UTF-8")]);
    let kept_of = |options: &str| {
        let said = pod.done_with(&["backup"], &[("FORGET_OPTIONS", options)]);
        let of = |host: &str| pod.snapshots().iter().filter(|it| it["hostname"] == host).count();
        (of("volsync"), of("another"), said)
    };
    let (ours, others, said) = kept_of(" --keep-last 2");
    assert_eq!((ours, others), (2, 1));
    assert!(said.out.contains("Applying Policy: keep 2 latest snapshots"), "{said:?}");
    let (ours, others, said) = kept_of("--keep-within 1h --keep-last 1");
    assert_eq!((ours, others), (3, 1), "{said:?}");
    let (ours, others, said) = kept_of(" --keep-hourly 1 --keep-daily 1");
    assert_eq!((ours, others), (1, 1));
    assert!(said.out.contains("Applying Policy: keep 1 hourly, 1 daily snapshots"), "{said:?}");
    assert!(said.out.contains("=== Starting forget ==="), "{said:?}");
    let (ours, _, _) = kept_of("");
    assert_eq!(ours, 2, "nothing expires without a policy");
    let (ours, _, _) = kept_of("--keep-last unlimited");
    assert_eq!(ours, 3);
}

#[test]
fn prune_takes_away_what_expired() {
    let pod = Pod::new();
    pod.write("data/large", &noise(1, 3_000_000));
    pod.done(&["backup"]);
    let size = || {
        files(&pod.path("repo/data"))
            .iter()
            .map(|it| it.metadata().expect("there").len())
            .sum::<u64>()
    };
    let before = size();
    pod.write("data/large", &noise(2, 3_000_000));
    let said = pod.done(&["unlock", "backup", "prune"]);
    let order = [
        "=== Starting unlock ===",
        "=== Starting backup ===",
        "=== Starting forget ===",
        "=== Starting prune ===",
        "Restic completed in ",
    ];
    let mut rest = said.out.lines();
    for line in order {
        assert!(rest.any(|it| it.starts_with(line)), "{line}: {said:?}");
    }
    assert_eq!(said.out.matches(" opened (").count(), 1, "opened once: {said:?}");
    assert!(size() < before + 200_000, "{} {before}", size());
    assert!(pod.result()["packs_removed"].as_u64().is_some_and(|packs| packs > 0));
    pod.place.done(&["check", "--read-data"]);
}

#[test]
fn nothing_to_restore_is_a_success_that_says_so() {
    let pod = Pod::new();
    let before = names(&pod.path("data"));
    let first = pod.done_with(&["restore"], &[("RESTORE_OPTIONS", "--delete")]);
    check_kept(
        &first,
        &[
            "=== Initialize Dir ===",
            "created restic repository ",
            "No eligible snapshots found",
            "=== No data will be restored ===",
            "Restic completed in ",
        ],
    );
    let result = pod.result();
    assert_eq!(
        (&result["outcome"], &result["snapshots_found"]),
        (&json!("nothing-restored"), &json!(0))
    );
    let second = pod.done(&["restore"]);
    assert!(!second.out.contains("Initialize Dir"), "{second:?}");
    pod.done(&["backup"]);
    for variable in [("SELECT_PREVIOUS", "9999"), ("RESTORE_AS_OF", "1980-08-10T23:59:59-04:00")] {
        let said = pod.done_with(&["restore"], &[variable, ("RESTORE_OPTIONS", "--delete")]);
        check_kept(&said, &["No eligible snapshots found", "=== No data will be restored ==="]);
        assert_eq!(pod.result()["snapshots_found"], 1);
    }
    assert_eq!(names(&pod.path("data")), before);
    // That the only snapshot cannot be read is no "none".
    let snapshot = pod.place.only_file("snapshots");
    fs::write(&snapshot, b"damaged").expect("written");
    let said = pod.run(&["restore"]);
    assert_eq!(said.code, Some(3), "{said:?}");
    check_kept(&said, &["Fatal: ", "ERROR: failure getting list of snapshots from repository"]);
}

#[test]
fn the_snapshot_that_was_asked_for_is_restored() {
    let pod = Pod::new();
    let keep = [("FORGET_OPTIONS", "--keep-last 9")];
    let mut times = Vec::new();
    for content in ["one", "two", "three"] {
        pod.write("data/a", content.as_bytes());
        pod.done_with(&["backup"], &keep);
        let time = pod.snapshots().last().expect("one")["time"].as_str().map(str::to_owned);
        times.push(time.expect("a time"));
        // Times are compared by the second.
        thread::sleep(Duration::from_millis(1100));
    }
    let restored = |variables: &[(&str, &str)]| {
        pod.write("data/a", b"lost");
        let said = pod.done_with(&["restore"], variables);
        check_kept(&said, &["restoring snapshot ", "Restic completed in "]);
        assert!(said.out.contains("Selected restic snapshot with id: "), "{said:?}");
        assert!(said.out.contains(" to .\n"), "{said:?}");
        pod.read("data/a")
    };
    assert_eq!(restored(&[]), "three");
    assert_eq!(restored(&[("SELECT_PREVIOUS", "1")]), "two");
    let in_utc = |time: &str| format!("{}Z", &time[..19]);
    assert!(times[0].ends_with('Z'), "{times:?}");
    assert_eq!(restored(&[("RESTORE_AS_OF", &in_utc(&times[1]))]), "two");
    assert_eq!(restored(&[("RESTORE_AS_OF", &in_utc(&times[1])), ("SELECT_PREVIOUS", "1")]), "one");
    assert_eq!(restored(&[("RESTORE_AS_OF", &in_utc(&times[0]))]), "one");
    assert_eq!(restored(&[("RESTORE_AS_OF", "2999-01-01T00:00:00+02:00")]), "three");
    let result = pod.result();
    assert_eq!((&result["outcome"], &result["snapshots_eligible"]), (&json!("success"), &json!(3)));
    assert_eq!(result["snapshot"]["id"], pod.snapshots()[2]["id"]);
}

#[test]
fn deleting_what_the_snapshot_lacks_spares_the_furniture() {
    let pod = Pod::new();
    pod.done(&["backup"]);
    for extra in ["data/lost+found", "data/d/lost+found", "data/more", "data/more/below"] {
        fs::create_dir(pod.path(extra)).expect("made");
        pod.write(&format!("{extra}/file"), b"extra");
    }
    pod.done(&["restore"]);
    assert!(pod.path("data/more/below/file").exists());
    let said = pod.done_with(&["restore"], &[("RESTORE_OPTIONS", "--delete")]);
    check_kept(&said, &["RESTORE_OPTIONS: --delete", "restoring snapshot "]);
    assert_eq!(names(&pod.path("data")), ["a", "d", "lost+found"]);
    assert_eq!(names(&pod.path("data/d")), ["b", "lost+found"]);
    assert!(pod.path("data/d/lost+found/file").exists());
    // Of another application: what it was told to, whoever's the volume was.
    fs::remove_dir_all(pod.path("data")).expect("removed");
    fs::create_dir(pod.path("data")).expect("made");
    (0..9).for_each(|number| pod.write(&format!("data/stranger-{number}"), b"x"));
    pod.done_with(&["restore"], &[("RESTORE_OPTIONS", "--delete")]);
    assert_eq!(names(&pod.path("data")), ["a", "d"]);
}

#[test]
fn attributes_of_users_are_restored_and_no_others() {
    let pod = Pod::new();
    let set = |name: &str, value: &str| {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(pod.path("data/a"), name, value.as_bytes(), flags)
    };
    if set("user.kept", "yes").is_err() {
        skipped("no attributes in this file system");
        return;
    }
    let has_other = set("trusted.left", "out").is_ok();
    pod.done(&["backup"]);
    fs::remove_file(pod.path("data/a")).expect("removed");
    pod.done(&["restore"]);
    let read = |name: &str| {
        let mut value = [0; 16];
        let read = rustix::fs::getxattr(pod.path("data/a"), name, &mut value).ok();
        read.map(|length| value[..length].to_vec())
    };
    assert_eq!(read("user.kept"), Some(b"yes".to_vec()));
    assert!(!has_other || read("trusted.left").is_none());
}

#[test]
fn a_volume_that_lost_nearly_everything_keeps_its_snapshots() {
    let pod = Pod::new();
    pod.write("data/large", &noise(3, 2_000_000));
    pod.done(&["backup"]);
    fs::remove_file(pod.path("data/large")).expect("removed");
    fs::remove_file(pod.path("data/d/b")).expect("removed");
    // Again and again, as long as the old one is there.
    for snapshots in 2..4 {
        let said = pod.done(&["backup", "prune"]);
        check_kept(
            &said,
            &[
                "snapshot ",
                "ERROR: suspicious loss of data: the volume has 1 files",
                "Restic completed in",
            ],
        );
        assert_eq!(pod.snapshots().len(), snapshots);
        let held = pod.result()["expiry_held"].as_str().expect("why").to_owned();
        assert!(held.contains("but had 3 files with"), "{held}");
    }
    let old = pod.snapshots()[0]["id"].as_str().expect("an id").to_owned();
    pod.place.done(&["restore", &old, "--target=out"]);
    assert_eq!(fs::read(pod.path("out/large")).expect("there").len(), 2_000_000);
    // Who means it says so once.
    pod.place.done(&["forget", &old]);
    let said = pod.done(&["backup"]);
    assert!(!said.out.contains("suspicious"), "{said:?}");
    assert_eq!(pod.snapshots().len(), 1);
}

/// The mover of `pod` as somebody without privileges and without a name; nothing where we have none
/// to give away.
fn as_nobody(pod: &Pod, words: &[&str]) -> Option<Said> {
    if !rustix::process::geteuid().is_root() {
        skipped("only root can become somebody else");
        return None;
    }
    // The program may lie where only we may go.
    let program = pod.path("windlass");
    if !program.exists() {
        fs::copy(env!("CARGO_BIN_EXE_windlass"), &program).expect("copied");
    }
    for open in ["", "cache", "tmp", "termination-log"] {
        let mode = fs::Permissions::from_mode(0o777);
        fs::set_permissions(pod.path(open), mode).expect("chmod");
    }
    Some(Said::of(pod.mover_at(&program, words).uid(NOBODY - 1).gid(NOBODY - 2)))
}

#[test]
fn what_cannot_be_read_makes_a_partial_backup_once() {
    let pod = Pod::new();
    pod.write("data/secret", b"not for everybody");
    let closed = |mode| {
        fs::set_permissions(pod.path("data/secret"), fs::Permissions::from_mode(mode))
            .expect("chmod")
    };
    closed(0o600);
    for attempt in 0..3 {
        let Some(said) = as_nobody(&pod, &["backup", "prune"]) else { return };
        assert_eq!(said.code, Some(3), "{said:?}");
        assert!(said.err.contains("/secret: Permission denied"), "{said:?}");
        let line =
            "ERROR: partial backup: 1 items could not be read, nothing expires until a backup";
        check_kept(&said, &[line]);
        assert!(
            said.out.contains(&format!("uid {} and gid {}", NOBODY - 1, NOBODY - 2)),
            "{said:?}"
        );
        assert!(!said.out.contains("Starting forget") && !said.out.contains("Starting prune"));
        // The Job tries again, and there is no pile.
        assert_eq!(pod.snapshots().len(), 1, "attempt {attempt}: {said:?}");
        let result = pod.result();
        assert_eq!((&result["outcome"], &result["exit_code"]), (&json!("partial"), &json!(3)));
        assert_eq!(result["backup"]["unreadable"], 1);
        let first = &result["backup"]["unreadable_first"][0];
        assert!(first["path"].as_str().is_some_and(|it| it.ends_with("/secret")), "{first}");
    }
    // What changes is worth another one, still without the unreadable file.
    pod.write("data/a", b"changed");
    as_nobody(&pod, &["backup"]);
    assert_eq!(pod.snapshots().len(), 2);
    closed(0o644);
    let said = as_nobody(&pod, &["backup"]).expect("root");
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(pod.snapshots().len(), 1);
}

#[test]
fn volumes_that_cannot_be_written_to_are_named_with_who_may() {
    let pod = Pod::new();
    let who = format!("this is uid {} and gid {}", NOBODY - 1, NOBODY - 2);
    let Some(said) = as_nobody(&pod, &["backup"]) else { return };
    assert_eq!(said.code, Some(0), "{said:?}");
    let said = as_nobody(&pod, &["restore"]).expect("root");
    assert_eq!(said.code, Some(1), "{said:?}");
    let line = "it belongs to uid 0 and gid 0 with mode 755";
    assert!(said.out.contains("ERROR: data volume ") && said.out.contains(line), "{said:?}");
    assert!(said.out.contains(&who), "{said:?}");
    // A cache can be done without.
    fs::set_permissions(pod.path("cache"), fs::Permissions::from_mode(0o555)).expect("chmod");
    let said =
        Said::of(pod.mover_at(&pod.path("windlass"), &["backup"]).uid(NOBODY - 1).gid(NOBODY - 2));
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.err.contains("working without a cache: ") && said.err.contains(&who), "{said:?}");
    fs::set_permissions(pod.path("data"), fs::Permissions::from_mode(0o700)).expect("chmod");
    let said =
        Said::of(pod.mover_at(&pod.path("windlass"), &["backup"]).uid(NOBODY - 1).gid(NOBODY - 2));
    assert_eq!(said.code, Some(1), "{said:?}");
    check_kept(&said, &["ERROR: data volume "]);
    assert!(said.out.contains("cannot be read") && said.out.contains(&who), "{said:?}");
}

#[test]
fn locks_of_others_are_waited_for_and_stale_ones_unlocked() {
    let pod = Pod::new();
    pod.done(&["backup"]);
    let mut stale = pod.place.command(&["backup", "--stdin", "--stdin-filename=x"]);
    let mut child = stale.stdin(std::process::Stdio::piped()).spawn().expect("started");
    let began = Instant::now();
    while files(&pod.path("repo/locks")).is_empty() {
        assert!(began.elapsed() < Duration::from_secs(60), "it takes no lock");
        thread::sleep(Duration::from_millis(20));
    }
    // Somebody else backs up: so may this, but nothing can be removed meanwhile.
    let said = Said::of(pod.mover(&["backup"]).env("WINDLASS_RETRY_LOCK", "1s"));
    assert_eq!(said.code, Some(11), "{said:?}");
    check_kept(&said, &["snapshot ", "Fatal: "]);
    assert!(said.err.contains("waiting: repository is already locked for reading"), "{said:?}");
    let result = pod.result();
    assert_eq!(result["exit_code"], 11);
    assert!(result["lock_wait_seconds"].as_f64().is_some_and(|seconds| seconds >= 0.5), "{result}");
    child.kill().expect("killed");
    child.wait().expect("ended");
    let said = pod.done(&["unlock", "backup"]);
    check_kept(&said, &["successfully removed 1 locks", "snapshot "]);
}

#[test]
fn results_go_where_somebody_waits_for_them() {
    let pod = Pod::new();
    fs::remove_file(pod.path("termination-log")).expect("removed");
    let metrics = pod.path("metrics.prom");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let gateway = format!("http://{}/metrics/job/volsync", listener.local_addr().expect("bound"));
    let pushed = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody calls");
        let mut request = Vec::new();
        let mut part = [0; 4096];
        loop {
            let read = stream.read(&mut part).expect("read");
            request.extend_from_slice(&part[..read]);
            let text = String::from_utf8_lossy(&request).into_owned();
            let length = text
                .lines()
                .find_map(|line| line.strip_prefix("Content-Length: ")?.parse::<usize>().ok());
            let body = text.split_once("\r\n\r\n").map(|(_, body)| body.len());
            if length.is_some() && length == body {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").expect("sent");
                return text;
            }
        }
    });
    let said = Said::of(
        pod.mover(&["backup"])
            .env("WINDLASS_METRICS_FILE", &metrics)
            .env("WINDLASS_PUSHGATEWAY", &gateway),
    );
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    assert!(!pod.path("termination-log").exists(), "nobody made the file");
    let text = fs::read_to_string(&metrics).expect("written");
    for line in [
        "windlass_success 1",
        "windlass_partial 0",
        "windlass_backup_files 2",
        "windlass_backup_read_bytes 100005",
    ] {
        assert!(text.lines().any(|it| it == line), "{line}: {text}");
    }
    assert!(text.contains("windlass_phase_seconds{phase=\"backup\"} "), "{text}");
    let pushed = pushed.join().expect("answered");
    assert!(pushed.starts_with("PUT /metrics/job/volsync HTTP/1.1\r\n"), "{pushed}");
    assert!(pushed.ends_with(&text), "{pushed}");
    // Nobody there: said, and no failure.
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let said =
        Said::of(pod.mover(&["backup"]).env("WINDLASS_PUSHGATEWAY", format!("http://{nobody}")));
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.err.contains("WINDLASS_PUSHGATEWAY: "), "{said:?}");
}

#[test]
fn progress_is_json_for_whoever_asks() {
    let pod = Pod::new();
    pod.write("data/large", &noise(4, 30_000_000));
    let variables = [("WINDLASS_PROGRESS", "json"), ("RESTIC_PROGRESS_FPS", "60")];
    let said = pod.done_with(&["backup"], &variables);
    let status = said.out.lines().filter(|line| line.starts_with('{'));
    let status: Vec<Value> = status.map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(status.iter().any(|it| it["message_type"] == "status"), "{said:?}");
    check_kept(&said, &["snapshot "]);
    let lines = kept(&said);
    assert!(lines.iter().all(|line| !line.contains("message_type")), "{lines:?}");
}

#[test]
fn the_gate_keeps_everything_from_happening_until_its_file_goes() {
    let pod = Pod::new();
    let mut held = pod.mover(&["backup"]);
    held.env("DEBUG_MOVER", "1").stdout(std::process::Stdio::piped());
    let child = held.spawn().expect("started");
    let keep = pod.path("tmp/exit-debug-if-removed");
    let began = Instant::now();
    while !keep.exists() || !pod.path("tmp/entry.sh").is_symlink() {
        assert!(began.elapsed() < Duration::from_secs(60), "the gate makes no file");
        thread::sleep(Duration::from_millis(20));
    }
    assert!(!pod.has_repository());
    // By the link it does what the pod was started for.
    let mut by_link = pod.mover(&["backup"]);
    let said = Said::of(by_link.arg0(pod.path("tmp/entry.sh")).env("DEBUG_MOVER", "1"));
    assert_eq!(said.code, Some(0), "{said:?}");
    check_kept(&said, &["snapshot "]);
    fs::remove_file(&keep).expect("removed");
    let said = Said::from(child.wait_with_output().expect("ends"));
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.out.contains("DEBUG_MOVER is enabled") && said.out.contains("Debug done"),
        "{said:?}"
    );
    assert!(said.out.contains(&*keep.to_string_lossy()), "{said:?}");
}

#[test]
fn a_link_of_that_name_is_the_mover_and_the_program_itself_is_not() {
    let pod = Pod::new();
    fs::create_dir(pod.path("mover-restic")).expect("made");
    let link = pod.path("mover-restic/entry.sh");
    symlink(env!("CARGO_BIN_EXE_windlass"), &link).expect("a link");
    let mut command = Command::new(&link);
    let said = Said::of(command.env_clear());
    assert_eq!(said.code, Some(1), "{said:?}");
    check_kept(&said, &["ERROR: PRIVILEGED_MOVER must be defined"]);
    assert!(
        said.out.starts_with("Starting container\nVolSync restic container version: unknown\n"),
        "{said:?}"
    );
    let said = Said::of(Command::new(&link).env_clear().env("version", "v9").arg("backup"));
    assert!(said.out.contains("VolSync restic container version: v9\nbackup\n"), "{said:?}");
    assert!(Path::new(ENTRY).ends_with("mover-restic/entry.sh"));
    // Nothing to do is done, as the original does it.
    pod.done(&[]);
}

#[test]
fn nothing_secret_is_seen_anywhere() {
    let pod = Pod::new();
    let metrics = pod.path("metrics.prom");
    let secrets = [PASSWORD, "wJalr-secret", "b2-secret", "azure-secret", "token-secret"];
    let dressed = |words: &[&str]| {
        let mut command = pod.mover(words);
        command.env("AWS_SECRET_ACCESS_KEY", secrets[1]).env("AWS_ACCESS_KEY_ID", "id");
        command.env("B2_ACCOUNT_KEY", secrets[2]).env("AZURE_ACCOUNT_KEY", secrets[3]);
        command.env("AWS_SESSION_TOKEN", secrets[4]).env("WINDLASS_METRICS_FILE", &metrics);
        command
    };
    let mut told = String::new();
    let of_bucket = "s3:http://127.0.0.1:1/bucket";
    let mut commands =
        vec![dressed(&["backup", "prune"]), dressed(&["restore"]), dressed(&["nonsense"])];
    let mut wrong = dressed(&["backup"]);
    wrong.env("RESTIC_REPOSITORY", of_bucket).env_remove("AWS_ACCESS_KEY_ID");
    commands.push(wrong);
    for command in &mut commands {
        let said = Said::of(command);
        told.push_str(&format!("{}\n{}\n{}\n", said.out, said.err, pod.read("termination-log")));
    }
    let below = ["cache", "tmp", "metrics.prom"].map(|name| pod.path(name));
    let written =
        below.iter().flat_map(|path| if path.is_dir() { files(path) } else { vec![path.clone()] });
    let written: Vec<Vec<u8>> = written.map(|file| fs::read(file).expect("read")).collect();
    assert!(!written.is_empty());
    for secret in secrets {
        assert!(!told.contains(secret), "{secret} in {told}");
        let has = |bytes: &Vec<u8>| bytes.windows(secret.len()).any(|it| it == secret.as_bytes());
        assert!(!written.iter().any(has), "{secret} in a file");
    }
}
