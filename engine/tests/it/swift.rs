//! OpenStack Swift, with a server in the test's own process that restic has to be content with.
//!
//! Not here: a real service, which takes several machines.

use std::sync::Arc;

use windlass_engine::store::{
    Backend, Failure, Key, Range,
    limit::Limiter,
    location::Location,
    settings::{SecretText, StoreSettings},
    swift::Swift,
    trace::Observer,
};
use windlass_testkit::{
    conformance::{Taken, listed},
    swift::{KEY, PROJECT, SwiftServer, USER},
    toxic::{Dose, Poison, Toxic},
};

use super::{
    peer::Restic,
    reach::{check_absence, check_conformance, check_creation, place, store, take_turns},
    scene::{Scene, noise, runtime},
};

fn settings(server: &SwiftServer, version: u8) -> StoreSettings {
    let mut settings = StoreSettings::default();
    settings.swift.auth_url = Some(server.login(version));
    settings.swift.user = Some(USER.to_owned());
    settings.swift.password = Some(SecretText::new(KEY));
    if version > 1 {
        settings.swift.project = Some(PROJECT.to_owned());
        settings.swift.region = Some("here".to_owned());
    }
    settings
}

fn at(location: &str, settings: &StoreSettings) -> Swift {
    let Ok(Location::Swift(bucket)) = Location::parse(location) else { panic!("{location}") };
    let limiter = Arc::new(Limiter::new(settings.limits));
    Swift::new(&bucket, settings, &limiter, &Observer::default()).expect("made")
}

#[test]
fn a_container_conforms_whichever_way_is_logged_in() {
    let server = SwiftServer::start();
    for (version, location) in
        [(1, "swift:one:/"), (2, "swift:two:/deep/with space"), (3, "swift:three:/r")]
    {
        let settings = settings(&server, version);
        check_absence(at(location, &settings), &settings);
        check_conformance(at(location, &settings), &settings, Taken::Kept);
    }
}

#[test]
fn restic_and_windlass_share_a_container() {
    let server = SwiftServer::start();
    let settings = settings(&server, 1);
    check_creation("swift:ours:/r", None, &settings);
    let Some(restic) = Restic::reaching("swift:ours:/r", &[]) else { return };
    let dressed = |restic: Restic| {
        restic.with("ST_AUTH", &server.login(1)).with("ST_USER", USER).with("ST_KEY", KEY)
    };
    dressed(restic).check();
    let restic = Restic::reaching("swift:theirs:/deep/er", &[]).expect("it was there before");
    take_turns(&dressed(restic), "swift:theirs:/deep/er", &settings);
    assert!(server.names("theirs").iter().all(|name| name.starts_with("deep/er/")));
}

#[test]
fn a_token_that_ends_is_renewed_and_nobody_notices() {
    let server = SwiftServer::start();
    let settings = settings(&server, 3);
    let scene = Scene::new();
    super::scene::init(
        &place("swift:container:/r", &settings),
        windlass_format::restic::config::Version::V2,
    );
    let repository = scene.try_open_at(&place("swift:container:/r", &settings)).expect("opened");
    let tokens = server.tokens();
    server.expire_tokens();
    scene.write("file", noise(1, 2 << 20));
    let report = scene.back_up(&repository);
    server.expire_tokens();
    let root = scene.root(&repository, &report);
    scene.check_restore(&repository, &root, "restored");
    assert_eq!(server.tokens(), tokens + 2, "one for each that ended");
}

#[test]
fn what_keeps_anyone_out_is_named() {
    let server = SwiftServer::start();
    let refused = |settings: &StoreSettings| {
        let store = store(at("swift:container:/", settings), settings);
        runtime().block_on(listed(&store, "keys/")).expect_err("refused")
    };
    let mut wrong = settings(&server, 1);
    wrong.swift.password = Some(SecretText::new("wrong"));
    let error = refused(&wrong);
    assert_eq!(error.failure, Failure::Denied);
    assert!(error.to_string().contains("login is not accepted"), "{error}");
    assert!(error.advice().expect("advice").contains("OS_PASSWORD"));

    let mut elsewhere = settings(&server, 3);
    elsewhere.swift.region = Some("nowhere".to_owned());
    assert!(refused(&elsewhere).to_string().contains("no object store in region nowhere"));

    let nobody = refused(&StoreSettings::default());
    assert!(nobody.advice().expect("advice").contains("OS_AUTH_URL"), "{nobody}");

    let mut given = StoreSettings::default();
    given.swift.storage_url = Some(format!("http://{}/v1/AUTH_test", server.address()));
    given.swift.auth_token = Some(SecretText::new("token-99"));
    assert_eq!(refused(&given).failure, Failure::Denied);
}

#[test]
fn only_the_server_says_that_something_is_absent() {
    let server = SwiftServer::start();
    let front = Toxic::before(server.address());
    let settings = settings(&server, 1);
    let container = store(at("swift:container:/r", &settings), &settings);
    runtime().block_on(container.create()).expect("created");
    // The account as it is seen through something in between.
    let mut between = StoreSettings::default();
    between.swift.storage_url = Some(format!("http://{}/v1/AUTH_test", front.address()));
    between.swift.auth_token = Some(SecretText::new("token-1"));
    let container = store(at("swift:container:/r", &between), &between);
    let key = Key::new("config");
    let read = || runtime().block_on(container.read(&key, Range::All)).expect_err("not there");
    assert_eq!(read().failure, Failure::NotFound, "with a page of the server's own");
    let text = "<html>nothing here</html>".to_owned();
    front.add(Dose::always(Poison::Say { status: 404, kind: "text/html", text }));
    assert_eq!(read().failure, Failure::Permanent);
    front.clear();
    front.add(Dose::always(Poison::Page));
    assert_eq!(read().failure, Failure::Permanent);
}
