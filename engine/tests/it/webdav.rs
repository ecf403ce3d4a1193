//! Directories behind WebDAV, with rclone as their server.
//!
//! restic does not speak this protocol, so it works in the directory that is served.

use std::{fs, path::Path, sync::Arc};

use windlass_engine::store::{
    Backend, Existing, Failure, Key,
    limit::Limiter,
    location::{Location, Login},
    settings::{SecretText, StoreSettings},
    trace::Observer,
    webdav::WebDav,
};
use windlass_testkit::{
    conformance::{Taken, check_failure, listed, put},
    server::{Server, rclone::Rclone},
};

use super::{
    parrot::Parrot,
    peer::Restic,
    reach::{check_absence, check_conformance, check_creation, check_page, place, store},
    scene::{Scene, noise, runtime},
};

fn at(location: &str, settings: &StoreSettings) -> WebDav {
    let Ok(Location::WebDav(location)) = Location::parse(location) else { panic!("{location}") };
    let limiter = Arc::new(Limiter::new(settings.limits));
    WebDav::new(&location, settings, &limiter, &Observer::default()).expect("a client")
}

fn url(server: &Server, path: &str) -> String {
    format!("webdav:http://{}/{path}", server.address())
}

fn files_below(root: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root).expect("a directory") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => names.extend(files_below(&path)),
            false => names.push(path.display().to_string()),
        }
    }
    names
}

#[test]
fn a_directory_behind_webdav_conforms() {
    let Some(program) = Rclone::find() else { return };
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let data = scratch.path().join("data");
    fs::create_dir(&data).expect("made");
    let server = program.serve("webdav", &data, scratch.path(), &[]);
    let settings = StoreSettings::default();
    check_absence(at(&url(&server, "new/with space"), &settings), &settings);
    let suite = at(&url(&server, "new/with space"), &settings);
    check_conformance(suite, &settings, Taken::Kept);
    assert_eq!(files_below(&data), [""; 0], "nothing temporary is left");
}

#[test]
fn restic_and_windlass_share_a_directory_behind_webdav() {
    let Some(program) = Rclone::find() else { return };
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let data = scratch.path().join("data");
    fs::create_dir(&data).expect("made");
    // What it does not look for again is what restic has changed behind its back.
    let options = ["--dir-cache-time", "0s"];
    let server = program.serve("webdav", &data, scratch.path(), &options);
    let settings = StoreSettings::default();
    check_creation(&url(&server, "ours"), None, &settings);
    let Some(restic) = Restic::at(&data.join("ours")) else { return };
    restic.check();

    let restic = restic_at(&data.join("theirs"));
    let scene = Scene::new();
    scene.write("small", "text");
    scene.write("large", noise(1, 9 << 20));
    restic.good(&["init"]);
    restic.back_up(&scene.source());
    let repository = scene.try_open_at(&place(&url(&server, "theirs"), &settings)).expect("opened");
    let [(_id, root)] = &scene.roots(&repository)[..] else { panic!("one snapshot") };
    scene.check_restore(&repository, root, "theirs");
    scene.write("more", noise(3, 5 << 20));
    let report = scene.back_up(&repository);
    let root = scene.root(&repository, &report);
    scene.check_restore(&repository, &root, "ours");
    drop(repository);
    restic.check();
}

fn restic_at(path: &Path) -> Restic {
    Restic::at(path).expect("it was there before")
}

#[test]
fn webdav_wants_a_user_and_a_password_and_checks_them() {
    let Some(program) = Rclone::find() else { return };
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let data = scratch.path().join("data");
    fs::create_dir(&data).expect("made");
    let options = ["--user", "me", "--pass", "it's:1"];
    let server = program.serve("webdav", &data, scratch.path(), &options);
    let address = server.address();
    let key = Key::new("config");
    for (location, failure) in [
        (format!("webdav:http://{address}/x"), Failure::Denied),
        (format!("webdav:http://me:wrong@{address}/x"), Failure::Denied),
        (format!("webdav:http://me:it's%3A1@{address}/x"), Failure::NotFound),
    ] {
        let settings = StoreSettings::default();
        let store = store(at(&location, &settings), &settings);
        runtime().block_on(async {
            check_failure(store.stat(&key).await, failure);
            check_failure(put(&store, &key, b"x", Existing::Replace).await, failure);
            check_failure(listed(&store, "data/").await, failure);
        });
    }
    let mut settings = StoreSettings::default();
    settings.webdav.login = Some(Login { user: "me".into(), password: SecretText::new("it's:1") });
    let store = store(at(&url(&server, "x"), &settings), &settings);
    check_failure(runtime().block_on(store.stat(&key)), Failure::NotFound);
}

#[test]
fn a_page_is_neither_absence_nor_success_nor_an_object_of_webdav() {
    for status in ["200 OK", "201 Created", "404 Not Found"] {
        let parrot = Parrot::with_page(status);
        let settings = StoreSettings::default();
        let store = store(at(&format!("webdav:http://{}/", parrot.address), &settings), &settings);
        check_page(&store);
    }
}
