//! Backblaze B2.
//!
//! Not here: the service itself, which cannot run on a test's machine.

use std::sync::Arc;

use windlass_engine::{
    clock::SystemClock,
    store::{
        Backend, Failure, Key,
        b2::B2Remote,
        limit::Limiter,
        location::Location,
        settings::{SecretText, StoreSettings},
        trace::Observer,
    },
};
use windlass_testkit::{
    b2::{ACCOUNT, B2Server},
    conformance::{Taken, listed},
    s3::{KEY_ID, SECRET_KEY},
    toxic::{Dose, Poison},
};

use super::{
    peer::Restic,
    reach::{check_absence, check_conformance, place, store},
    scene::{Scene, noise, runtime},
};

fn settings(service: &B2Server, key_id: &str) -> StoreSettings {
    let mut settings = StoreSettings::default();
    settings.b2.key_id = Some(key_id.to_owned());
    settings.b2.key = Some(SecretText::new(SECRET_KEY));
    settings.b2.account_service = service.address();
    settings
}

fn at(location: &str, settings: &StoreSettings) -> B2Remote {
    let Ok(Location::B2(bucket)) = Location::parse(location) else { panic!("{location}") };
    let limiter = Arc::new(Limiter::new(settings.limits));
    B2Remote::new(&bucket, settings, &limiter, &Observer::default(), Arc::new(SystemClock))
        .expect("made")
}

#[test]
fn a_bucket_of_b2_conforms_and_its_account_is_asked_about_once() {
    let service = B2Server::start();
    let settings = settings(&service, KEY_ID);
    check_absence(at("b2:missing:deep/prefix", &settings), &settings);
    assert_eq!(service.questions(), 1);
    check_conformance(at("b2:bucket:deep/prefix", &settings), &settings, Taken::Kept);
    assert_eq!(service.questions(), 1);
}

#[test]
fn what_restic_stored_is_found_under_the_same_names() {
    let service = B2Server::start();
    service.s3().make("bucket");
    let location = format!("s3:http://{}/bucket/r", service.s3().address());
    let Some(restic) = Restic::reaching(&location, &[]) else { return };
    let restic = restic.with("AWS_ACCESS_KEY_ID", KEY_ID).with("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    let scene = Scene::new();
    scene.write("large", noise(1, 3 << 20));
    restic.good(&["init"]);
    restic.back_up(&scene.source());
    let repository =
        scene.try_open_at(&place("b2:bucket:/r", &settings(&service, KEY_ID))).expect("opened");
    let [(_id, root)] = &scene.roots(&repository)[..] else { panic!("one snapshot") };
    scene.check_restore(&repository, root, "theirs");
    scene.write("more", noise(2, 1 << 20));
    scene.back_up(&repository);
    drop(repository);
    restic.check();
}

#[test]
fn what_the_service_says_of_an_account_is_told_apart() {
    let refused = |service: &B2Server, key: &str| {
        let settings = settings(service, key);
        let store = store(at("b2:bucket", &settings), &settings);
        runtime().block_on(listed(&store, "keys/")).expect_err("refused")
    };
    let unknown = B2Server::answering(
        401,
        "application/json",
        r#"{"code":"bad_auth_token","message":"","status":401}"#,
    );
    let error = refused(&unknown, KEY_ID);
    assert_eq!(error.failure, Failure::Denied);
    assert!(error.to_string().contains("does not accept this application key"), "{error}");
    assert!(error.advice().expect("advice").contains("B2_ACCOUNT_ID"));

    let error = refused(&B2Server::start(), "4f2a00000001");
    assert!(error.to_string().contains("master key"), "{error}");

    let page = B2Server::answering(200, "text/html", "<html>log in</html>");
    assert_eq!(refused(&page, KEY_ID).failure, Failure::Permanent);
    let other = B2Server::answering(200, "application/json", "{}");
    assert_eq!(refused(&other, KEY_ID).failure, Failure::Permanent);

    let busy = B2Server::silent();
    busy.front().add(Dose::of("GET", ACCOUNT, 0, 1, Poison::Busy { retry_after: Some(1) }));
    let settings = settings(&busy, KEY_ID);
    let store = store(at("b2:bucket", &settings), &settings);
    let key = Key::new("config");
    // It is asked again, and then the S3 server does not know such a name.
    let error = runtime().block_on(store.stat(&key)).expect_err("no account service");
    assert_ne!(error.failure, Failure::Throttled, "{error}");
    assert!(busy.questions() > 1);
}
