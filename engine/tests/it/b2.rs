//! Backblaze B2: what its own protocol is asked, answered as its documentation says, and an S3
//! server for the rest.
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
    conformance::{Taken, listed},
    s3::{KEY_ID, S3Server, SECRET_KEY},
    toxic::{Dose, Poison, Toxic},
};

use super::{
    peer::Restic,
    reach::{check_absence, check_conformance, place, store},
    scene::{Scene, noise, runtime},
};

/// An account and its buckets behind one address.
struct Service {
    front: Toxic,
    s3: S3Server,
}

impl Service {
    fn new() -> Self {
        let s3 = S3Server::start();
        let front = Toxic::before(s3.address());
        Self { front, s3 }
    }

    /// A service that answers to questions about the account in this way.
    fn answering(status: u16, kind: &'static str, text: &str) -> Self {
        let service = Self::new();
        let say = Poison::Say { status, kind, text: text.to_owned() };
        service.front.add(Dose::of("GET", "/b2api/v3/b2_authorize_account", 0, 9, say));
        service
    }

    /// One that works.
    fn healthy() -> Self {
        let service = Self::new();
        let text = format!(
            r#"{{"accountId":"4f2a00000001","authorizationToken":"4_token","apiInfo":{{"storageApi":
            {{"apiUrl":"https://api004.example","downloadUrl":"https://f004.example",
            "capabilities":["listFiles","readFiles","writeFiles"],"bucketId":null,
            "s3ApiUrl":"http://{}"}}}},"applicationKeyExpirationTimestamp":null}}"#,
            service.front.address()
        );
        let say = Poison::Say { status: 200, kind: "application/json", text };
        service.front.add(Dose::of("GET", "/b2api/v3/b2_authorize_account", 0, 9, say));
        service
    }

    fn settings(&self, key_id: &str) -> StoreSettings {
        let mut settings = StoreSettings::default();
        settings.b2.key_id = Some(key_id.to_owned());
        settings.b2.key = Some(SecretText::new(SECRET_KEY));
        settings.b2.account_service = format!("http://{}", self.front.address());
        settings
    }

    fn questions(&self) -> usize {
        let seen = self.front.take_seen();
        seen.iter().filter(|seen| seen.target.starts_with("/b2api/")).count()
    }
}

fn at(location: &str, settings: &StoreSettings) -> B2Remote {
    let Ok(Location::B2(bucket)) = Location::parse(location) else { panic!("{location}") };
    let limiter = Arc::new(Limiter::new(settings.limits));
    B2Remote::new(&bucket, settings, &limiter, &Observer::default(), Arc::new(SystemClock))
        .expect("made")
}

#[test]
fn a_bucket_of_b2_conforms_and_its_account_is_asked_about_once() {
    let service = Service::healthy();
    let settings = service.settings(KEY_ID);
    check_absence(at("b2:missing:deep/prefix", &settings), &settings);
    assert_eq!(service.questions(), 1);
    check_conformance(at("b2:bucket:deep/prefix", &settings), &settings, Taken::Kept);
    assert_eq!(service.questions(), 1);
}

#[test]
fn what_restic_stored_is_found_under_the_same_names() {
    let service = Service::healthy();
    service.s3.make("bucket");
    let location = format!("s3:http://{}/bucket/r", service.s3.address());
    let Some(restic) = Restic::reaching(&location, &[]) else { return };
    let restic = restic.with("AWS_ACCESS_KEY_ID", KEY_ID).with("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    let scene = Scene::new();
    scene.write("large", noise(1, 3 << 20));
    restic.good(&["init"]);
    restic.back_up(&scene.source());
    let repository =
        scene.try_open_at(&place("b2:bucket:/r", &service.settings(KEY_ID))).expect("opened");
    let [(_id, root)] = &scene.roots(&repository)[..] else { panic!("one snapshot") };
    scene.check_restore(&repository, root, "theirs");
    scene.write("more", noise(2, 1 << 20));
    scene.back_up(&repository);
    drop(repository);
    restic.check();
}

#[test]
fn what_the_service_says_of_an_account_is_told_apart() {
    let refused = |service: &Service, key: &str| {
        let settings = service.settings(key);
        let store = store(at("b2:bucket", &settings), &settings);
        runtime().block_on(listed(&store, "keys/")).expect_err("refused")
    };
    let unknown = Service::answering(
        401,
        "application/json",
        r#"{"code":"bad_auth_token","message":"","status":401}"#,
    );
    let error = refused(&unknown, KEY_ID);
    assert_eq!(error.failure, Failure::Denied);
    assert!(error.to_string().contains("does not accept this application key"), "{error}");
    assert!(error.advice().expect("advice").contains("B2_ACCOUNT_ID"));

    let error = refused(&Service::healthy(), "4f2a00000001");
    assert!(error.to_string().contains("master key"), "{error}");

    let page = Service::answering(200, "text/html", "<html>log in</html>");
    assert_eq!(refused(&page, KEY_ID).failure, Failure::Permanent);
    let other = Service::answering(200, "application/json", "{}");
    assert_eq!(refused(&other, KEY_ID).failure, Failure::Permanent);

    let busy = Service::new();
    busy.front.add(Dose::of("GET", "/b2api/", 0, 1, Poison::Busy { retry_after: Some(1) }));
    let settings = busy.settings(KEY_ID);
    let store = store(at("b2:bucket", &settings), &settings);
    let key = Key::new("config");
    // It is asked again, and then the S3 server does not know such a name.
    let error = runtime().block_on(store.stat(&key)).expect_err("no account service");
    assert_ne!(error.failure, Failure::Throttled, "{error}");
    assert!(busy.questions() > 1);
}
