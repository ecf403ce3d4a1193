//! The comparison as Markdown, ready to be put into the documentation.

use std::fmt::Write;

use super::Data;
use super::measure::{self, Cost};
use super::scenario::{Results, Work};
use super::tool::{Kind, NOTES, Tool};

const MIB: f64 = 1024.0 * 1024.0;

/// Machine, data, tools, the table, problems, command lines.
pub(super) fn render(
    machine: &str,
    data: &Data,
    tools: &[Tool],
    results: &Results,
    runs: usize,
) -> String {
    let mut out = String::new();
    let lines = [
        format!("- Machine: {machine}."),
        format!(
            "- Data: one incompressible file of {:.0} MiB; a source tree of {} files, {:.0} MiB \
             ({}).",
            data.big_bytes as f64 / MIB,
            data.tree_files,
            data.tree_bytes as f64 / MIB,
            data.tree_origin,
        ),
        format!(
            "- Runs: {runs}, of each figure the median. Wall and CPU in seconds, memory and \
             repository in MiB."
        ),
    ];
    let versions = tools.iter().map(|tool| format!("- {}: {}.", tool.kind.name(), tool.version));
    let notes = NOTES.iter().map(|note| format!("- {note}"));
    for line in lines.into_iter().chain(versions).chain(notes) {
        push(&mut out, &line);
    }
    push(
        &mut out,
        "\n| Work | Tool | Wall | CPU | Peak RSS | Repository | Wall ÷ restic | CPU ÷ restic | Repository ÷ restic |",
    );
    push(&mut out, "|---|---|--:|--:|--:|--:|--:|--:|--:|");
    let mut last = None;
    for ((work, kind), row) in rows(results) {
        let title = if last == Some(work) { "" } else { title(work) };
        last = Some(work);
        push(&mut out, &row_line(title, kind, &row, rows_of_restic(results, work).as_ref()));
    }
    for (heading, lines) in [("Problems", &results.problems), ("Not restored", &results.losses)] {
        if !lines.is_empty() {
            push(&mut out, &format!("\n{heading}:\n"));
            lines.iter().for_each(|line| push(&mut out, &format!("- {line}")));
        }
    }
    push(&mut out, "\nCommand lines:\n\n```sh");
    let lines: Vec<&String> = in_table_order(&results.lines).into_iter().map(|(_, l)| l).collect();
    for (at, line) in lines.iter().enumerate() {
        if !lines[..at].contains(line) {
            push(&mut out, line);
        }
    }
    push(&mut out, "```");
    out
}

fn push(out: &mut String, line: &str) {
    writeln!(out, "{line}").expect("a string takes everything");
}

fn title(work: Work) -> &'static str {
    match work {
        Work::BigBackup => "first backup, one incompressible file",
        Work::TreeBackup => "first backup, source tree",
        Work::UnchangedBackup => "the tree again, unchanged",
        Work::ChangedBackup => "the tree again, 5 % of the files changed",
        Work::TreeRestore => "restore the tree",
        Work::BigRestore => "restore the incompressible file",
        Work::UnchangedRestore => "restore over the tree, unchanged",
        Work::ChangedRestore => "restore over the tree, 5 % of the files changed",
    }
}

struct Row {
    cost: Cost,
    repository_bytes: Option<u64>,
}

type Key = (Work, Option<Kind>);

/// By work; within it the tools in their order and the floor last.
fn in_table_order<T>(map: &std::collections::BTreeMap<Key, T>) -> Vec<(Key, &T)> {
    let mut entries: Vec<(Key, &T)> = map.iter().map(|(key, value)| (*key, value)).collect();
    entries.sort_by_key(|((work, kind), _)| (*work, kind.is_none(), *kind));
    entries
}

fn rows(results: &Results) -> Vec<(Key, Row)> {
    let row = |samples: &Vec<super::scenario::Sample>| {
        let costs: Vec<Cost> = samples.iter().map(|sample| sample.cost).collect();
        let sizes = samples.iter().filter_map(|sample| sample.repository_bytes).collect();
        Some(Row { cost: measure::median(&costs)?, repository_bytes: measure::middle(sizes) })
    };
    let samples = in_table_order(&results.samples).into_iter();
    samples.filter_map(|(key, samples)| Some((key, row(samples)?))).collect()
}

fn rows_of_restic(results: &Results, work: Work) -> Option<Row> {
    let key = (work, Some(Kind::Restic));
    rows(results).into_iter().find(|(found, _)| *found == key).map(|(_, row)| row)
}

fn row_line(title: &str, kind: Option<Kind>, row: &Row, restic: Option<&Row>) -> String {
    let name = kind.map_or("cp (floor)", Kind::name);
    let repository = row.repository_bytes.map(|bytes| bytes as f64 / MIB);
    let ratio = |of: &dyn Fn(&Row) -> Option<f64>| {
        let (ours, theirs) = (of(row)?, of(restic?)?);
        (theirs > 0.0).then(|| ours / theirs)
    };
    let cell = |value: Option<f64>, digits: usize| {
        value.map_or_else(String::new, |value| format!("{value:.digits$}"))
    };
    let cells = [
        cell(Some(row.cost.wall.as_secs_f64()), 2),
        cell(Some(row.cost.cpu.as_secs_f64()), 2),
        cell(Some(row.cost.peak_kib as f64 / 1024.0), 0),
        cell(repository, 1),
        cell(ratio(&|row| Some(row.cost.wall.as_secs_f64())), 2),
        cell(ratio(&|row| Some(row.cost.cpu.as_secs_f64())), 2),
        cell(ratio(&|row| Some(row.repository_bytes? as f64)), 3),
    ];
    format!("| {title} | {name} | {} |", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::compare::scenario::Sample;

    fn sample(millis: u64, bytes: u64) -> Sample {
        let wall = Duration::from_millis(millis);
        let cost = Cost { wall, cpu: wall * 2, peak_kib: 2048 };
        Sample { cost, repository_bytes: Some(bytes) }
    }

    fn rendered() -> String {
        let mut results = Results::default();
        let key = |kind| (Work::TreeBackup, kind);
        results.samples.insert(key(None), vec![sample(100, 0)]);
        results.samples.insert(
            key(Some(Kind::Restic)),
            vec![sample(4000, 2 << 20), sample(1, 1), sample(9000, 9 << 20)],
        );
        results.samples.insert(key(Some(Kind::Windlass)), vec![sample(1000, 1 << 20)]);
        results.problems.insert("kopia: gone".into());
        let data = Data {
            big: "big".into(),
            big_bytes: 1 << 20,
            tree: "tree".into(),
            tree_bytes: 3 << 20,
            tree_files: 7,
            tree_origin: "made up".into(),
        };
        render("a machine", &data, &[], &results, 3)
    }

    #[test]
    fn a_row_has_the_medians_and_what_they_are_of_those_of_restic() {
        let text = rendered();
        let windlass = "| first backup, source tree | windlass | 1.00 | 2.00 | 2 | 1.0 | 0.25 | 0.25 \
                        | 0.500 |";
        assert!(text.contains(windlass), "{text}");
        assert!(text.contains("|  | restic | 4.00 | 8.00 | 2 | 2.0 | 1.00 | 1.00 | 1.000 |"));
    }

    #[test]
    fn windlass_comes_first_and_the_floor_last() {
        let text = rendered();
        let at = |name: &str| text.find(&format!("| {name} |")).unwrap();
        assert!(at("windlass") < at("restic") && at("restic") < at("cp (floor)"));
    }

    #[test]
    fn problems_stand_below_the_table() {
        assert!(rendered().contains("\nProblems:\n\n- kopia: gone\n"));
    }
}
