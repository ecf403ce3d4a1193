//! What every store has to show over a real server: the suite of conformance, and restic and
//! Windlass on one repository.
//!
//! Not here: servers (`testkit`), and what only one of them can do wrong (a file for each).

use std::sync::Arc;

use windlass_engine::{
    clock::{Clock, SystemClock},
    entropy::Entropy,
    protocol::restic::{InitOptions, layout},
    repository::{Place, Repository},
    store::{
        Backend, Existing, Failure, Key, Range,
        limit::Limiter,
        location::Location,
        remote::Remote,
        settings::StoreSettings,
        steady::{Line, Steady},
        trace::Observer,
    },
};
use windlass_testkit::conformance::{
    Naming, Taken, absent_location, check_failure, conformance_where, listed, put,
};

use super::{
    peer::Restic,
    scene::{HOST, Scene, environment, noise, password, runtime},
};

/// A store as operations see it.
pub(super) fn store(remote: impl Remote, settings: &StoreSettings) -> Steady {
    let limiter = Arc::new(Limiter::new(settings.limits));
    let line = Line::new(remote, settings, &limiter, &Observer::default(), &Entropy::system());
    line.store(layout())
}

/// Runs the suite in a location that is not there yet.
pub(super) fn check_conformance(remote: impl Remote, settings: &StoreSettings, taken: Taken) {
    let store = store(remote, settings);
    runtime().block_on(async {
        store.create().await.expect("created");
        conformance_where(&store, Naming::Typed, taken).await;
    });
}

/// A web page in the place of an answer is neither absence nor success nor an object.
pub(super) fn check_page(store: &dyn Backend) {
    let key = Key::new("config");
    runtime().block_on(async {
        check_failure(store.stat(&key).await, Failure::Permanent);
        check_failure(store.read(&key, Range::All).await, Failure::Permanent);
        check_failure(put(store, &key, b"x", Existing::Keep).await, Failure::Permanent);
        check_failure(listed(store, "data/").await, Failure::Permanent);
        check_failure(store.delete(&key).await, Failure::Permanent);
        let error = store.create().await.expect_err("refused");
        assert!(error.to_string().contains("a web page came"), "{error}");
    });
}

/// Runs the part of it for a location that is not there, where the server knows of locations.
pub(super) fn check_absence(remote: impl Remote, settings: &StoreSettings) {
    let store = store(remote, settings);
    runtime().block_on(absent_location(&store, Naming::Typed));
}

/// The place at a location.
pub(super) fn place(location: &str, settings: &StoreSettings) -> Place {
    let location = Location::parse(location).expect("a location");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    Place::open(&location, settings, &Observer::default(), &clock, &Entropy::system())
        .expect("a place")
}

/// restic and Windlass take turns in an empty repository at `location`.
pub(super) fn check_interop(location: &str, options: &[String], settings: &StoreSettings) {
    if let Some(restic) = Restic::reaching(location, options) {
        take_turns(&restic, location, settings);
    }
}

/// The same with this restic.
pub(super) fn take_turns(restic: &Restic, location: &str, settings: &StoreSettings) {
    let scene = Scene::new();
    scene.write("small", "text");
    scene.write("deep/er/empty", "");
    scene.write("large", noise(1, 9 << 20));

    restic.good(&["init"]);
    restic.back_up(&scene.source());
    let repository = scene.try_open_at(&place(location, settings)).expect("opened");
    let [(_id, root)] = &scene.roots(&repository)[..] else { panic!("one snapshot") };
    scene.check_restore(&repository, root, "theirs");

    scene.write("large", noise(2, 9 << 20));
    scene.write("more", noise(3, 1 << 20));
    let report = scene.back_up(&repository);
    let root = scene.root(&repository, &report);
    scene.check_restore(&repository, &root, "ours");
    scene.check_whole(&repository);
    drop(repository);
    restic.check();
    let told = restic.good(&["snapshots", "--json"]);
    assert_eq!(told.matches("\"short_id\"").count(), 2, "{told}");
}

/// Windlass creates a repository at an empty `location`, and restic accepts it where it can reach
/// it with these options.
pub(super) fn check_creation(location: &str, options: Option<&[String]>, settings: &StoreSettings) {
    let scene = Scene::new();
    scene.write("file", noise(4, 100_000));
    let place = place(location, settings);
    let missing = scene.try_open_at(&place).expect_err("nothing there yet").to_string();
    assert!(missing.contains("does not exist"), "{missing}");
    let init = InitOptions {
        version: windlass_format::restic::config::Version::V2,
        polynomial: None,
        fast_cdc: false,
        username: "user".into(),
        hostname: HOST.into(),
    };
    runtime()
        .block_on(Repository::init(&place, &password(), &init, &environment()))
        .expect("created");
    let repository = scene.try_open_at(&place).expect("opened");
    scene.back_up(&repository);
    drop(repository);
    if let Some(restic) = options.and_then(|options| Restic::reaching(location, options)) {
        restic.check();
    }
}
