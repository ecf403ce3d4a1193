//! `cargo xtask torture`: the tests that chance decides, for as long as one likes.
//!
//! Invariants: what runs is the code of `cargo xtask test`, with other seeds and more rounds; every
//! seed is printed before its round; a test that fails ends no other, and is named at the end with
//! the command that runs it again. Without the real restic nothing is run, for it is the judge.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{debian, workspace};

const USAGE: &str = "\
usage: cargo xtask torture [--seconds N | --rounds N] [--seed S] [--only WORDS]
  --seconds N    in all, shared by the tests (600)
  --rounds N     of each test instead
  --seed S       of the first round of each; the next one has the next (what the clock says)
  --only WORDS   tests whose names contain this";

/// The packages whose tests in the module `torture` take seeds.
const PACKAGES: [&str; 2] = ["windlass-engine", "windlass"];

/// How a round begins to be told of; the rest of a line is for the end.
const TOLD: &str = "torture: ";

#[derive(Clone, Debug, PartialEq, Eq)]
struct Request {
    most: Most,
    seed: Option<u64>,
    only: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Most {
    Seconds(u64),
    Rounds(u64),
}

impl Request {
    fn parse(arguments: &[String]) -> Option<Self> {
        let mut request = Self { most: Most::Seconds(600), seed: None, only: String::new() };
        let mut words = arguments.iter().map(String::as_str);
        while let Some(word) = words.next() {
            let value = words.next()?;
            match word {
                "--seconds" => request.most = Most::Seconds(value.parse().ok()?),
                "--rounds" => request.most = Most::Rounds(value.parse().ok()?),
                "--seed" => request.seed = Some(value.parse().ok()?),
                "--only" => request.only = value.to_owned(),
                _ => return None,
            }
        }
        Some(request)
    }
}

/// A test and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Test {
    package: &'static str,
    name: String,
}

/// What became of one.
#[derive(Debug, Default)]
struct End {
    good: bool,
    rounds: u64,
    /// The seed of the round that failed.
    failed: Option<u64>,
    /// What it told beside seeds.
    told: Vec<String>,
}

/// Runs the tests.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let request = Request::parse(arguments).ok_or(USAGE)?;
    debian::provide_peers()?;
    if workspace::find_on_path("restic").is_none() {
        return Err("restic is not on the PATH, and it is the judge".into());
    }
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let seed = request.seed.unwrap_or(clock);
    let mut tests = Vec::new();
    for package in PACKAGES {
        tests.extend(list(package)?);
    }
    tests.retain(|test| test.name.contains(&request.only));
    if tests.is_empty() {
        return Err(format!("no test is called {:?}", request.only));
    }
    let most = match request.most {
        Most::Seconds(seconds) => Most::Seconds(seconds.div_ceil(tests.len() as u64)),
        rounds @ Most::Rounds(_) => rounds,
    };
    let mut ends = Vec::new();
    for test in tests {
        let end = torture(&test, most, seed)?;
        ends.push((test, end));
    }
    tell(&ends, seed)
}

/// The tests of a package; builds them.
fn list(package: &'static str) -> Result<Vec<Test>, String> {
    let mut command = workspace::cargo();
    command.args(["test", "-p", package, "--test", "it", "--"]);
    command.args(["torture::", "--list", "--format", "terse"]).stderr(Stdio::inherit());
    let output = command.output().map_err(|error| format!("cannot start cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("{} failed: {}", workspace::line(&command), output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let names = text.lines().filter_map(|line| line.strip_suffix(": test"));
    Ok(names.map(|name| Test { package, name: name.to_owned() }).collect())
}

fn torture(test: &Test, most: Most, seed: u64) -> Result<End, String> {
    let mut command = workspace::cargo();
    command.args(["test", "-p", test.package, "--test", "it", "--"]);
    command.args(["--exact", &test.name, "--nocapture"]).stderr(Stdio::piped());
    command.env("WINDLASS_TORTURE_SEED", seed.to_string());
    match most {
        Most::Seconds(seconds) => command.env("WINDLASS_TORTURE_SECONDS", seconds.to_string()),
        Most::Rounds(rounds) => command.env("WINDLASS_TORTURE_ROUNDS", rounds.to_string()),
    };
    let mut child = command.spawn().map_err(|error| format!("cannot start cargo: {error}"))?;
    let mut end = End::default();
    if let Some(stderr) = child.stderr.take() {
        for line in BufReader::new(stderr).split(b'\n') {
            let line = line.map_err(|error| format!("reading what a test says: {error}"))?;
            let line = String::from_utf8_lossy(&line).into_owned();
            eprintln!("{line}");
            end.hear(&line);
        }
    }
    let status = child.wait().map_err(|error| format!("waiting for a test: {error}"))?;
    end.good = status.success();
    Ok(end)
}

impl End {
    fn hear(&mut self, line: &str) {
        let Some((name, told)) = line.strip_prefix(TOLD).and_then(|rest| rest.split_once(": "))
        else {
            return;
        };
        let number = |text: &str| text.split(' ').next().and_then(|word| word.parse().ok());
        if let Some(rest) = told.strip_prefix("done, ") {
            self.rounds += number(rest).unwrap_or(0);
        } else if let Some(rest) = told.strip_prefix("failed with seed ") {
            self.failed = number(rest);
        }
        if !told.starts_with("seed ") {
            self.told.push(format!("{name}: {told}"));
        }
    }
}

/// The end of it, for people.
fn tell(ends: &[(Test, End)], seed: u64) -> Result<(), String> {
    println!();
    for (test, end) in ends {
        let told = end.told.join("; ");
        println!("{} {}: {told}", if end.good { "good  " } else { "FAILED" }, test.name);
    }
    let rounds: u64 = ends.iter().map(|(_, end)| end.rounds).sum();
    let tests = ends.len();
    let failed: Vec<String> = ends
        .iter()
        .filter(|(_, end)| !end.good)
        .map(|(test, end)| {
            let seed = end.failed.unwrap_or(seed);
            format!("  cargo xtask torture --rounds 1 --seed {seed} --only {}", test.name)
        })
        .collect();
    if failed.is_empty() {
        println!("torture: {rounds} rounds of {tests} tests from seed {seed}, all of them good");
        return Ok(());
    }
    Err(format!(
        "{} of {tests} tests failed after {rounds} good rounds; to run them again:\n{}",
        failed.len(),
        failed.join("\n")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<Request> {
        Request::parse(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn words_are_understood_or_refused() {
        let only = String::new();
        assert_eq!(parse(""), Some(Request { most: Most::Seconds(600), seed: None, only }));
        let request = parse("--rounds 3 --seed 9 --only killed").expect("understood");
        assert_eq!((request.most, request.seed), (Most::Rounds(3), Some(9)));
        assert_eq!(request.only, "killed");
        for wrong in ["--rounds", "--rounds x", "--what 1", "3"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_a_test_tells_is_counted() {
        let mut end = End::default();
        for line in [
            "   Compiling windlass",
            "torture: killed backup: seed 7",
            "torture: killed backup: 8 of 9 were killed while they ran",
            "torture: killed backup: done, 9 rounds, seeds 7 to 15",
            "torture: other: failed with seed 31",
        ] {
            end.hear(line);
        }
        assert_eq!((end.rounds, end.failed, end.told.len()), (9, Some(31), 3));
    }
}
