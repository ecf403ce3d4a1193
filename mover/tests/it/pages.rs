//! The commands on the pages about stores, pasted into a shell.
//!
//! Each page begins with commands for a first backup. What is a placeholder there is filled in, with
//! a server of the test's behind it; everything else runs as it stands.

use std::{env, fs, os::unix::fs::symlink, path::Path, process::Command};

use windlass_testkit::{
    b2::B2Server,
    drive::{self, DriveServer},
    s3::{KEY_ID, S3Server, SECRET_KEY},
    server::{
        Availability,
        azurite::{self, Azurite},
        fake_gcs::FakeGcs,
        find,
        rclone::Rclone,
        sshd::SftpServer,
    },
    swift::{self, SwiftServer},
};

use crate::place::{PASSWORD, Place, Said};

/// What the commands leave running is a group of processes each, and ends with the shell.
const ENDING: &str = "set -m\ntrap 'for job in $(jobs -p); do kill -- -$job || true; done' EXIT\n";

/// The first commands of a page.
fn commands(page: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/stores").join(page);
    let text = fs::read_to_string(path).expect("a page");
    let lines = text.lines().skip_while(|line| !line.starts_with("    "));
    let lines = lines.map_while(|line| line.strip_prefix("    "));
    lines.map(|line| format!("{line}\n")).collect()
}

/// Pastes them, with these changes, each of which must change something, and looks for what was
/// backed up.
fn paste(page: &str, changes: &[(&str, &str)]) {
    let place = Place::new();
    let (home, programs) = (place.path("home"), place.path("programs"));
    for directory in [home.join("Documents"), programs.clone()] {
        fs::create_dir_all(directory).expect("made");
    }
    fs::write(home.join("Documents/letter"), "dear reader").expect("written");
    symlink(env!("CARGO_BIN_EXE_windlass"), programs.join("windlass")).expect("linked");
    let mut script = commands(page);
    assert!(script.contains("init") && script.contains("backup"), "{page}: {script}");
    let password = format!("RESTIC_PASSWORD='{PASSWORD}'");
    for (from, to) in changes.iter().chain(&[("RESTIC_PASSWORD=…", password.as_str())]) {
        assert!(script.contains(from), "{page} has no {from}: {script}");
        script = script.replace(from, to);
    }
    assert!(!script.contains('…'), "{page}: {script}");
    // What the last command does somewhere is looked at in the same place.
    let last = script.lines().last().expect("a command").to_owned();
    let words: Vec<_> = last.split(' ').filter(|word| *word != "backup").collect();
    let (_what_is_backed_up, words) = words.split_last().expect("words");
    let script = format!("{ENDING}{script}{} snapshots --json\n", words.join(" "));
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths([programs].into_iter().chain(env::split_paths(&path)));
    let mut command = Command::new("bash");
    command.env_clear().env("HOME", home).env("PATH", path.expect("a path")).env("TZ", "UTC");
    command.current_dir(place.dir.path()).args(["-euc", &script]);
    let said = Said::of(&mut command);
    assert_eq!(said.code, Some(0), "{page}: {script}: {said:?}");
    let listed = said.out.lines().last().expect("a list");
    assert_eq!(listed.matches("\"short_id\"").count(), 1, "{page}: {said:?}");
}

/// A port that nobody listens at now.
fn port() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    format!("127.0.0.1:{}", listener.local_addr().expect("bound").port())
}

#[test]
fn what_the_pages_say_of_stores_in_this_process_works_as_pasted() {
    let s3 = S3Server::start();
    s3.make("my-bucket");
    let keys = format!("AWS_ACCESS_KEY_ID={KEY_ID} AWS_SECRET_ACCESS_KEY={SECRET_KEY}");
    paste(
        "s3.md",
        &[
            ("AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=…", &keys),
            ("s3:s3.eu-central-1.amazonaws.com/", &format!("s3:http://{}/", s3.address())),
            ("/home", "~/Documents"),
        ],
    );

    let b2 = B2Server::start();
    let keys = format!("B2_ACCOUNT_ID={KEY_ID} B2_ACCOUNT_KEY={SECRET_KEY}");
    paste(
        "b2.md",
        &[
            ("B2_ACCOUNT_ID=… B2_ACCOUNT_KEY=…", &keys),
            ("windlass ", &format!("windlass -o b2.endpoint={} ", b2.address())),
        ],
    );

    let swift = SwiftServer::start();
    let login = format!("OS_USERNAME={} OS_PASSWORD='{}'", swift::USER, swift::KEY);
    paste(
        "swift.md",
        &[
            ("https://keystone.example.org:5000/v3", &swift.login(3)),
            ("OS_USERNAME=… OS_PASSWORD=…", &login),
            ("OS_PROJECT_NAME=…", &format!("OS_PROJECT_NAME={}", swift::PROJECT)),
            ("OS_REGION_NAME=…", "OS_REGION_NAME=here"),
        ],
    );

    let server = DriveServer::start();
    let keyed = format!("echo '{}' > ~/key.json\nexport GOOGLE", server.user());
    paste(
        "gdrive.md",
        &[
            ("export GOOGLE", &keyed),
            ("1AbCdEfGhIjKlMnOpQrStUvWxYz012345", drive::FOLDER),
            ("windlass ", &format!("windlass -o gdrive.endpoint=http://{} ", server.address())),
        ],
    );
}

#[test]
fn what_the_pages_say_of_real_servers_works_as_pasted() {
    let scratch = tempfile::tempdir().expect("a directory");
    let at = |name: &str| scratch.path().join(name).display().to_string();
    if Rclone::find().is_some() {
        paste("rclone.md", &[("/srv/backup", &at("rclone"))]);
        paste("webdav.md", &[("127.0.0.1:8080", &port()), ("/tmp/dav", &at("dav"))]);
    }
    if find("rest-server", &[], Availability::Perhaps).is_some() {
        paste("rest.md", &[("127.0.0.1:8000", &port()), ("/srv/backup", &at("rest"))]);
    }
    if let Some(server) = SftpServer::find() {
        let windlass = format!("windlass -o 'sftp.command={}' ", server.command());
        paste("sftp.md", &[("windlass ", &windlass)]);
    }
    if let Some(azurite) = Azurite::find() {
        let server = azurite.serve(&scratch.path().join("azure"), scratch.path());
        let suffix = format!("http://{}/{}", server.address(), azurite::ACCOUNT);
        let login = format!(
            "AZURE_ENDPOINT_SUFFIX={suffix} AZURE_ACCOUNT_NAME={} AZURE_ACCOUNT_KEY={}",
            azurite::ACCOUNT,
            azurite::KEY
        );
        paste("azure.md", &[("AZURE_ACCOUNT_NAME=… AZURE_ACCOUNT_KEY=…", &login)]);
    }
    let robot = DriveServer::start().robot(scratch.path());
    if let (Some(emulator), Some(robot)) = (FakeGcs::find(), robot) {
        let data = scratch.path().join("gcs");
        fs::create_dir(&data).expect("made");
        let server = emulator.serve(&data, scratch.path());
        // What the key signs is not looked at by the emulator.
        let keyed = format!(
            "echo '{robot}' > ~/key.json\nexport STORAGE_EMULATOR_HOST=http://{} GOOGLE_PROJECT_ID=p",
            server.address()
        );
        paste("gcs.md", &[("export GOOGLE_PROJECT_ID=…", &keyed)]);
    }
}
