//! The work every tool is given, in the order it is given.
//!
//! Invariants: tools take turns within a run, so that a machine that gets slower gets slower for
//! all; the sources are the same, byte for byte, when the next tool begins; nothing is measured
//! but the one command named by the row.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use super::Data;
use super::measure::{self, Cost};
use super::sameness::{self, Difference};
use super::tool::{Bench, Kind, Tool};
use crate::workspace;

/// A row group of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Work {
    BigBackup,
    TreeBackup,
    UnchangedBackup,
    ChangedBackup,
    TreeRestore,
    BigRestore,
    UnchangedRestore,
    ChangedRestore,
}

/// One measurement of a piece of work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) cost: Cost,
    /// Size of the repository afterwards, where the work writes to it.
    pub(super) repository_bytes: Option<u64>,
}

/// All that was measured.
#[derive(Default)]
pub(super) struct Results {
    /// By work and tool; without a tool it is the floor, plain `cp`.
    pub(super) samples: BTreeMap<(Work, Option<Kind>), Vec<Sample>>,
    /// The command lines, without this run's directories.
    pub(super) lines: BTreeMap<(Work, Option<Kind>), String>,
    /// What failed, and what was restored wrong.
    pub(super) problems: BTreeSet<String>,
    /// What peers did not restore beside the data.
    pub(super) losses: BTreeSet<String>,
}

/// One file in this many is changed: 5 %.
const CHANGED: usize = 20;

/// Gives every tool all the work, `runs` times.
pub(super) fn run(
    tools: &[Tool],
    data: &Data,
    place: &Path,
    runs: usize,
) -> Result<Results, String> {
    let mut results = Results::default();
    for number in 1..=runs {
        floors(data, place, &mut results)?;
        for tool in tools {
            eprintln!("xtask compare: run {number} of {runs}: {}", tool.kind.name());
            for (name, part) in [("big", big as Part), ("tree", tree as Part)] {
                let here = place.join(format!("{}-{name}", tool.kind.name()));
                let bench = Bench::new(tool, here.clone())?;
                if let Err(problem) = part(&bench, data, &mut results) {
                    results.problems.insert(format!("{}: {problem}", tool.kind.name()));
                }
                remove(&here)?;
            }
        }
    }
    Ok(results)
}

type Part = fn(&Bench<'_>, &Data, &mut Results) -> Result<(), String>;

fn floors(data: &Data, place: &Path, results: &mut Results) -> Result<(), String> {
    let cp = workspace::find_on_path("cp").ok_or("cp is not on PATH")?;
    let target = place.join("copy");
    for (work, words, source) in [
        (Work::TreeRestore, &["-a"][..], data.tree.clone()),
        (Work::BigRestore, &[], data.big.join("data.bin")),
    ] {
        let mut command = Command::new(&cp);
        command.args(words).arg(source).arg(&target);
        let cost = measure::run(&command, &place.join("cp.log"))?;
        let line = workspace::line(&command).replace(&format!("{}/", place.display()), "");
        results.lines.insert((work, None), line.replace(&cp.display().to_string(), "cp"));
        let sample = Sample { cost, repository_bytes: None };
        results.samples.entry((work, None)).or_default().push(sample);
        remove(&target)?;
    }
    Ok(())
}

fn big(bench: &Bench<'_>, data: &Data, results: &mut Results) -> Result<(), String> {
    init(bench)?;
    backup(bench, Work::BigBackup, &data.big, results)?;
    restore(bench, Work::BigRestore, &data.big, results)
}

fn tree(bench: &Bench<'_>, data: &Data, results: &mut Results) -> Result<(), String> {
    init(bench)?;
    backup(bench, Work::TreeBackup, &data.tree, results)?;
    backup(bench, Work::UnchangedBackup, &data.tree, results)?;
    restore(bench, Work::TreeRestore, &data.tree, results)?;
    restore(bench, Work::UnchangedRestore, &data.tree, results)?;
    let restored = bench.restored(&data.tree, &target(bench));
    change(&restored)?;
    restore(bench, Work::ChangedRestore, &data.tree, results)?;
    remove(&target(bench))?;
    let originals = change(&data.tree)?;
    let outcome = backup(bench, Work::ChangedBackup, &data.tree, results);
    originals.into_iter().try_for_each(|original| original.put_back())?;
    outcome
}

fn init(bench: &Bench<'_>) -> Result<(), String> {
    for command in bench.init() {
        measure::run(&command, &bench.place.join("init.log"))
            .map_err(|error| format!("init: {error}"))?;
    }
    match fs::read_dir(bench.repository()).map(|mut entries| entries.next().is_some()) {
        Ok(true) => Ok(()),
        _ => Err("init made no repository".into()),
    }
}

fn backup(
    bench: &Bench<'_>,
    work: Work,
    source: &Path,
    results: &mut Results,
) -> Result<(), String> {
    let cost = measured(bench, work, &bench.backup(source), results)?;
    let repository_bytes = Some(bytes_below(&bench.repository())?);
    let samples = results.samples.entry((work, Some(bench.tool.kind))).or_default();
    samples.push(Sample { cost, repository_bytes });
    Ok(())
}

/// Restores and compares. The time counts only if the data is the same; a peer that loses
/// something beside the data is noted, Windlass has to lose nothing.
fn restore(
    bench: &Bench<'_>,
    work: Work,
    source: &Path,
    results: &mut Results,
) -> Result<(), String> {
    let target = target(bench);
    fs::create_dir_all(&target).map_err(|error| format!("{}: {error}", target.display()))?;
    let cost = measured(bench, work, &bench.restore(source, &target), results)?;
    let differences = sameness::differences(source, &bench.restored(source, &target))?;
    let kind = bench.tool.kind;
    let wrong = |difference: &&Difference| difference.is_data || kind == Kind::Windlass;
    if let Some(first) = differences.iter().find(wrong) {
        return Err(format!("{work:?}: {} differences, such as {first}", differences.len()));
    }
    if let Some(first) = differences.first() {
        let count = differences.len();
        let loss = format!("{}: {work:?}: {count} differences, such as {first}", kind.name());
        results.losses.insert(loss);
    }
    let samples = results.samples.entry((work, Some(bench.tool.kind))).or_default();
    samples.push(Sample { cost, repository_bytes: None });
    Ok(())
}

/// The directory that holds the sources and every tool's place.
fn data_root(bench: &Bench<'_>) -> String {
    bench.place.parent().unwrap_or(&bench.place).display().to_string()
}

fn target(bench: &Bench<'_>) -> PathBuf {
    bench.place.join("restored")
}

fn measured(
    bench: &Bench<'_>,
    work: Work,
    command: &Command,
    results: &mut Results,
) -> Result<Cost, String> {
    let log = bench.place.join(format!("{work:?}.log"));
    let cost = measure::run(command, &log).map_err(|error| format!("{work:?}: {error}"))?;
    eprintln!("  {work:?}: {:.2} s", cost.wall.as_secs_f64());
    let line = bench.line(command).replace(&format!("{}/", data_root(bench)), "");
    results.lines.insert((work, Some(bench.tool.kind)), line);
    Ok(cost)
}

/// A file as it was before it was changed.
struct Original {
    path: PathBuf,
    bytes: Vec<u8>,
    modified: SystemTime,
}

impl Original {
    fn put_back(self) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("{}: {error}", self.path.display());
        fs::write(&self.path, &self.bytes).map_err(failed)?;
        let file = File::options().append(true).open(&self.path).map_err(failed)?;
        file.set_modified(self.modified).map_err(failed)
    }
}

/// Edits 5 % of the files below `root` in place, a line in the middle of each.
fn change(root: &Path) -> Result<Vec<Original>, String> {
    let mut originals = Vec::new();
    for path in files_below(root)?.into_iter().step_by(CHANGED) {
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        let bytes = fs::read(&path).map_err(failed)?;
        let modified = fs::metadata(&path).and_then(|meta| meta.modified()).map_err(failed)?;
        let (head, tail) = bytes.split_at(bytes.len() / 2);
        let edited = [head, b"\n// an edit in the middle\n", tail].concat();
        fs::write(&path, edited).map_err(failed)?;
        originals.push(Original { path, bytes, modified });
    }
    Ok(originals)
}

/// Every regular file below `root`, in order of path.
pub(super) fn files_below(root: &Path) -> Result<Vec<PathBuf>, String> {
    let (mut files, mut directories) = (Vec::new(), vec![root.to_path_buf()]);
    while let Some(directory) = directories.pop() {
        let failed = |error: std::io::Error| format!("{}: {error}", directory.display());
        for entry in fs::read_dir(&directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() {
                directories.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The sizes of all files below `root` together.
pub(super) fn bytes_below(root: &Path) -> Result<u64, String> {
    let mut bytes = 0;
    for path in files_below(root)? {
        let meta = fs::metadata(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        bytes += meta.len();
    }
    Ok(bytes)
}

/// Removes a file, or a directory with all below.
pub(super) fn remove(path: &Path) -> Result<(), String> {
    let outcome = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    outcome.map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::scratch::Scratch;

    #[test]
    fn one_file_in_twenty_is_changed_and_put_back_as_it_was() {
        let scratch = Scratch::new(&std::env::temp_dir()).unwrap();
        let (one, two) = (scratch.path().join("one"), scratch.path().join("two"));
        for root in [&one, &two] {
            crate::tree::generate(root, crate::tree::Shape { files: 100, seed: 3 }).unwrap();
        }
        let originals = change(&one).unwrap();
        assert_eq!(originals.len(), 5);
        let differences = sameness::differences(&one, &two).unwrap();
        let contents = differences.iter().filter(|difference| difference.is_data);
        assert_eq!(contents.count(), 5);
        originals.into_iter().for_each(|original| original.put_back().unwrap());
        assert_eq!(sameness::differences(&one, &two).unwrap(), []);
    }
}
