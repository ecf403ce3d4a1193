//! Where passwords and locations come from.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use crate::place::{PASSWORD, Place, Said};

fn fed(mut command: Command, input: &str) -> Said {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).expect("written");
    drop(stdin);
    Said::from(child.wait_with_output().expect("ends"))
}

#[test]
fn every_source_opens_and_the_stronger_one_wins() {
    let place = Place::with_repository();
    place.write("password", format!("  {PASSWORD}\r\n").as_bytes());
    place.write("wrong", b"wrong\n");
    place.write("location", b"repo\n");
    let command = format!("echo '{PASSWORD}'");
    let opens = |args: &[&str], variables: &[(&str, &str)]| {
        let said = Said::of(place.bare().args(args).arg("snapshots").envs(variables.to_vec()));
        assert_eq!(said.code, Some(0), "{args:?} {variables:?} {said:?}");
    };
    let (at, wrong) = (("RESTIC_REPOSITORY", "repo"), ("RESTIC_PASSWORD", "wrong"));
    opens(&["-r", "repo", "-p", "password"], &[wrong, ("RESTIC_REPOSITORY", "gone")]);
    opens(&["--repository-file=location", "--password-command", &command], &[wrong]);
    opens(&[], &[at, wrong, ("WINDLASS_PASSWORD_FILE", "password")]);
    opens(&[], &[at, ("KOPIA_PASSWORD", PASSWORD)]);
    opens(
        &[],
        &[
            ("WINDLASS_REPOSITORY_FILE", "location"),
            ("RESTIC_REPOSITORY", "gone"),
            ("RESTIC_PASSWORD_COMMAND", &command),
            wrong,
        ],
    );
    let said = fed(
        {
            let mut command = place.bare();
            command.args(["-r", "repo", "snapshots"]);
            command
        },
        &format!("{PASSWORD}\n"),
    );
    assert_eq!(said.code, Some(0), "{said:?}");
    let said = Said::of(place.bare().args(["-r", "repo", "-p", "wrong", "snapshots"]));
    said.refused(12, &["wrong password"]);
}

#[test]
fn no_password_is_not_an_empty_one() {
    let place = Place::new();
    let said = |args: &[&str], variables: &[(&str, &str)]| {
        let location = ("RESTIC_REPOSITORY", "repo");
        Said::of(place.bare().args(args).envs([location]).envs(variables.to_vec()))
    };
    said(&["init"], &[]).refused(1, &["no password was given", "RESTIC_PASSWORD_FILE"]);
    place.write("empty", b"\n");
    let file = [("RESTIC_PASSWORD_FILE", "empty")];
    said(&["init"], &file).refused(1, &["an empty password is not allowed"]);
    let failing = [("RESTIC_PASSWORD_COMMAND", "false")];
    said(&["init"], &failing).refused(1, &["password command false failed"]);
    let gone = [("RESTIC_PASSWORD_COMMAND", "no-such-program")];
    said(&["init"], &gone).refused(1, &["no-such-program"]);
    let both = [("RESTIC_PASSWORD_COMMAND", "echo x"), ("RESTIC_PASSWORD_FILE", "empty")];
    said(&["init"], &both).refused(1, &["mutually exclusive"]);
    said(&["init", "--insecure-no-password"], &[("RESTIC_PASSWORD", "x")]).refused(1, &["both"]);
    assert!(!place.path("repo").exists());
    for args in [["init", "--insecure-no-password"], ["snapshots", "--insecure-no-password"]] {
        let said = said(&args, &[]);
        assert_eq!(said.code, Some(0), "{said:?}");
    }
}

#[test]
fn variables_that_cannot_be_read_are_errors() {
    let place = Place::new();
    for (name, value) in [
        ("RESTIC_COMPRESSION", "much"),
        ("RESTIC_PACK_SIZE", "big"),
        ("WINDLASS_PACK_SIZE", "3"),
        ("RESTIC_READ_CONCURRENCY", "many"),
        ("RESTIC_IGNORE_INODE", "maybe"),
    ] {
        let said = Said::of(place.command(&["backup", "src"]).env(name, value));
        let word = if name == "WINDLASS_PACK_SIZE" { "3 MiB" } else { name };
        said.refused(1, &[word, "Next step: "]);
    }
}
