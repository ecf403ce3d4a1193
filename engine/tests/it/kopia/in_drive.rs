//! Repositories that kopia keeps in a folder of Google Drive: its files there, flat and under their
//! bare names.

use std::{fs, path::Path};

use windlass_engine::store::settings::{SecretText, StoreSettings};
use windlass_testkit::drive::{DriveServer, FOLDER};

use super::{Open, assert_same, expected, fixture};

/// Puts what is below a directory of files where kopia would have.
fn plant(server: &DriveServer, directory: &Path, before: &str) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("UTF-8");
        if path.is_dir() {
            plant(server, &path, &format!("{before}{name}"));
        } else if let Some(name) = name.strip_suffix(".f") {
            let bytes = fs::read(&path).expect("read");
            server.plant_as(&format!("{before}{name}"), "application/x-kopia", bytes);
        }
    }
}

#[test]
fn a_repository_in_a_folder_is_read() {
    let server = DriveServer::start();
    plant(&server, &fixture("default"), "");
    let mut settings = StoreSettings::default();
    settings.drive.endpoint = Some(format!("http://{}", server.address()));
    settings.drive.read_only = true;
    settings.drive.credentials.key = Some(SecretText::new(server.user()));
    let open = Open::reached(&format!("gdrive:{FOLDER}"), &settings).expect("opened");
    let read = open.read(&open.tagged("second")).expect("read");
    assert_same(&read, &expected("default", "second"));
}
