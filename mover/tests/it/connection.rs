//! Repositories that kopia is connected to, by its own configuration: kopia writes, and what it
//! wrote is listed and restored.
//!
//! Without kopia on PATH what it writes is left out, and the test says so.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use windlass_fixtures::KOPIA_PASSWORD;
use windlass_testkit::{
    compare::compare,
    s3::{KEY_ID, S3Server, SECRET_KEY},
    server::rclone::Rclone,
};

use crate::place::{Place, Said, noise, skipped};

const PASSWORD: &str = "the password of kopia";

/// kopia, with a configuration of its own.
struct Kopia {
    config: PathBuf,
    cache: PathBuf,
}

impl Kopia {
    fn find(place: &Place, name: &str) -> Option<Self> {
        let found = Command::new("kopia").arg("--version").stdout(Stdio::null()).status();
        if !found.is_ok_and(|status| status.success()) {
            skipped("there is no kopia on PATH to write what is read");
            return None;
        }
        // kopia takes what it finds in a cache for its own, whichever repository that is of.
        let [config, cache] = ["config", "cache"].map(|kind| place.path(&format!("{name}.{kind}")));
        Some(Self { config, cache })
    }

    fn run(&self, args: &[&str]) {
        let output = Command::new("kopia")
            .arg("--config-file")
            .arg(&self.config)
            .args(["--log-dir"])
            .arg(&self.cache)
            .args(args)
            .env("KOPIA_PASSWORD", PASSWORD)
            .env("KOPIA_CHECK_FOR_UPDATES", "false")
            .stdin(Stdio::null())
            .output()
            .expect("kopia runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Creates a repository with what is in `source`.
    fn create(&self, storage: &[&str], source: &Path) {
        let cache = self.cache.to_str().expect("UTF-8");
        let mut create = vec!["repository", "create"];
        create.extend(storage);
        create.extend(["--cache-directory", cache]);
        self.run(&create);
        self.run(&["snapshot", "create", source.to_str().expect("UTF-8")]);
    }
}

/// Lists and restores by the configuration, with the password that lies beside it.
fn check(place: &Place, words: &[&str], source: &Path, target: &str) {
    let said = |args: &[&str]| {
        let mut command = place.bare();
        let said = Said::of(command.args(words).args(args));
        assert!(!format!("{said:?}").contains(SECRET_KEY), "{said:?}");
        said
    };
    let listed = said(&["snapshots", "--json"]);
    assert_eq!(listed.code, Some(0), "{listed:?}");
    assert_eq!(listed.out.matches("\"short_id\"").count(), 1, "{listed:?}");
    let target = place.path(target);
    let restored = said(&["restore", "latest", "--target", target.to_str().expect("UTF-8")]);
    assert_eq!(restored.code, Some(0), "{restored:?}");
    assert_eq!(compare(source, &target).expect("compared"), []);
}

#[test]
fn what_kopia_put_into_a_bucket_is_restored_by_its_configuration() {
    let place = Place::new();
    place.write("src/large", &noise(1, 9 << 20));
    place.write("src/d/empty", b"");
    let source = place.path("src");
    let server = S3Server::start();
    server.make("bucket");
    let endpoint = format!("--endpoint={}", server.address());
    // In a directory, under names that begin alike, and with both.
    for (number, prefix) in ["dir/", "stem-", "deep/er/stem-"].into_iter().enumerate() {
        let Some(kopia) = Kopia::find(&place, &format!("bucket-{number}")) else { return };
        let prefix = format!("--prefix={prefix}");
        let keys = [format!("--access-key={KEY_ID}"), format!("--secret-access-key={SECRET_KEY}")];
        let storage =
            ["s3", "--bucket=bucket", &endpoint, "--disable-tls", &prefix, &keys[0], &keys[1]];
        kopia.create(&storage, &source);
        let config = kopia.config.to_str().expect("UTF-8").to_owned();
        check(&place, &["--kopia-config", &config], &source, &format!("target-{number}"));
        // The same as a location, of which the cache knows already.
        let location = format!("kopia:{config}");
        check(&place, &["-r", &location], &source, &format!("again-{number}"));
        // By the words that kopia was given itself, and the password in another way.
        place.write("password", PASSWORD.as_bytes());
        let password = place.path("password");
        let words = format!("kopia:{}", storage.join(" "));
        let words = ["-r", &words, "--password-file", password.to_str().expect("UTF-8")];
        check(&place, &words, &source, &format!("by-words-{number}"));
    }
}

#[test]
fn a_directory_of_kopia_is_found_by_its_configuration() {
    let place = Place::new();
    let (source, at) = (place.path("src"), place.path("repository"));
    let Some(kopia) = Kopia::find(&place, "directory") else { return };
    fs::create_dir(&at).expect("made");
    kopia.create(&["filesystem", "--path", at.to_str().expect("UTF-8")], &source);
    let config = kopia.config.to_str().expect("UTF-8").to_owned();
    check(&place, &["--kopia-config", &config], &source, "target");
    // A password that is given beats the one that lies there.
    let mut command = place.bare();
    command.args(["--kopia-config", &config, "snapshots"]).env("KOPIA_PASSWORD", "another");
    Said::of(&mut command).refused(12, &["wrong password"]);
}

#[test]
fn what_kopia_put_behind_rclone_is_restored_by_its_configuration() {
    let Some(program) = Rclone::find() else { return };
    let place = Place::new();
    place.write("src/large", &noise(1, 9 << 20));
    let (source, at) = (place.path("src"), place.path("behind"));
    fs::create_dir(&at).expect("made");
    let Some(kopia) = Kopia::find(&place, "rclone") else { return };
    let remote = format!("--remote-path=:local:{}", at.display());
    let program = format!("--rclone-exe={}", program.program().display());
    kopia.create(&["rclone", &remote, &program], &source);
    let config = kopia.config.to_str().expect("UTF-8").to_owned();
    check(&place, &["--kopia-config", &config], &source, "target");
}

#[test]
fn rclone_ends_where_its_reader_is_killed() {
    let Some(program) = Rclone::find() else { return };
    let place = Place::new();
    let at = windlass_fixtures::kopia("default").join("repository");
    let config = format!(
        r#"{{"storage":{{"type":"rclone","config":{{"remotePath":"kept:{}","rcloneExe":{:?},
        "embeddedConfig":"[kept]\ntype = local\n","startupTimeout":"0s"}}}}}}"#,
        at.display(),
        program.program(),
    );
    place.write("rclone.config", config.as_bytes());
    let mut command = place.bare();
    command.args(["--kopia-config", "rclone.config", "serve", "--listen", "0"]);
    command.env("KOPIA_PASSWORD", KOPIA_PASSWORD).env("TMPDIR", place.dir.path());
    let mut reader = command.stdout(Stdio::piped()).spawn().expect("starts");
    let mut line = String::new();
    BufReader::new(reader.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    assert!(line.contains("serving snapshots"), "{line}");
    let ours = place.dir.path().display().to_string();
    let runs = || {
        let processes = fs::read_dir("/proc").expect("processes");
        let said = processes.filter_map(|entry| {
            fs::read_to_string(entry.expect("an entry").path().join("cmdline")).ok()
        });
        said.into_iter().any(|said| said.contains("rclone.conf") && said.contains(&ours))
    };
    assert!(runs(), "it serves");
    reader.kill().expect("killed");
    reader.wait().expect("ended");
    let began = Instant::now();
    while runs() {
        assert!(began.elapsed() < Duration::from_secs(20), "rclone outlived its reader");
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_configuration_that_cannot_be_followed_is_refused_with_its_reason() {
    let place = Place::new();
    for (text, words) in [
        ("not JSON", &["no configuration of a connection"][..]),
        (r#"{"hostname":"x"}"#, &["no configuration of a connection"]),
        (r#"{"apiServer":{"url":"https://x"}}"#, &["kopia server", "storage that the server uses"]),
        (
            r#"{"storage":{"type":"gdrive","config":{"folderID":""}}}"#,
            &["the id of a folder is not found"],
        ),
    ] {
        place.write("refused.config", text.as_bytes());
        let config = place.path("refused.config");
        let mut command = place.bare();
        command.arg("--kopia-config").arg(&config).arg("snapshots").env("KOPIA_PASSWORD", "x");
        Said::of(&mut command).refused(1, words);
    }
    let mut both = place.bare();
    both.args(["-r", "/a", "--kopia-config", "/b", "snapshots"]).env("KOPIA_PASSWORD", "x");
    Said::of(&mut both).refused(1, &["mutually exclusive"]);
}
