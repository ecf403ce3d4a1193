//! Development tasks of Windlass, run as `cargo xtask TASK`.
//!
//! Invariants: a task that fails exits with 1, wrong usage exits with 2; nothing here is linked
//! into what users run, and nothing here depends on a crate of this workspace.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "these tasks talk to a terminal")]

mod compare;
mod debian;
mod fuzz;
mod image;
mod servers;
mod test;
mod tidy;
mod torture;
mod tree;
mod workspace;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask TASK

  test [ARGS]   set up what the tests need and run all of them; ARGS go to the test runner
  tidy          check the house rules that no compiler checks
  fuzz [--seconds N] [TARGET]
                run the fuzz targets, a minute each if not told otherwise;
                --check: only see that they compile and survive damaged seeds
  torture [OPTIONS]
                crash, damage and fail at random for a while; --help lists the options
  compare [OPTIONS]
                measure windlass beside restic, rustic and kopia; --help lists the options
  image [OPTIONS]
                build the image of the mover for VolSync, or its files; --help lists the options
";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let task = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    let outcome = match task.as_str() {
        "test" => test::run(&rest),
        "tidy" => tidy::run(),
        "fuzz" => fuzz::run(&rest),
        "torture" => torture::run(&rest),
        "compare" => compare::run(&rest),
        "image" => image::run(&rest),
        // Not for people: `compare` runs each program it measures through this.
        "measured" => compare::supervise(&rest),
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask {task}: {message}");
            ExitCode::FAILURE
        }
    }
}
