//! `cargo xtask test`: the one command that runs every test.
//!
//! Invariants: the output closes with the test runner's own lines, also when an earlier part
//! failed; a failure of any part fails the task. Benchmarks are compiled but never run here.

use std::ffi::OsStr;

use crate::{debian, servers, workspace};

/// Sets up what the tests need and runs them; `arguments` are handed to the test runner.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    debian::provide_peers()?;
    let path = servers::provide()?;
    let cargo = |words: &[&str], arguments: &[String]| cargo(words, arguments, &path);
    let benches = cargo(&["check", "--workspace", "--benches"], &[]);
    // Documentation tests come first because their runner appends lines of its own.
    let examples = cargo(&["test", "--workspace", "--doc", "--no-fail-fast"], arguments);
    let tests = ["test", "--workspace", "--lib", "--bins", "--tests", "--examples"];
    let tests = cargo(&[&tests[..], &["--no-fail-fast"]].concat(), arguments);
    benches.and(examples).and(tests)
}

fn cargo(words: &[&str], arguments: &[String], path: &OsStr) -> Result<(), String> {
    let mut command = workspace::cargo();
    command.args(words).env("PATH", path);
    if !arguments.is_empty() {
        command.arg("--").args(arguments);
    }
    if workspace::is_ci() {
        // Interop tests must not skip when the peer they need could have been installed.
        command.env("WINDLASS_REQUIRE_PEERS", "1");
    }
    workspace::run(&mut command)
}
