//! Folders in Google Drive, with a server in the test's own process.
//!
//! Not here: the service itself, which wants an account. What is written there is judged by restic,
//! from a copy in a directory.

use std::{net::SocketAddr, sync::Arc};

use windlass_engine::{
    clock::SystemClock,
    store::{
        Backend, Existing, Failure, Key, Range,
        drive::Drive,
        limit::Limiter,
        location::Location,
        settings::{SecretText, StoreSettings},
        steady::Steady,
        trace::Observer,
    },
};
use windlass_format::restic::config::Version;
use windlass_testkit::{
    conformance::{Taken, check_failure, listed, put},
    drive::{DriveServer, FOLDER, refusal_text},
    toxic::{Dose, Poison, Toxic},
};

use super::{
    parrot::Parrot,
    peer::Restic,
    reach::{check_absence, check_conformance, check_creation, check_page, place, store},
    scene::{Scene, init, noise, runtime},
};

/// Through `address`, with the login of a user.
fn settings_at(server: &DriveServer, address: SocketAddr) -> StoreSettings {
    let mut settings = StoreSettings::default();
    settings.drive.endpoint = Some(format!("http://{address}"));
    settings.drive.credentials.key = Some(SecretText::new(server.user()));
    settings
}

fn settings(server: &DriveServer) -> StoreSettings {
    settings_at(server, server.address())
}

fn at(location: &str, settings: &StoreSettings) -> Drive {
    let Ok(Location::Drive(location)) = Location::parse(location) else { panic!("{location}") };
    let limiter = Arc::new(Limiter::new(settings.limits));
    let clock = Arc::new(SystemClock);
    Drive::new(&location, settings, &limiter, &Observer::default(), clock).expect("made")
}

fn folder(path: &str) -> String {
    format!("gdrive:{FOLDER}:{path}")
}

fn opened(settings: &StoreSettings) -> Steady {
    store(at(&folder(""), settings), settings)
}

fn key(kind: &str, digit: char) -> Key {
    Key::new(format!("{kind}/{}", digit.to_string().repeat(64)))
}

#[test]
fn a_folder_conforms_whoever_logs_in() {
    let server = DriveServer::start();
    let scratch = tempfile::tempdir().expect("a directory");
    let mut settings = settings(&server);
    check_absence(at(&folder("deep/it's here"), &settings), &settings);
    check_conformance(at(&folder("deep/it's here"), &settings), &settings, Taken::Kept);
    settings.drive.credentials.key = None;
    settings.drive.credentials.access_token = Some(SecretText::new(server.token()));
    check_conformance(at(&folder(""), &settings), &settings, Taken::Kept);
    assert_eq!(server.names(), [""; 0]);

    let Some(robot) = server.robot(scratch.path()) else { return };
    settings.drive.credentials.access_token = None;
    let file = scratch.path().join("robot.json");
    std::fs::write(&file, robot).expect("written");
    settings.drive.credentials.file = Some(file);
    let store = opened(&settings);
    check_failure(runtime().block_on(store.stat(&Key::new("config"))), Failure::NotFound);
}

#[test]
fn what_is_stored_is_laid_out_as_restic_has_it() {
    let server = DriveServer::start();
    let settings = settings(&server);
    check_creation(&folder("mine"), None, &settings);
    let copy = tempfile::tempdir().expect("a directory");
    server.copy_to(copy.path());
    let Some(restic) = Restic::at(&copy.path().join("mine")) else { return };
    restic.check();
    assert!(restic.good(&["snapshots", "--json"]).contains("short_id"));
}

#[test]
fn a_token_that_ends_is_renewed_and_nobody_notices() {
    let server = DriveServer::start();
    let settings = settings(&server);
    let scene = Scene::new();
    init(&place(&folder("r"), &settings), Version::V2);
    let repository = scene.try_open_at(&place(&folder("r"), &settings)).expect("opened");
    let tokens = server.tokens();
    server.expire_tokens();
    // Large enough for a conversation of its own.
    scene.write("file", noise(1, 9 << 20));
    let report = scene.back_up(&repository);
    server.expire_tokens();
    let root = scene.root(&repository, &report);
    scene.check_restore(&repository, &root, "restored");
    assert_eq!(server.tokens(), tokens + 2, "one for each that ended");

    // One that nobody can renew.
    let mut given = settings;
    given.drive.credentials.key = None;
    given.drive.credentials.access_token = Some(SecretText::new(server.token()));
    server.expire_tokens();
    let error = runtime().block_on(opened(&given).stat(&Key::new("config"))).expect_err("refused");
    assert_eq!(error.failure, Failure::Denied);
    assert!(error.to_string().contains("does not accept the token"), "{error}");
}

#[test]
fn of_several_files_of_one_name_the_oldest_counts_and_all_go_together() {
    let server = DriveServer::start();
    let settings = settings(&server);
    let store = opened(&settings);
    let name = key("keys", 'a');
    runtime().block_on(async {
        store.create().await.expect("created");
        server.plant(name.as_str(), &b"the oldest"[..]);
        server.plant(name.as_str(), &b"another"[..]);
        server.plant_as(name.as_str(), "application/vnd.google-apps.document", &b""[..]);
        let rows = listed(&store, "keys/").await.expect("listed");
        assert_eq!((rows.len(), rows[0].stored_bytes), (1, 10));
        assert_eq!(store.stat(&name).await.expect("there"), rows[0]);
        assert_eq!(store.read(&name, Range::All).await.expect("read"), "the oldest");
        // The same again is stored and leaves nothing beside it; other content is refused.
        put(&store, &name, b"the oldest", Existing::Keep).await.expect("the same");
        check_failure(put(&store, &name, b"third", Existing::Keep).await, Failure::Permanent);
        assert_eq!(server.names().len(), 3, "{:?}", server.names());
        store.delete(&name).await.expect("deleted");
        check_failure(store.stat(&name).await, Failure::NotFound);
        assert_eq!(listed(&store, "").await.expect("listed"), []);

        // Two folders of one name are one directory.
        let first = key("locks", '1');
        put(&store, &first, b"in the first", Existing::Keep).await.expect("put");
        let second = opened(&settings);
        server.plant_folder("locks");
        let other = key("locks", '2');
        put(&second, &other, b"x", Existing::Keep).await.expect("put");
        assert_eq!(listed(&store, "locks/").await.expect("listed").len(), 2);
        assert_eq!(store.read(&other, Range::All).await.expect("read"), "x");
    });
}

#[test]
fn lists_that_come_late_show_what_this_process_did() {
    let server = DriveServer::start();
    let settings = settings(&server);
    let store = opened(&settings);
    let (one, other) = (key("locks", '1'), key("locks", '2'));
    runtime().block_on(async {
        store.create().await.expect("created");
        server.be_late(true);
        put(&store, &one, b"x", Existing::Keep).await.expect("put");
        put(&store, &other, b"y", Existing::Keep).await.expect("put");
        let keys = async || {
            let rows = listed(&store, "locks/").await.expect("listed");
            rows.into_iter().map(|row| row.key).collect::<Vec<_>>()
        };
        assert_eq!(keys().await, [one.clone(), other.clone()]);
        assert_eq!(store.stat(&one).await.expect("there").stored_bytes, 1);
        store.delete(&one).await.expect("deleted");
        assert_eq!(keys().await, slice(&other));
        check_failure(store.stat(&one).await, Failure::NotFound);
        server.be_late(false);
        assert_eq!(keys().await, slice(&other));
    });
}

fn slice(key: &Key) -> &[Key] {
    std::slice::from_ref(key)
}

#[test]
fn whoever_may_not_delete_for_good_uses_the_trash_or_says_so() {
    let server = DriveServer::start();
    let settings = settings(&server);
    let store = opened(&settings);
    let name = key("keys", 'b');
    runtime().block_on(async {
        store.create().await.expect("created");
        put(&store, &name, b"x", Existing::Keep).await.expect("put");
        server.allow(false, false);
        let error = store.delete(&name).await.expect_err("refused");
        assert_eq!(error.failure, Failure::Denied);
        assert!(error.to_string().contains("may not delete"), "{error}");
        put(&store, &name, b"x", Existing::Keep).await.expect("the same again");
        assert_eq!(store.read(&name, Range::All).await.expect("read"), "x");
        server.allow(false, true);
        store.delete(&name).await.expect("into the trash");
        check_failure(store.stat(&name).await, Failure::NotFound);
        assert_eq!(listed(&store, "keys/").await.expect("listed"), []);
        assert_eq!((server.names().len(), server.trashed()), (0, 2), "with the twin");
    });
}

#[test]
fn a_service_that_asks_for_less_gets_less_and_lost_answers_leave_nothing_double() {
    let server = DriveServer::start();
    let front = Toxic::before(server.address());
    let settings = settings_at(&server, front.address());
    let store = opened(&settings);
    let name = key("keys", 'c');
    let say = |status, reason| Poison::Say {
        status,
        kind: "application/json",
        text: refusal_text(status, reason, "User Rate Limit Exceeded"),
    };
    runtime().block_on(async {
        store.create().await.expect("created");
        front.add(Dose::of("POST", "upload", 0, 1, say(403, "userRateLimitExceeded")));
        front.add(Dose::of("GET", "files?", 0, 1, say(403, "rateLimitExceeded")));
        front.add(Dose::of("GET", "alt=media", 0, 1, say(429, "")));
        front.add(Dose::of("POST", "upload", 0, 1, Poison::LoseAnswer));
        put(&store, &name, b"x", Existing::Keep).await.expect("put");
        assert_eq!(store.read(&name, Range::All).await.expect("read"), "x");
        assert!(front.all_happened());
        assert_eq!(server.names().len(), 1, "{:?}", server.names());

        let large = key("keys", 'd');
        let bytes = noise(5, 6 << 20);
        front.add(Dose::of("PUT", "session", 0, 1, Poison::LoseAnswer));
        put(&store, &large, &bytes, Existing::Keep).await.expect("put");
        assert!(front.all_happened() && server.names().len() == 2, "{:?}", server.names());
        assert!(store.read(&large, Range::All).await.expect("read") == bytes);

        front.add(Dose::always(say(403, "storageQuotaExceeded")));
        let error = put(&store, &name, b"x", Existing::Keep).await.expect_err("full");
        assert_eq!(error.failure, Failure::NoSpace);
        assert!(error.advice().is_some_and(|advice| advice.contains("shared drive")));
    });
}

#[test]
fn a_folder_that_cannot_be_used_is_not_taken_for_a_missing_repository() {
    let server = DriveServer::start();
    let scratch = tempfile::tempdir().expect("a directory");
    let file = server.plant("file", &b"x"[..]);
    let mut settings = settings(&server);
    if let Some(robot) = server.robot(scratch.path()) {
        settings.drive.credentials.key = Some(SecretText::new(robot));
    }
    let refused = |location: &str, settings: &StoreSettings| {
        let error = Scene::new().try_open_at(&place(location, settings)).expect_err("refused");
        let (text, advice) = (error.to_string(), error.advice().to_owned());
        assert!(!text.contains("does not exist"), "{text}");
        format!("{text}; {advice}")
    };
    let said = refused("gdrive:nobodys", &settings);
    assert!(said.contains("shows this account no folder nobodys"), "{said}");
    assert!(said.contains("share the folder with"), "{said}");
    let said = refused(&format!("gdrive:{file}"), &settings);
    assert!(said.contains("is a file and no folder"), "{said}");
    let there = Scene::new().try_open_at(&place(&folder("x"), &settings)).expect_err("nothing");
    assert!(there.to_string().contains("does not exist"), "{there}");
    server.trash_folder();
    let said = refused(&folder(""), &settings);
    assert!(said.contains("is in the trash"), "{said}");
}

#[test]
fn a_folder_that_is_not_shared_any_more_has_lost_nothing() {
    let server = DriveServer::start();
    let settings = settings(&server);
    let store = opened(&settings);
    let (there, other) = (key("keys", 'e'), key("keys", 'f'));
    runtime().block_on(async {
        store.create().await.expect("created");
        put(&store, &there, b"x", Existing::Keep).await.expect("put");
        server.unshare();
        for key in [&Key::new("config"), &other] {
            let error = store.stat(key).await.expect_err("cannot tell");
            assert_eq!(error.failure, Failure::Denied);
            assert!(error.to_string().contains("shows this account no folder"), "{error}");
        }
        check_failure(listed(&store, "keys/").await, Failure::Denied);
        check_failure(
            put(&store, &Key::new("config"), b"x", Existing::Keep).await,
            Failure::Denied,
        );
    });
}

#[test]
fn what_keeps_anyone_out_is_named() {
    let server = DriveServer::start();
    let settings = settings(&server);
    let refused = |settings: &StoreSettings| {
        runtime().block_on(opened(settings).stat(&Key::new("config"))).expect_err("refused")
    };
    let mut revoked = settings.clone();
    let text = server.user().replace("refresh me", "hush");
    revoked.drive.credentials.key = Some(SecretText::new(text));
    let error = refused(&revoked);
    assert_eq!(error.failure, Failure::Denied);
    let told = format!("{error} {:?}", error.advice());
    assert!(told.contains("this login is not accepted") && told.contains("clock"), "{told}");
    assert!(!told.contains("hush"), "{told}");

    let mut nobody = settings;
    nobody.drive.credentials.key = None;
    let Ok(Location::Drive(location)) = Location::parse(&folder("")) else { panic!("no folder") };
    let limiter = Arc::new(Limiter::new(nobody.limits));
    let clock = Arc::new(SystemClock);
    let error = Drive::new(&location, &nobody, &limiter, &Observer::default(), clock);
    let error = error.expect_err("nobody");
    assert!(error.advice().expect("advice").contains("GOOGLE_APPLICATION_CREDENTIALS"), "{error}");
}

#[test]
fn a_page_is_neither_absence_nor_success_nor_an_object_of_a_folder() {
    for status in ["200 OK", "404 Not Found"] {
        let parrot = Parrot::with_page(status);
        let mut settings = StoreSettings::default();
        settings.drive.endpoint = Some(format!("http://{}", parrot.address));
        settings.drive.credentials.access_token = Some(SecretText::new("token"));
        check_page(&opened(&settings));
    }
}
