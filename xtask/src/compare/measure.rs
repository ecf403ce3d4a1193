//! What one run of a program costs: wall time, CPU time, peak memory.
//!
//! Invariants: each program runs under a small process of its own (`xtask measured`), because the
//! kernel tells the peak memory only as the highest of all children a process has ever waited
//! for. Descendants that the program waits for are counted with it.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

/// The cost of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Cost {
    pub(super) wall: Duration,
    pub(super) cpu: Duration,
    pub(super) peak_kib: u64,
}

/// Runs `command` with its output in the file `log`; a failure is reported with the log's end.
pub(super) fn run(command: &Command, log: &Path) -> Result<Cost, String> {
    let report = log.with_extension("cost");
    let supervisor = std::env::current_exe().map_err(|error| format!("who am I? {error}"))?;
    let mut measured = Command::new(supervisor);
    measured.arg("measured").arg(&report).arg(command.get_program()).args(command.get_args());
    measured.env_clear();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            measured.env(name, value);
        }
    }
    if let Some(directory) = command.get_current_dir() {
        measured.current_dir(directory);
    }
    let output = fs::File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
    let errors = output.try_clone().map_err(|error| format!("{}: {error}", log.display()))?;
    let status = measured.stdin(Stdio::null()).stdout(output).stderr(errors).status();
    let status = status.map_err(|error| format!("cannot start the supervisor: {error}"))?;
    if !status.success() {
        return Err(format!("{status}: {}", tail(log)));
    }
    let report = fs::read_to_string(&report).map_err(|error| format!("no cost: {error}"))?;
    parse(&report).ok_or_else(|| format!("not a cost: {report}"))
}

fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(3)..].join(" | ")
}

fn parse(report: &str) -> Option<Cost> {
    let mut numbers = report.split_whitespace().map(str::parse::<u64>);
    let mut next = || numbers.next()?.ok();
    Some(Cost {
        wall: Duration::from_micros(next()?),
        cpu: Duration::from_micros(next()?),
        peak_kib: next()?,
    })
}

/// `xtask measured REPORT PROGRAM ARGS…`: runs the program and writes its cost to the report.
pub(crate) fn supervise(arguments: &[String]) -> Result<(), String> {
    let [report, program, rest @ ..] = arguments else { return Err("nothing to run".into()) };
    let started = Instant::now();
    let status = Command::new(program).args(rest).status();
    let wall = started.elapsed();
    let status = status.map_err(|error| format!("cannot start {program}: {error}"))?;
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).map_err(|error| error.to_string())?;
    let cpu = micros(usage.user_time()) + micros(usage.system_time());
    let mut file = fs::File::create(report).map_err(|error| format!("{report}: {error}"))?;
    writeln!(file, "{} {cpu} {}", wall.as_micros(), usage.max_rss())
        .map_err(|error| format!("{report}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{program}: {status}")) }
}

fn micros(time: TimeVal) -> i64 {
    time.tv_sec() * 1_000_000 + time.tv_usec()
}

/// The cost in the middle: the median of each figure by itself.
pub(super) fn median(costs: &[Cost]) -> Option<Cost> {
    Some(Cost {
        wall: middle(costs.iter().map(|cost| cost.wall).collect())?,
        cpu: middle(costs.iter().map(|cost| cost.cpu).collect())?,
        peak_kib: middle(costs.iter().map(|cost| cost.peak_kib).collect())?,
    })
}

/// The element in the middle; of an even number the lower one.
pub(super) fn middle<T: Ord + Copy>(mut values: Vec<T>) -> Option<T> {
    values.sort_unstable();
    values.get(values.len().checked_sub(1)? / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_taken_of_each_figure_by_itself() {
        let cost = |wall, cpu, peak_kib| Cost {
            wall: Duration::from_secs(wall),
            cpu: Duration::from_secs(cpu),
            peak_kib,
        };
        let costs = [cost(1, 9, 5), cost(7, 2, 6), cost(3, 4, 70)];
        assert_eq!(median(&costs), Some(cost(3, 4, 6)));
        assert_eq!(median(&[]), None);
        assert_eq!(middle(vec![4, 1, 3, 2]), Some(2));
    }

    #[test]
    fn a_report_is_three_numbers() {
        let cost = parse("1500000 20 300\n").unwrap();
        assert_eq!((cost.wall.as_millis(), cost.cpu.as_micros(), cost.peak_kib), (1500, 20, 300));
        assert_eq!(parse("1 2"), None);
        assert_eq!(parse("1 2 x"), None);
    }
}
