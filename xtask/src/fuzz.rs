//! `cargo xtask fuzz`: the fuzz targets, for a bounded time.
//!
//! Invariants: nothing is installed; what is missing is named with the command that installs it.
//! `--check` needs neither a fuzzer nor nightly: it checks that every target compiles and drives
//! the decoders with damaged seeds, which is what an unattended run does.

use std::fs;
use std::process::{Command, Stdio};

use crate::workspace;

const USAGE: &str = "usage: cargo xtask fuzz [--check | [--seconds N] [TARGET]]";

#[derive(Debug, PartialEq, Eq)]
enum Request {
    Check,
    Run { seconds: u64, target: Option<String> },
}

impl Request {
    fn parse(arguments: &[String]) -> Option<Self> {
        let (mut seconds, mut target, mut check) = (60, None, false);
        let mut words = arguments.iter().map(String::as_str);
        while let Some(word) = words.next() {
            match word {
                "--check" => check = true,
                "--seconds" => seconds = words.next()?.parse().ok()?,
                _ if word.starts_with('-') || target.is_some() => return None,
                _ => target = Some(word.to_string()),
            }
        }
        match (check, arguments.len()) {
            (false, _) => Some(Self::Run { seconds, target }),
            (true, 1) => Some(Self::Check),
            (true, _) => None,
        }
    }
}

/// Checks or runs the targets.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    match Request::parse(arguments).ok_or(USAGE)? {
        Request::Check => check(),
        Request::Run { seconds, target } => fuzz(seconds, target.as_deref()),
    }
}

fn check() -> Result<(), String> {
    let cargo = |verb: &[&str]| {
        let mut command = workspace::cargo();
        command.args(verb).arg("--no-default-features");
        command.current_dir(workspace::root().join("fuzz"));
        // What the main workspace compiled serves here too.
        command.env("CARGO_TARGET_DIR", workspace::target_dir()?);
        workspace::run(&mut command)
    };
    cargo(&["check", "--all-targets"])?;
    cargo(&["test", "--lib"])
}

fn targets() -> Result<Vec<String>, String> {
    let directory = workspace::root().join("fuzz/fuzz_targets");
    let failed = |error| format!("{}: {error}", directory.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(&directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

fn fuzz(seconds: u64, only: Option<&str>) -> Result<(), String> {
    let targets = targets()?;
    if let Some(only) = only.filter(|only| !targets.iter().any(|target| target == only)) {
        return Err(format!("no target `{only}`; there are: {}", targets.join(", ")));
    }
    if workspace::find_on_path("cargo-fuzz").is_none() {
        return Err("cargo-fuzz is missing: run `cargo install cargo-fuzz`, or use --check".into());
    }
    let nightly = has_nightly();
    if !nightly {
        eprintln!("xtask fuzz: no nightly toolchain, so without the address sanitizer");
    }
    for target in targets.iter().filter(|target| only.is_none_or(|only| only == *target)) {
        let mut command = if nightly {
            let mut command = Command::new("rustup");
            command.args(["run", "nightly", "cargo", "fuzz", "run"]);
            command
        } else {
            let mut command = workspace::cargo();
            command.args(["fuzz", "run", "--sanitizer", "none"]);
            command
        };
        // The first directory is where new inputs are kept, the second is read only.
        command.args([target, &format!("corpus/{target}"), &format!("seeds/{target}")]);
        command.args(["--", &format!("-max_total_time={seconds}")]);
        command.args(["-rss_limit_mb=1024", "-malloc_limit_mb=512", "-timeout=10"]);
        let fuzz = workspace::root().join("fuzz");
        let corpus = fuzz.join("corpus").join(target);
        fs::create_dir_all(&corpus).map_err(|error| format!("{}: {error}", corpus.display()))?;
        command.current_dir(fuzz).stdin(Stdio::null());
        // Set by the `cargo run` that started this; they would pin the toolchain.
        command.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO");
        workspace::run(&mut command)?;
    }
    Ok(())
}

fn has_nightly() -> bool {
    let output = Command::new("rustup").args(["toolchain", "list"]).stdin(Stdio::null()).output();
    output.is_ok_and(|output| {
        String::from_utf8_lossy(&output.stdout).lines().any(|line| line.starts_with("nightly"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Option<Request> {
        Request::parse(&line.split_whitespace().map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn a_target_and_a_time_may_be_given_in_any_order() {
        let run = |seconds, target: Option<&str>| {
            Some(Request::Run { seconds, target: target.map(String::from) })
        };
        assert_eq!(parse(""), run(60, None));
        assert_eq!(parse("restic_tree --seconds 5"), run(5, Some("restic_tree")));
        assert_eq!(parse("--seconds 5 restic_tree"), run(5, Some("restic_tree")));
        assert_eq!(parse("--check"), Some(Request::Check));
    }

    #[test]
    fn wrong_usage_is_refused() {
        for line in ["--seconds", "--seconds x", "a b", "--unknown", "--check a"] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
