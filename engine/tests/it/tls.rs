//! Servers behind TLS, whose certificates nobody has heard of, or that are for somebody else.

use std::time::{Duration, Instant};

use windlass_engine::store::{
    Backend, Failure, Key, StoreError,
    settings::{SecretText, StaticKeys, StoreSettings},
};
use windlass_format::restic::config::Version;
use windlass_testkit::{
    conformance::check_failure,
    s3::{KEY_ID, S3Server, SECRET_KEY},
    server::{
        Server,
        certificates::Authority,
        nginx::{Nginx, answered},
        rclone::Rclone,
    },
};

use super::{
    reach::{check_creation, place, store},
    rest,
    scene::{Scene, init, noise, runtime},
};

/// Asks a server for what is not there.
fn asked(location: &str, settings: &StoreSettings) -> StoreError {
    let store = store(rest::at(location, settings), settings);
    let began = Instant::now();
    let error = runtime().block_on(store.stat(&Key::new("config"))).expect_err("nothing is there");
    assert!(began.elapsed() < Duration::from_secs(20), "what cannot pass is told at once: {error}");
    error
}

fn check_refusal(error: &StoreError, why: &str, advice: &str) {
    assert_eq!(error.failure, Failure::Permanent, "{error}");
    assert!(error.to_string().contains(why), "{error}");
    assert!(error.advice().is_some_and(|given| given.contains(advice)), "{:?}", error.advice());
}

#[test]
fn a_private_authority_is_trusted_only_when_it_is_given() {
    let Some(program) = Rclone::find() else { return };
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let Some(authority) = Authority::new(scratch.path()) else { return };
    let data = scratch.path().join("data");
    let serve = |name: &str| {
        let [certificate, key] = authority.server(name);
        let options = ["--cert", &certificate, "--key", &key];
        program.serve("restic", &data, scratch.path(), &options)
    };
    let (server, other) = (serve("IP:127.0.0.1"), serve("DNS:other.example"));
    let at = |server: &Server| format!("rest:https://{}/x/", server.address());

    let strict = StoreSettings::default();
    check_refusal(
        &asked(&at(&server), &strict),
        "issued by an authority that is not trusted",
        "--cacert",
    );
    let mut trusting = StoreSettings::default();
    trusting.http.ca_certificates.push(authority.certificate().into());
    check_failure(Err::<(), _>(asked(&at(&server), &trusting)), Failure::NotFound);
    check_creation(&format!("rest:https://{}/made/", server.address()), None, &trusting);

    check_refusal(&asked(&at(&other), &trusting), "is for another name", "use the name");
    let mut careless = StoreSettings::default();
    careless.http.insecure_tls = true;
    check_failure(Err::<(), _>(asked(&at(&other), &careless)), Failure::NotFound);

    // The right port in the wrong words.
    let plain = format!("rest:http://{}/x/", server.address());
    assert_eq!(asked(&plain, &trusting).failure, Failure::Permanent);
    let without = program.serve("restic", &data, scratch.path(), &[]);
    check_refusal(&asked(&at(&without), &trusting), "no TLS at the other end", "http://");
}

#[test]
fn a_backup_through_nginx_with_a_private_authority_and_a_limit_on_requests() {
    const PER_SECOND: u32 = 8;
    let Some(nginx) = Nginx::find() else { return };
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let Some(authority) = Authority::new(scratch.path()) else { return };
    let cloud = S3Server::start();
    cloud.make("bucket");
    let certificate = authority.server("IP:127.0.0.1");
    let front = nginx.before(cloud.address(), scratch.path(), &certificate, PER_SECOND);
    let mut settings = StoreSettings::default();
    settings.http.ca_certificates.push(authority.certificate().into());
    settings.s3.credentials.keys = Some(StaticKeys {
        id: KEY_ID.to_owned(),
        secret: SecretText::new(SECRET_KEY),
        session_token: None,
    });
    let place = place(&format!("s3:https://{}/bucket/r", front.address()), &settings);
    init(&place, Version::V2);
    let scene = Scene::new();
    for number in 0..6 {
        scene.write(&format!("large {number}"), noise(number, 7 << 20));
    }
    let repository = scene.try_open_at(&place).expect("opened");
    let report = scene.back_up(&repository);
    let root = scene.root(&repository, &report);
    scene.check_restore(&repository, &root, "restored");
    scene.check_whole(&repository);
    assert!(answered(scratch.path(), 503) > 0, "nginx asked for less");
    assert!(cloud.keys("bucket").iter().all(|key| !key.contains("/locks/")), "no lock stays");
}
