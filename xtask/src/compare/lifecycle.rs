//! The life of a repository after the backups: prune, nothing left to prune, check.
//!
//! Invariants: one repository is made and every tool works on a copy of its own of it; what a tool
//! leaves behind is checked by restic, where that is there, before its time counts; nothing is
//! measured but the commands named by the row.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::measure::{self, Cost};
use super::tool::{Bench, Kind, Tool};
use super::{machine, scenario};
use crate::tree::{self, Draw};
use crate::workspace;

/// Bytes of the repository that is pruned, at scale 1.
const PRUNED_BYTES: u64 = 4 << 30;
/// Bytes of the repository that is read.
const CHECKED_BYTES: u64 = 2 << 30;
const SNAPSHOTS: u64 = 8;
const FILES: u64 = 256;

const MIB: f64 = 1024.0 * 1024.0;

/// What is measured, its name, and how much of restic's wall time is aimed at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    Prune,
    Nothing,
    Check,
}

impl Work {
    const ALL: [Self; 3] = [Self::Prune, Self::Nothing, Self::Check];

    fn title(self) -> &'static str {
        match self {
            Self::Prune => "prune after half of the snapshots was forgotten",
            Self::Nothing => "forget and prune with nothing to do",
            Self::Check => "check every byte",
        }
    }

    fn target(self) -> f64 {
        match self {
            Self::Prune => 0.25,
            Self::Nothing => 0.6,
            Self::Check => 0.7,
        }
    }

    /// The commands, one after the other.
    fn commands(self, bench: &Bench<'_>) -> Vec<Command> {
        match self {
            Self::Prune => vec![bench.with("prune", &[])],
            Self::Nothing => {
                vec![bench.with("forget", &["--keep-last", "1000"]), bench.with("prune", &[])]
            }
            Self::Check => vec![bench.with("check", &["--read-data"])],
        }
    }
}

struct Row {
    work: Work,
    kind: Kind,
    costs: Vec<Cost>,
    left_bytes: u64,
}

/// Measures and prints the table.
pub(super) fn run(tools: &[Tool], place: &Path, scale: f64, runs: usize) -> Result<(), String> {
    let of = |bytes: u64| (bytes as f64 * scale) as u64;
    let maker = tools.first().ok_or("there is no tool")?;
    let pruned = place.join("pruned");
    history(&Bench::new(maker, pruned.clone())?, &place.join("source"), of(PRUNED_BYTES))?;
    let checked = place.join("checked");
    let big = place.join("big");
    fs::create_dir_all(&big).map_err(|error| format!("{}: {error}", big.display()))?;
    tree::incompressible(&big.join("data.bin"), of(CHECKED_BYTES), 5)?;
    let bench = Bench::new(maker, checked.clone())?;
    prepare(&bench, bench.init())?;
    prepare(&bench, vec![bench.backup(&big)])?;
    scenario::remove(&big)?;
    let mut rows: Vec<Row> = Vec::new();
    let mut lines: Vec<String> = Vec::new();
    let mut problems: Vec<String> = Vec::new();
    for number in 1..=runs {
        for tool in tools {
            eprintln!("xtask compare: run {number} of {runs}: {}", tool.kind.name());
            for (origin, works) in
                [(&pruned, &[Work::Prune, Work::Nothing][..]), (&checked, &[Work::Check])]
            {
                let here = place.join(tool.kind.name());
                let bench = Bench::new(tool, here.clone())?;
                copy(&origin.join("repository"), &bench.repository())?;
                for work in works {
                    match measured(*work, &bench, tools, &mut lines) {
                        Ok((cost, left_bytes)) => {
                            let kind = tool.kind;
                            let same = |row: &&mut Row| row.work == *work && row.kind == kind;
                            match rows.iter_mut().find(same) {
                                Some(row) => row.costs.push(cost),
                                None => rows.push(Row {
                                    work: *work,
                                    kind,
                                    costs: vec![cost],
                                    left_bytes,
                                }),
                            }
                        }
                        Err(problem) => problems.push(format!("{}: {problem}", tool.kind.name())),
                    }
                }
                scenario::remove(&here)?;
            }
        }
    }
    let sizes = [&pruned, &checked].map(|at| scenario::bytes_below(&at.join("repository")));
    let [pruned_bytes, checked_bytes] = sizes;
    let mut out = String::new();
    let mut push = |line: &str| writeln!(out, "{line}").map_err(|error| error.to_string());
    push(&format!("- Machine: {}.", machine::describe(place)))?;
    push(&format!(
        "- Repositories: {:.0} MiB in {SNAPSHOTS} snapshots, of which every second goes, and half \
         of {FILES} files is new in each; one incompressible file of {:.0} MiB.",
        pruned_bytes? as f64 / MIB,
        checked_bytes? as f64 / MIB,
    ))?;
    push(&format!("- Runs: {runs}, of each figure the median. Seconds and MiB."))?;
    for tool in tools {
        push(&format!("- {}: {}.", tool.kind.name(), tool.version))?;
    }
    push("\n| Work | Tool | Wall | CPU | Peak RSS | Repository | Wall ÷ restic | Target |")?;
    push("|---|---|--:|--:|--:|--:|--:|--:|")?;
    for work in Work::ALL {
        for row in rows.iter().filter(|row| row.work == work) {
            push(&table_line(row, &rows))?;
        }
    }
    if !problems.is_empty() {
        push("\nProblems:\n")?;
        problems.iter().try_for_each(|problem| push(&format!("- {problem}")))?;
    }
    push("\nCommand lines:\n\n```sh")?;
    lines.iter().try_for_each(|line| push(line))?;
    push("```")?;
    print!("{out}");
    match problems.len() {
        0 => Ok(()),
        count => Err(format!("{count} problems, listed below the table")),
    }
}

fn table_line(row: &Row, rows: &[Row]) -> String {
    let median = |row: &Row| measure::median(&row.costs).unwrap_or_default();
    let cost = median(row);
    let restic = rows.iter().find(|other| other.work == row.work && other.kind == Kind::Restic);
    let ratio = restic.map(|restic| cost.wall.as_secs_f64() / median(restic).wall.as_secs_f64());
    let is_ours = row.kind == Kind::Windlass;
    format!(
        "| {} | {} | {:.2} | {:.2} | {:.0} | {:.1} | {} | {} |",
        row.work.title(),
        row.kind.name(),
        cost.wall.as_secs_f64(),
        cost.cpu.as_secs_f64(),
        cost.peak_kib as f64 / 1024.0,
        row.left_bytes as f64 / MIB,
        ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
        if is_ours { row.work.target().to_string() } else { String::new() },
    )
}

/// Does the work; what it cost, and what is in the repository then.
fn measured(
    work: Work,
    bench: &Bench<'_>,
    tools: &[Tool],
    lines: &mut Vec<String>,
) -> Result<(Cost, u64), String> {
    if work == Work::Prune {
        // In the words of all versions: what is not tagged goes.
        let words = ["--keep-tag", "keep", "--group-by", ""];
        prepare(bench, vec![bench.with("forget", &words)])?;
    }
    let mut total = Cost::default();
    for command in work.commands(bench) {
        let line = bench.line(&command);
        let cost = measure::run(&command, &bench.place.join("work.log"))
            .map_err(|problem| format!("{}: {problem}", work.title()))?;
        total.wall += cost.wall;
        total.cpu += cost.cpu;
        total.peak_kib = total.peak_kib.max(cost.peak_kib);
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    if let Some(restic) = tools.iter().find(|tool| tool.kind == Kind::Restic) {
        let judge = Bench { tool: restic, ..bench.clone() };
        prepare(&judge, vec![judge.with("check", &["--read-data"])])
            .map_err(|problem| format!("after {}: {problem}", work.title()))?;
    }
    Ok((total, scenario::bytes_below(&bench.repository())?))
}

/// Snapshots of a directory in which half of the files is new each time; every second is tagged.
fn history(bench: &Bench<'_>, source: &Path, bytes: u64) -> Result<(), String> {
    prepare(bench, bench.init())?;
    fs::create_dir_all(source).map_err(|error| format!("{}: {error}", source.display()))?;
    // The first has all files, each later one half of them.
    let each = bytes / FILES * 2 / (SNAPSHOTS + 1);
    let mut draw = Draw::new(11);
    for snapshot in 0..SNAPSHOTS {
        for file in 0..FILES {
            let path = source.join(format!("file{file}"));
            let is_new = snapshot == 0;
            if is_new || draw.bits().is_multiple_of(2) {
                if !is_new {
                    scenario::remove(&path)?;
                }
                // Of different sizes, a half and three halves.
                let len = each / 2 + draw.bits() % each.max(1);
                tree::incompressible(&path, len, draw.bits())?;
            }
        }
        let tag = if snapshot.is_multiple_of(2) { "drop" } else { "keep" };
        let mut backup = bench.backup(source);
        backup.args(["--tag", tag]);
        prepare(bench, vec![backup])?;
    }
    scenario::remove(source)
}

fn prepare(bench: &Bench<'_>, commands: Vec<Command>) -> Result<(), String> {
    commands.iter().try_for_each(|command| {
        let ran = measure::run(command, &bench.place.join("prepare.log"));
        ran.map(drop).map_err(|problem| format!("{}: {problem}", bench.line(command)))
    })
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    workspace::run(Command::new("cp").arg("-a").arg(from).arg(to))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_line_has_what_it_is_of_restic_and_the_target() {
        let row = |kind, millis| Row {
            work: Work::Prune,
            kind,
            costs: vec![Cost {
                wall: Duration::from_millis(millis),
                cpu: Duration::from_secs(1),
                peak_kib: 2048,
            }],
            left_bytes: 3 << 20,
        };
        let rows = [row(Kind::Windlass, 500), row(Kind::Restic, 4000)];
        let title = "prune after half of the snapshots was forgotten";
        let line = |at: usize| table_line(&rows[at], &rows);
        assert_eq!(
            line(0),
            format!("| {title} | windlass | 0.50 | 1.00 | 2 | 3.0 | 0.12 | 0.25 |")
        );
        assert_eq!(line(1), format!("| {title} | restic | 4.00 | 1.00 | 2 | 3.0 | 1.00 |  |"));
    }
}
