//! A sync of VolSync's: our mover beside what the original one runs, command by command.
//!
//! Invariants: both get the same volume, policy and environment; of the original only the programs
//! it runs are counted, not its shell; each of them begins with an empty cache and no repository.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::measure::{self, Cost};
use super::tool::{Kind, Tool};
use super::{Data, machine};

const PASSWORD: &str = "correct horse";
const MIB: f64 = 1024.0 * 1024.0;
const KEEP: [&str; 2] = ["--keep-last", "1"];

/// A sync that is measured, and how long ours may take.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sync {
    First,
    Unchanged,
    UnchangedWithPrune,
}

impl Sync {
    const ALL: [Self; 3] = [Self::First, Self::Unchanged, Self::UnchangedWithPrune];

    fn title(self) -> &'static str {
        match self {
            Self::First => "first backup",
            Self::Unchanged => "unchanged",
            Self::UnchangedWithPrune => "unchanged, with prune",
        }
    }

    fn most(self) -> Duration {
        Duration::from_millis(match self {
            Self::First => 4500,
            Self::Unchanged => 900,
            Self::UnchangedWithPrune => 1200,
        })
    }
}

/// Where one mover works.
struct Bench<'a> {
    tool: &'a Tool,
    place: PathBuf,
    volume: &'a Path,
}

impl Bench<'_> {
    /// What is run for a sync, one after the other; the first may fail where there is no repository.
    fn commands(&self, sync: Sync) -> Result<Vec<Command>, String> {
        if self.tool.kind == Kind::Windlass {
            let mut command = self.command(&self.entry()?);
            command.arg("backup").args((sync == Sync::UnchangedWithPrune).then_some("prune"));
            return Ok(vec![command]);
        }
        let restic = |words: &[&str]| {
            let mut command = self.command(&self.tool.program);
            command.args(words).current_dir(self.volume);
            command
        };
        let mut commands = vec![restic(&["version"])];
        commands.push(match sync {
            Sync::First => restic(&["init"]),
            Sync::Unchanged | Sync::UnchangedWithPrune => restic(&["cat", "config"]),
        });
        commands.push(restic(&["backup", "--host", "volsync", "--exclude=lost+found", "."]));
        commands.push(restic(&["forget", "--host", "volsync", KEEP[0], KEEP[1]]));
        if sync == Sync::UnchangedWithPrune {
            commands.push(restic(&["prune"]));
        }
        Ok(commands)
    }

    /// The program under the name by which it is a mover.
    fn entry(&self) -> Result<PathBuf, String> {
        let entry = self.place.join("mover-restic/entry.sh");
        if !entry.is_symlink() {
            let directory = entry.parent().unwrap_or(&self.place);
            fs::create_dir_all(directory)
                .and_then(|()| symlink(&self.tool.program, &entry))
                .map_err(|error| format!("{}: {error}", entry.display()))?;
        }
        Ok(entry)
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("DATA_DIR", self.volume).env("RESTIC_CACHE_DIR", self.place.join("cache"));
        command.env("RESTIC_REPOSITORY", self.place.join("repository"));
        command.env("RESTIC_PASSWORD", PASSWORD).env("PRIVILEGED_MOVER", "0");
        command.env("FORGET_OPTIONS", KEEP.join(" ")).env("TMPDIR", &self.place);
        command
    }

    fn sync(&self, sync: Sync) -> Result<Cost, String> {
        let mut sum = Cost::default();
        for command in self.commands(sync)? {
            let cost = measure::run(&command, &self.place.join("sync.log"))?;
            sum.wall += cost.wall;
            sum.cpu += cost.cpu;
            sum.peak_kib = sum.peak_kib.max(cost.peak_kib);
        }
        Ok(sum)
    }
}

/// Measures and prints the table.
pub(super) fn run(tools: &[Tool], data: &Data, place: &Path, runs: usize) -> Result<(), String> {
    let mut rows: Vec<(Sync, Kind, Vec<Cost>)> = Vec::new();
    for number in 1..=runs {
        for tool in tools {
            eprintln!("xtask compare: run {number} of {runs}: {}", tool.kind.name());
            let here = place.join(tool.kind.name());
            fs::create_dir_all(here.join("cache"))
                .map_err(|error| format!("{}: {error}", here.display()))?;
            let bench = Bench { tool, place: here.clone(), volume: &data.tree };
            for sync in Sync::ALL {
                let cost = bench.sync(sync)?;
                match rows.iter_mut().find(|row| row.0 == sync && row.1 == tool.kind) {
                    Some(row) => row.2.push(cost),
                    None => rows.push((sync, tool.kind, vec![cost])),
                }
            }
            fs::remove_dir_all(&here).map_err(|error| format!("{}: {error}", here.display()))?;
        }
    }
    println!("- Machine: {}.", machine::describe(place));
    println!(
        "- Volume: {} files, {:.0} MiB, {}; repository in a directory.",
        data.tree_files,
        data.tree_bytes as f64 / MIB,
        data.tree_origin
    );
    println!("- Runs: {runs}, of each figure the median. The original is the sum of its commands.");
    for tool in tools {
        println!("- {}: {}.", tool.kind.name(), tool.version);
    }
    println!("\n| Sync | Mover | Wall (s) | CPU (s) | Peak (MiB) | Aim (s) |");
    println!("|---|---|--:|--:|--:|--:|");
    for sync in Sync::ALL {
        for (_, kind, costs) in rows.iter().filter(|row| row.0 == sync) {
            let cost = measure::median(costs).ok_or("nothing was measured")?;
            let aim = match kind {
                Kind::Windlass => format!("{:.1}", sync.most().as_secs_f64()),
                _ => String::new(),
            };
            println!(
                "| {} | {} | {:.2} | {:.2} | {:.0} | {aim} |",
                sync.title(),
                kind.name(),
                cost.wall.as_secs_f64(),
                cost.cpu.as_secs_f64(),
                cost.peak_kib as f64 / 1024.0
            );
        }
    }
    Ok(())
}
