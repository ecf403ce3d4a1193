//! Repositories on REST servers: restic's own and rclone's, over the network, a socket and pipes.

use std::{panic, sync::Arc, thread, time::Duration};

use windlass_engine::store::{
    Backend, Existing, Failure, Key, Range,
    limit::Limiter,
    location::{Location, Login},
    rclone,
    rest::Rest,
    settings::{Patience, SecretText, StoreSettings},
    trace::Observer,
};
use windlass_testkit::{
    conformance::{Taken, check_failure, listed, put},
    server::{Server, rclone::Rclone, rest_server::RestServer},
};

use super::{
    parrot::Parrot,
    peer::Restic,
    reach::{check_conformance, check_creation, check_interop, check_page, place, store},
    scene::{Scene, runtime},
};

pub(super) fn at(location: &str, settings: &StoreSettings) -> Rest {
    let Ok(Location::Rest(location)) = Location::parse(location) else { panic!("{location}") };
    let limiter = Arc::new(Limiter::new(settings.limits));
    Rest::new(&location, settings, &limiter, &Observer::default()).expect("a client")
}

fn url(server: &Server, path: &str) -> String {
    format!("rest:http://{}/{path}", server.address())
}

fn name(digit: char) -> String {
    digit.to_string().repeat(64)
}

#[test]
fn restics_own_server_conforms() {
    let Some(program) = RestServer::find() else { return };
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let data = scratch.path().join("data");
    // The suite's objects are not named after their content.
    let options = ["--no-auth", "--no-verify-upload"];
    let server = program.serve(&data, scratch.path(), &options);
    let taken = Taken::Kept;
    let settings = StoreSettings::default();
    check_conformance(at(&url(&server, "a/repository/"), &settings), &settings, taken);
}

#[test]
fn rclone_as_a_server_conforms() {
    let Some(program) = Rclone::find() else { return };
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let data = scratch.path().join("data");
    let server = program.serve("restic", &data, scratch.path(), &[]);
    let settings = StoreSettings::default();
    let taken = Taken::Replaced;
    check_conformance(at(&url(&server, "repository/"), &settings), &settings, taken);
}

#[test]
fn restic_and_windlass_share_a_repository_on_each_server() {
    let settings = StoreSettings::default();
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let data = scratch.path().join("data");
    if let Some(program) = Rclone::find() {
        let server = program.serve("restic", &data, scratch.path(), &[]);
        check_interop(&url(&server, "theirs/"), &[], &settings);
        check_creation(&url(&server, "ours/"), Some(&[]), &settings);
    }
    if let Some(program) = RestServer::find() {
        let server = program.serve(&data, scratch.path(), &["--no-auth"]);
        check_interop(&url(&server, "a/theirs/"), &[], &settings);
        check_creation(&url(&server, "an/ours/"), Some(&[]), &settings);
    }
}

#[test]
fn rclone_is_run_for_a_remote_of_its_own() {
    let Some(program) = Rclone::find() else { return };
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let mut settings = StoreSettings::default();
    let config = ("RCLONE_CONFIG".into(), scratch.path().join("rclone.conf").into());
    settings.rclone.environment.push(config);
    settings.rclone.program = program.program().display().to_string();
    let remote = |name: &str| format!(":local:{}/{name}", scratch.path().display());
    let opened = rclone::open(&remote("suite"), &settings, &Observer::default()).expect("words");
    // Absence, which may be wrong here, would be asked for again each time.
    let once = Patience { tries: Some(1), ..settings.patience };
    let hasty = StoreSettings { patience: once, ..settings.clone() };
    check_conformance(opened, &hasty, Taken::Replaced);
    check_interop(&format!("rclone:{}", remote("theirs")), &[], &settings);
    check_creation(&format!("rclone:{}", remote("ours")), Some(&[]), &settings);
}

#[test]
fn rclone_that_cannot_serve_says_why_at_once() {
    let Some(program) = Rclone::find() else { return };
    let mut settings = StoreSettings::default();
    settings.rclone.program = program.program().display().to_string();
    settings.rclone.environment.push(("RCLONE_CONFIG".into(), "/nonexistent/rclone.conf".into()));
    let opened = rclone::open("nowhere:x", &settings, &Observer::default()).expect("words");
    let store = store(opened, &settings);
    let error = runtime().block_on(store.stat(&Key::new("config"))).expect_err("refused");
    assert_eq!(error.failure, Failure::Permanent, "{error}");
    assert!(error.to_string().contains("nowhere"), "{error}");

    settings.rclone.program = "/no/such/program".into();
    let opened = rclone::open("nowhere:x", &settings, &Observer::default()).expect("words");
    let store = self::store(opened, &settings);
    let error = runtime().block_on(store.stat(&Key::new("config"))).expect_err("refused");
    assert!(error.to_string().contains("/no/such/program"), "{error}");
}

#[test]
fn a_user_and_a_password_are_wanted_and_checked() {
    let Some(program) = Rclone::find() else { return };
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let data = scratch.path().join("data");
    let server =
        program.serve("restic", &data, scratch.path(), &["--user", "me", "--pass", "it's:1"]);
    let key = Key::new("config");
    let address = server.address();
    for (location, failure) in [
        (format!("rest:http://{address}/x/"), Failure::Denied),
        (format!("rest:http://me:wrong@{address}/x/"), Failure::Denied),
        (format!("rest:http://me:it's%3A1@{address}/x/"), Failure::NotFound),
    ] {
        let settings = StoreSettings::default();
        let store = store(at(&location, &settings), &settings);
        check_failure(runtime().block_on(store.stat(&key)), failure);
    }
    let mut settings = StoreSettings::default();
    settings.rest.login = Some(Login { user: "me".into(), password: SecretText::new("it's:1") });
    let store = store(at(&url(&server, "x/"), &settings), &settings);
    check_failure(runtime().block_on(store.stat(&key)), Failure::NotFound);
}

#[test]
fn an_append_only_server_takes_backups_and_keeps_everything_but_locks() {
    let Some(program) = RestServer::find() else { return };
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let data = scratch.path().join("data");
    let server = program.serve(&data, scratch.path(), &["--no-auth", "--append-only"]);
    let settings = StoreSettings::default();
    check_creation(&url(&server, "r/"), Some(&[]), &settings);
    let scene = Scene::new();
    scene.write("file", "more");
    let repository = scene.try_open_at(&place(&url(&server, "r/"), &settings)).expect("opened");
    scene.back_up(&repository);
    let store = store(at(&url(&server, "r/"), &settings), &settings);
    runtime().block_on(async {
        assert_eq!(
            listed(&store, "locks/").await.expect("listed").len(),
            0,
            "locks are taken back"
        );
        let snapshots = listed(&store, "snapshots/").await.expect("listed");
        let error = store.delete(&snapshots[0].key).await.expect_err("refused");
        assert_eq!(error.failure, Failure::Denied);
        assert!(error.to_string().contains("does not let anything be deleted"), "{error}");
        let config = Key::new("config");
        let replaced = put(&store, &config, b"other", Existing::Replace).await;
        check_failure(replaced, Failure::Denied);
        let read = store.read(&config, Range::All).await.expect("still there");
        put(&store, &config, &read, Existing::Replace).await.expect("nothing to do");
    });
}

#[test]
fn a_server_on_a_socket_is_reached() {
    let Some(program) = RestServer::find() else { return };
    let scratch = tempfile::tempdir().expect("a temporary directory");
    // The address of a socket is one for restic since 0.17.
    if Restic::at(scratch.path()).is_some_and(|restic| !restic.is_at_least((0, 17))) {
        return;
    }
    let socket = scratch.path().join("socket");
    let mut child = program.on_socket(&scratch.path().join("data"), &socket).spawn().expect("runs");
    for _ in 0..500 {
        if socket.exists() {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    let location = format!("rest:http+unix://{}:/a/repository/", socket.display());
    let checked = panic::catch_unwind(|| {
        check_interop(&location, &[], &StoreSettings::default());
    });
    let _ended = (child.kill(), child.wait());
    checked.expect("reached");
}

#[test]
fn a_page_of_a_proxy_is_neither_absence_nor_success_nor_an_object() {
    for status in ["200 OK", "404 Not Found"] {
        let parrot = Parrot::with_page(status);
        let settings = StoreSettings::default();
        let store = store(at(&format!("rest:http://{}/", parrot.address), &settings), &settings);
        check_page(&store);
    }
}

#[test]
fn the_older_form_of_lists_is_understood() {
    let names = [name('a'), "foreign".to_owned(), name('b')];
    let body = format!("[\"{}\"]", names.join("\",\""));
    let gone = name('b');
    let parrot = Parrot::new(move |head| {
        let (status, body, length) = if head.starts_with("GET") {
            ("200 OK", body.as_str(), body.len())
        } else if head.contains(&gone) {
            ("404 Not Found", "", 0)
        } else {
            ("200 OK", "", 17)
        };
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/vnd.x.restic.rest.v1\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
    });
    let settings = StoreSettings::default();
    let store = store(at(&format!("rest:http://{}/", parrot.address), &settings), &settings);
    let rows = runtime().block_on(listed(&store, "data/")).expect("listed");
    assert_eq!(rows.len(), 1, "one is foreign and one has vanished: {rows:?}");
    assert_eq!((rows[0].key.as_str(), rows[0].stored_bytes), (&*format!("data/{}", name('a')), 17));
}

#[test]
fn a_server_that_knows_no_ranges_is_read_all_the_same() {
    let parrot = Parrot::new(|_head| {
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\n0123456789".to_owned()
    });
    let settings = StoreSettings::default();
    let store = store(at(&format!("rest:http://{}/", parrot.address), &settings), &settings);
    let key = Key::new(format!("data/{}", name('a')));
    runtime().block_on(async {
        let read = async |range| store.read(&key, range).await;
        assert_eq!(read(Range::At { start: 3, len: 4 }).await.expect("read"), "3456");
        assert_eq!(read(Range::Last { len: 2 }).await.expect("read"), "89");
        check_failure(read(Range::At { start: 9, len: 2 }).await, Failure::Short);
    });
}
