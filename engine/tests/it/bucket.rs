//! Azure Blob Storage and Google Cloud Storage, each on its emulator.
//!
//! restic has no way to reach an emulator of Azure without TLS, so a repository is carried over:
//! what restic wrote is put there object by object, and what is there in the end is checked by
//! restic in a directory.

use std::{fs, path::Path, sync::Arc};

use windlass_engine::{
    protocol::restic::layout,
    store::{
        Backend, Existing, Failure, Key, Range,
        bucket::{self, Bucket},
        limit::Limiter,
        location::Location,
        settings::{SecretText, StoreSettings},
        trace::Observer,
    },
};
use windlass_testkit::{
    conformance::{Taken, check_failure, listed, put},
    server::{
        Server,
        azurite::{ACCOUNT, Azurite, KEY},
        fake_gcs::{FakeGcs, Serving},
    },
};

use super::{
    peer::Restic,
    reach::{check_conformance, check_creation, place, store},
    scene::{Scene, noise, runtime},
};

fn of_azurite(server: &Server) -> StoreSettings {
    let mut settings = StoreSettings::default();
    settings.azure.account = Some(ACCOUNT.to_owned());
    settings.azure.endpoint_suffix = Some(format!("http://{}/{ACCOUNT}", server.address()));
    settings.azure.credentials.key = Some(SecretText::new(KEY));
    settings
}

fn of_fake_gcs(server: &Serving) -> StoreSettings {
    let mut settings = StoreSettings::default();
    settings.gcs.endpoint = Some(format!("http://{}", server.address()));
    settings.gcs.project = Some("project".to_owned());
    settings.gcs.credentials.anonymous = true;
    settings
}

fn at(location: &str, settings: &StoreSettings) -> Bucket {
    let limiter = Arc::new(Limiter::new(settings.limits));
    let observer = Observer::default();
    let name = location.to_owned();
    match Location::parse(location) {
        Ok(Location::Azure(place)) => {
            bucket::azure::open(&place, name, settings, &limiter, &observer).expect("a client")
        }
        Ok(Location::Gcs(place)) => {
            bucket::gcs::open(&place, name, settings, &limiter, &observer).expect("a client")
        }
        _ => panic!("{location}"),
    }
}

/// restic's repository is carried to `location`, Windlass goes on with it there, and restic checks
/// what is there then.
fn check_carried(location: &str, settings: &StoreSettings) {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let (theirs, back) = (scratch.path().join("theirs"), scratch.path().join("back"));
    let Some(restic) = Restic::at(&theirs) else { return };
    let scene = Scene::new();
    scene.write("small", "text");
    scene.write("large", noise(1, 9 << 20));
    restic.good(&["init"]);
    restic.back_up(&scene.source());

    let store = store(at(location, settings), settings);
    runtime().block_on(async {
        store.create().await.expect("created");
        for (key, bytes) in objects(&theirs) {
            put(&store, &key, &bytes, Existing::Keep).await.expect("put");
        }
    });
    let repository = scene.try_open_at(&place(location, settings)).expect("opened");
    let [(_id, root)] = &scene.roots(&repository)[..] else { panic!("one snapshot") };
    scene.check_restore(&repository, root, "theirs");
    scene.write("more", noise(2, 5 << 20));
    let report = scene.back_up(&repository);
    let root = scene.root(&repository, &report);
    scene.check_restore(&repository, &root, "ours");
    drop(repository);

    runtime().block_on(async {
        for row in listed(&store, "").await.expect("listed") {
            let path = back.join(layout().path(&row.key).expect("a path"));
            fs::create_dir_all(path.parent().expect("a directory")).expect("made");
            let bytes = store.read(&row.key, Range::All).await.expect("read");
            fs::write(path, bytes).expect("written");
        }
    });
    Restic::at(&back).expect("it was there before").check();
}

fn objects(root: &Path) -> Vec<(Key, Vec<u8>)> {
    let mut found = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                pending.push(path);
                continue;
            }
            let below = path.strip_prefix(root).expect("below").to_str().expect("UTF-8");
            let key = layout().key(below).expect("an object");
            found.push((key, fs::read(&path).expect("read")));
        }
    }
    found
}

/// A bucket that is not there. `lists` is whether the server knows that of lists.
fn check_missing(location: &str, settings: &StoreSettings, lists: bool) {
    let store = store(at(location, settings), settings);
    let key = Key::new("config");
    runtime().block_on(async {
        check_failure(store.stat(&key).await, Failure::NotFound);
        check_failure(store.read(&key, Range::All).await, Failure::NotFound);
        if lists {
            check_failure(listed(&store, "data/").await, Failure::NotFound);
        }
        check_failure(put(&store, &key, b"x", Existing::Keep).await, Failure::NotFound);
    });
}

#[test]
fn a_container_of_azure_conforms_and_holds_a_repository() {
    let Some(azurite) = Azurite::find() else { return };
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let server = azurite.serve(&scratch.path().join("data"), scratch.path());
    let settings = of_azurite(&server);
    check_missing("azure:missing:/", &settings, true);
    check_conformance(at("azure:suite:/", &settings), &settings, Taken::Kept);
    check_conformance(at("azure:suite:/a/prefix", &settings), &settings, Taken::Kept);
    check_creation("azure:created:/repository", None, &settings);
    check_carried("azure:carried:/a/repository", &settings);
}

#[test]
fn azure_refuses_wrong_keys_in_words() {
    let Some(azurite) = Azurite::find() else { return };
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let server = azurite.serve(&scratch.path().join("data"), scratch.path());
    let mut settings = of_azurite(&server);
    settings.azure.credentials.key = Some(SecretText::new("d3Jvbmc="));
    let store = store(at("azure:suite:/", &settings), &settings);
    let error = runtime().block_on(store.stat(&Key::new("config"))).expect_err("refused");
    assert_eq!(error.failure, Failure::Denied, "{error}");
    settings.azure.account = None;
    let Ok(Location::Azure(container)) = Location::parse("azure:suite:/") else { panic!("azure") };
    let limiter = Arc::new(Limiter::new(settings.limits));
    let opened =
        bucket::azure::open(&container, "azure:".into(), &settings, &limiter, &Observer::default());
    let error = opened.expect_err("no account");
    assert_eq!(error.advice(), Some("set AZURE_ACCOUNT_NAME"));
}

#[test]
fn a_bucket_of_google_conforms_and_holds_a_repository() {
    let Some(emulator) = FakeGcs::find() else { return };
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let data = scratch.path().join("data");
    fs::create_dir(&data).expect("made");
    let server = emulator.serve(&data, scratch.path());
    let settings = of_fake_gcs(&server);
    // This emulator has only an inner error for the list of a bucket that is not there.
    check_missing("gs:missing:/", &settings, false);
    check_conformance(at("gs:suite:/a/prefix", &settings), &settings, Taken::Kept);
    check_creation("gs:created:/repository", None, &settings);
    check_carried("gs:carried:/a/repository", &settings);
}
