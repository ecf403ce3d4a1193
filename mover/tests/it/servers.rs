//! Repositories on servers, from the command line: what a user types, sees and gets back.
//!
//! Not here: every way in which a server can answer (the engine's own tests).

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    process::Command,
};

use windlass_testkit::{
    compare::compare,
    server::{rclone::Rclone, sshd::SftpServer},
};

use crate::{
    place::{PASSWORD, Place, Said},
    restic::there_is_restic,
};

/// A user's password that must not be seen anywhere.
const HUSH: &str = "hush:hush";

/// A repository on a server.
struct Case {
    location: String,
    /// The same for restic: old ones know the login only as a part of it.
    restics: Option<String>,
    options: Vec<String>,
    variables: Vec<(&'static str, OsString)>,
}

impl Case {
    fn new(location: String) -> Self {
        let path = env::var_os("PATH").unwrap_or_default();
        let (restics, options) = (None, Vec::new());
        Self { location, restics, options, variables: vec![("PATH", path)] }
    }

    fn words<'a>(&'a self, args: &[&'a str]) -> Vec<&'a str> {
        let options = self.options.iter().flat_map(|option| ["-o", option]);
        ["-r", &self.location].into_iter().chain(options).chain(args.iter().copied()).collect()
    }

    fn run(&self, place: &Place, args: &[&str]) -> Said {
        self.run_with(place, PASSWORD, args)
    }

    fn run_with(&self, place: &Place, password: &str, args: &[&str]) -> Said {
        let mut command = place.bare();
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.env("RESTIC_PASSWORD", password).args(self.words(args));
        let said = Said::of(&mut command);
        assert!(!format!("{said:?}").contains(HUSH), "{said:?}");
        said
    }

    fn done(&self, place: &Place, args: &[&str]) -> Said {
        let said = self.run(place, args);
        assert_eq!(said.code, Some(0), "{args:?}: {said:?}");
        said
    }

    /// From a missing repository to one that restic has read whole.
    fn check(&self) {
        let place = Place::new();
        let said = self.run(&place, &["snapshots"]);
        assert_eq!(said.code, Some(10), "{said:?}");
        assert!(said.err.contains("repository does not exist"), "{said:?}");

        self.done(&place, &["init"]);
        self.done(&place, &["backup", "src"]);
        place.write("src/more", &[9; 3_000_000]);
        self.done(&place, &["backup", "src"]);
        let said = self.run_with(&place, "wrong", &["snapshots"]);
        assert_eq!(said.code, Some(12), "{said:?}");
        assert!(said.err.contains("wrong password"), "{said:?}");

        let out = place.path("out");
        self.done(&place, &["restore", "latest", "--target", out.to_str().expect("UTF-8")]);
        let back = out.join("src");
        let differing = compare(&place.path("src"), &back).expect("compared");
        assert!(differing.is_empty(), "{differing:?}");
        assert_eq!(fs::read(back.join("more")).expect("there"), [9; 3_000_000]);

        if there_is_restic() {
            let mut restic = Command::new("restic");
            restic.env_clear().env("RESTIC_PASSWORD", PASSWORD).env("HOME", place.path("home"));
            restic.envs(self.variables.iter().map(|(name, value)| (name, value)));
            restic.envs(self.restics.iter().map(|location| ("RESTIC_REPOSITORY", location)));
            let named = self.words(&["check", "--read-data"]);
            let words = if self.restics.is_some() { &named[2..] } else { &named[..] };
            restic.arg("--no-cache").args(words);
            let said = Said::of(&mut restic);
            assert_eq!(said.code, Some(0), "{said:?}");
        }
    }
}

fn set(name: &'static str, value: impl AsRef<OsStr>) -> (&'static str, OsString) {
    (name, value.as_ref().to_owned())
}

#[test]
fn a_repository_on_a_rest_server() {
    let Some(rclone) = Rclone::find() else { return };
    let scratch = tempfile::tempdir().expect("a directory");
    let data = scratch.path().join("data");
    let options = ["--user", "me", "--pass", HUSH];
    let server = rclone.serve("restic", &data, scratch.path(), &options);
    let mut case = Case::new(format!("rest:http://{}/me/", server.address()));
    case.restics = Some(format!("rest:http://me:hush%3Ahush@{}/me/", server.address()));
    case.variables.push(set("RESTIC_REST_USERNAME", "me"));
    case.variables.push(set("RESTIC_REST_PASSWORD", HUSH));
    case.check();

    // With the login in the location, and with none that is right.
    let place = Place::new();
    let within = format!("rest:http://me:hush%3Ahush@{}/me/", server.address());
    let said = Case::new(within).done(&place, &["snapshots"]);
    assert!(said.out.contains("2 snapshots"), "{said:?}");
    for (location, why) in [
        (format!("rest:http://{}/me/", server.address()), "asks for a user and a password"),
        (
            format!("rest:http://me:wrong-{HUSH}@{}/me/", server.address()).replace("h:h", "h%3Ah"),
            "does not accept this user and password",
        ),
    ] {
        let said = Case::new(location).run(&place, &["snapshots"]);
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.err.contains(why), "{said:?}");
        assert!(said.err.contains("RESTIC_REST_USERNAME") && !said.err.contains("wrong-"));
    }
}

#[test]
fn a_repository_behind_ssh() {
    let Some(server) = SftpServer::find() else { return };
    let scratch = tempfile::tempdir().expect("a directory");
    let mut case = Case::new(format!("sftp:me@host:{}/me", scratch.path().display()));
    case.options.push(format!("sftp.command={}", server.command()));
    case.check();

    // A host that cannot be reached is no missing repository.
    case.options = vec!["sftp.command=sh -c \"echo 'no route to host' >&2; exit 255\"".to_owned()];
    let said = case.run(&Place::new(), &["snapshots"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("no route to host"), "{said:?}");
}

#[test]
fn a_repository_on_a_remote_of_rclone() {
    let Some(rclone) = Rclone::find() else { return };
    let scratch = tempfile::tempdir().expect("a directory");
    let mut case = Case::new(format!("rclone:there:{}/me", scratch.path().display()));
    case.options.push(format!("rclone.program={}", rclone.program().display()));
    let config = scratch.path().join("rclone.conf");
    fs::write(&config, "[there]\ntype = local\n").expect("written");
    case.variables.push(set("RCLONE_CONFIG", config));
    case.check();

    case.location = "rclone:elsewhere:me".to_owned();
    let said = case.run(&Place::new(), &["snapshots"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("elsewhere"), "{said:?}");
}
