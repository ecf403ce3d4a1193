//! Stores behind SSH: OpenSSH's file server over pipes, and a whole daemon on loopback.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, Instant},
};

use windlass_engine::{
    protocol::restic::layout,
    store::{
        Backend, Existing, Failure, Key, Range, StoreError, location::Location,
        settings::StoreSettings, sftp::Sftp,
    },
};
use windlass_testkit::{
    conformance::{Taken, check_failure, put},
    server::sshd::{SftpServer, Sshd},
};

use super::{
    peer::Restic,
    reach::{check_absence, check_conformance, check_creation, check_interop, store},
    scene::runtime,
};

fn at(location: &str, settings: &StoreSettings) -> Sftp {
    let Ok(Location::Sftp(location)) = Location::parse(location) else { panic!("{location}") };
    Sftp::new(&location, settings).expect("words")
}

fn by_command(command: &str) -> StoreSettings {
    let mut settings = StoreSettings::default();
    settings.sftp.command = Some(command.to_owned());
    settings
}

fn by_arguments(arguments: String) -> StoreSettings {
    let mut settings = StoreSettings::default();
    settings.sftp.args = Some(arguments);
    settings
}

fn key(digit: char) -> Key {
    Key::new(format!("data/{}", digit.to_string().repeat(64)))
}

fn names_below(root: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => pending.push(path),
                false => names.push(path.strip_prefix(root).expect("below").display().to_string()),
            }
        }
    }
    names
}

#[test]
fn a_directory_behind_a_command_conforms() {
    let Some(server) = SftpServer::find() else { return };
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let location = format!("sftp:host:{}/new/repository", scratch.path().display());
    let settings = by_command(&server.command());
    check_absence(at(&location, &settings), &settings);
    check_conformance(at(&location, &settings), &settings, Taken::Kept);
    assert_eq!(names_below(scratch.path()), [""; 0], "nothing temporary is left");
}

#[test]
fn restic_and_windlass_share_a_repository_behind_a_command() {
    let Some(server) = SftpServer::find() else { return };
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let settings = by_command(&server.command());
    let options = [format!("sftp.command={}", server.command())];
    for name in ["theirs", "ours"] {
        let location = format!("sftp:host:{}/{name}", scratch.path().display());
        match name {
            "theirs" => check_interop(&location, &options, &settings),
            _ => check_creation(&location, Some(&options), &settings),
        }
        let names = names_below(&scratch.path().join(name));
        assert!(names.iter().all(|name| !name.contains("tmp")), "{names:?}");
    }
}

#[test]
fn objects_are_read_only_and_the_group_is_let_in_where_it_was_before() {
    let Some(server) = SftpServer::find() else { return };
    for (config, object, directory) in [(0o400, 0o400, 0o700), (0o440, 0o440, 0o770)] {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let config_path = scratch.path().join("config");
        fs::write(&config_path, "config").expect("written");
        fs::set_permissions(&config_path, fs::Permissions::from_mode(config)).expect("set");
        let settings = by_command(&server.command());
        let location = format!("sftp:host:{}", scratch.path().display());
        let store = store(at(&location, &settings), &settings);
        runtime().block_on(async {
            put(&store, &key('a'), b"content", Existing::Keep).await.expect("put");
        });
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o7777;
        let file = scratch.path().join(layout().path(&key('a')).expect("a path"));
        assert_eq!(mode(&file), object);
        assert_eq!(mode(file.parent().expect("a directory")), directory);
    }
}

#[test]
fn a_lost_session_is_transient_and_the_next_call_begins_another() {
    let Some(server) = SftpServer::find() else { return };
    let scratch = tempfile::tempdir().expect("a temporary directory");
    // The first session ends after a while, the others with their store.
    let (marker, server) = (scratch.path().join("marker"), server.command());
    let command = format!(
        "sh -c \"if mkdir {}; then timeout 2 {server}; else exec {server}; fi\"",
        marker.display()
    );
    let mut settings = by_command(&command);
    settings.patience.tries = Some(1);
    let location = format!("sftp:host:{}", scratch.path().display());
    let store = store(at(&location, &settings), &settings);
    runtime().block_on(async {
        check_failure(store.stat(&key('a')).await, Failure::NotFound);
        tokio::time::sleep(Duration::from_secs(3)).await;
        check_failure(store.stat(&key('a')).await, Failure::Transient);
        put(&store, &key('a'), b"content", Existing::Keep).await.expect("a new session");
    });
}

#[test]
fn what_the_program_complains_of_is_in_the_error() {
    let refuse = |words: &str| by_command(&format!("sh -c \"echo '{words}' >&2; exit 255\""));
    for (words, failure) in [
        ("ssh: connect to host x port 22: Connection refused", Failure::Permanent),
        ("me@x: Permission denied (publickey).", Failure::Denied),
        ("Host key verification failed.", Failure::Denied),
    ] {
        let error = first_call(&refuse(words));
        assert_eq!(error.failure, failure, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    let error = first_call(&by_command("/no/such/program"));
    assert_eq!(error.failure, Failure::Permanent);
    assert!(error.to_string().contains("/no/such/program"), "{error}");
}

#[test]
fn a_program_that_says_nothing_is_given_up() {
    let mut settings = by_command("sleep 60");
    settings.http.stuck_after = Duration::from_millis(200);
    settings.patience.tries = Some(1);
    let began = Instant::now();
    let error = first_call(&settings);
    assert_eq!(error.failure, Failure::Transient, "{error}");
    assert!(began.elapsed() < Duration::from_secs(30));
}

fn first_call(settings: &StoreSettings) -> StoreError {
    let store = store(at("sftp:host:path", settings), settings);
    runtime().block_on(store.stat(&Key::new("config"))).expect_err("refused")
}

#[test]
fn options_that_exclude_each_other_are_refused() {
    let mut settings = by_command("ssh host");
    settings.sftp.args = Some("-v".into());
    let Ok(Location::Sftp(location)) = Location::parse("sftp:host:path") else { panic!("sftp") };
    check_failure(Sftp::new(&location, &settings), Failure::Permanent);
}

#[test]
fn a_daemon_is_reached_as_ssh_is_configured() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let Some(sshd) = Sshd::start(scratch.path()) else { return };
    let location = |name: &str| {
        let path = scratch.path().join(name);
        format!("sftp://127.0.0.1:{}/{}", sshd.port(), path.display())
    };
    let settings = by_arguments(sshd.arguments("user"));
    let options = [format!("sftp.args={}", sshd.arguments("user"))];
    check_conformance(at(&location("suite"), &settings), &settings, Taken::Kept);
    // Arguments of its own for ssh are an option of restic since 0.16.
    if Restic::at(scratch.path()).is_none_or(|restic| restic.is_at_least((0, 16))) {
        check_interop(&location("repository"), &options, &settings);
    }

    for settings in
        [by_arguments(sshd.arguments("stranger")), by_arguments(sshd.arguments_of_a_newcomer())]
    {
        let store = store(at(&location("repository"), &settings), &settings);
        let read = runtime().block_on(store.read(&Key::new("config"), Range::All));
        check_failure(read, Failure::Denied);
    }
}
