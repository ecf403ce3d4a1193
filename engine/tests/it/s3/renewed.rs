//! Keys that end while a backup runs, and how many requests are under way at once.

use std::{
    fs,
    num::NonZeroUsize,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use windlass_engine::{backup::Options, store::settings::StoreSettings};
use windlass_testkit::toxic::{self, Seen};

use super::{Cloud, Dose, KEY_ID, Poison, SECRET_KEY, Toxic, Version, location, place, settings};
use crate::scene::{self, Scene, noise};

/// What a program that hands out keys prints.
fn print_keys(path: &Path, id: &str, secret: &str, token: &str) {
    let text = format!(
        r#"{{"Version":1,"AccessKeyId":"{id}","SecretAccessKey":"{secret}","SessionToken":"{token}",
        "Expiration":"2099-01-01T00:00:00Z"}}"#
    );
    let next = path.with_extension("next");
    fs::write(&next, text).expect("written");
    fs::rename(next, path).expect("renamed");
}

/// Credentials that a program prints.
fn printed(scene: &Scene, keys: &Path) -> StoreSettings {
    let config = scene.path("config");
    let text = format!("[default]\ncredential_process = cat {}\n", keys.display());
    fs::write(&config, text).expect("written");
    let mut settings = StoreSettings::default();
    settings.s3.credentials.profile.config_file = Some(config);
    settings.s3.credentials.no_machine = true;
    settings
}

#[test]
fn keys_that_end_in_the_middle_of_a_backup_are_fetched_anew() {
    let (cloud, scene) = (Cloud::new(), Scene::new());
    scene::init(&place(&location(cloud.address(), "bucket/r"), &settings()), Version::V2);
    for number in 0..5 {
        scene.write(&format!("large {number}"), noise(number, 3 << 20));
    }
    let toxic = Toxic::before(cloud.address());
    toxic.add(Dose::of("PUT", "/data/", 0, 99, Poison::Latency(Duration::from_millis(200))));
    let keys = scene.path("keys.json");
    print_keys(&keys, KEY_ID, SECRET_KEY, "first token");
    let mut settings = printed(&scene, &keys);
    settings.connections = NonZeroUsize::new(1);
    let repository = scene
        .try_open_at(&place(&location(toxic.address(), "bucket/r"), &settings))
        .expect("opened with the first keys");
    let (seen, over) = (std::sync::Mutex::new(Vec::<Seen>::new()), AtomicBool::new(false));
    let report = thread::scope(|scope| {
        scope.spawn(|| {
            let is_pack = |seen: &Seen| seen.method == "PUT" && seen.target.contains("/data/");
            while !over.load(Ordering::Acquire) {
                let mut seen = seen.lock().expect("no panic");
                seen.extend(toxic.take_seen());
                if seen.iter().any(is_pack) {
                    print_keys(&keys, "second id", "second secret", "second token");
                    cloud.server.change_keys("second id", "second secret");
                    return;
                }
                drop(seen);
                thread::sleep(Duration::from_millis(5));
            }
        });
        let options = Options { pack_bytes: 1 << 20, ..scene.options() };
        let report = scene.try_back_up(&repository, options);
        over.store(true, Ordering::Release);
        report.expect("nobody notices")
    });
    assert_eq!(report.problems, []);
    let mut seen = seen.into_inner().expect("no panic");
    seen.extend(toxic.take_seen());
    let refused = seen.iter().filter(|seen| seen.status == Some(400)).count();
    assert!(refused >= 1, "the first keys were refused once they had ended");
    let direct = super::settings();
    drop(repository);
    // What is in the bucket is whole; the server knows the second keys alone.
    scene
        .try_open_at(&place(&location(cloud.address(), "bucket/r"), &direct))
        .expect_err("the first keys have ended");
    let repository = scene
        .try_open_at(&place(&location(cloud.address(), "bucket/r"), &settings))
        .expect("opened with the second keys");
    scene.check_whole(&repository);
}

#[test]
fn no_more_requests_are_under_way_than_were_asked_for() {
    let (cloud, scene) = (Cloud::new(), Scene::new());
    for number in 0..8 {
        scene.write(&format!("large {number}"), noise(number, 3 << 20));
    }
    for (connections, most) in [(1, 1), (2, 2), (3, 3)] {
        let toxic = Toxic::before(cloud.address());
        let path = format!("bucket/{connections}");
        scene::init(&place(&location(cloud.address(), &path), &settings()), Version::V2);
        toxic.add(Dose::of("PUT", "/data/", 0, 99, Poison::Latency(Duration::from_millis(60))));
        let mut settings = settings();
        settings.connections = NonZeroUsize::new(connections);
        let repository = scene
            .try_open_at(&place(&location(toxic.address(), &path), &settings))
            .expect("opened");
        let options = Options { pack_bytes: 1 << 20, ..scene.options() };
        scene.try_back_up(&repository, options).expect("backed up");
        let mut seen = toxic.take_seen();
        assert!(toxic::at_once(&seen) <= most + 2, "and two for what is small");
        seen.retain(|seen| seen.method == "PUT" && seen.target.contains("/data/"));
        assert_eq!(toxic::at_once(&seen), most, "of {}", seen.len());
    }
}
