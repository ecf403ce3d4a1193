//! `cargo xtask compare`: Windlass beside the tools people use today, on the same data.
//!
//! Invariants: all tools work on the same generated data in the same run, turn by turn; what a
//! tool restored is compared with the original before its time counts; a tool that fails or
//! restores something else is named below the table, and the task then fails.

mod lifecycle;
mod machine;
mod measure;
mod mover;
mod remote;
pub(crate) mod sameness;
mod scenario;
pub(crate) mod scratch;
mod table;
mod tool;

use std::path::{Path, PathBuf};

use crate::tree::{self, Shape};
use crate::workspace;
use scratch::Scratch;
use tool::{Kind, Tool};

pub(crate) use measure::supervise;

const USAGE: &str = "\
usage: cargo xtask compare [OPTIONS]
  --s3           over MinIO on this machine, 20 ms away, instead of in a directory
  --size SIZE    of the incompressible file (2G)
  --files N      in the generated source tree (55000: 1.6 GB)
  --tree DIR     copy this directory instead of generating a tree
  --runs N       repetitions; the median counts (3)
  --peers DIR    look for restic, rustic and kopia here before PATH
  --only A,B     compare these tools only
  --mover        measure syncs of VolSync's restic mover instead, beside restic
  --lifecycle    measure prune and check instead, on one repository for windlass and restic
  --scale F      of the repositories of --lifecycle (1: 4 GiB and 2 GiB)
  --dir DIR      work here (/dev/shm if the data fits, else the temporary directory)";

/// What was asked for.
#[derive(Debug, PartialEq)]
struct Options {
    s3: bool,
    big_bytes: u64,
    files: usize,
    tree: Option<PathBuf>,
    runs: usize,
    peers: Option<PathBuf>,
    only: Vec<Kind>,
    directory: Option<PathBuf>,
    lifecycle: bool,
    mover: bool,
    scale: f64,
}

impl Options {
    fn parse(arguments: &[String]) -> Option<Self> {
        let mut options = Self {
            s3: false,
            big_bytes: 2 << 30,
            files: 55_000,
            tree: None,
            runs: 3,
            peers: None,
            only: Kind::ALL.to_vec(),
            directory: None,
            lifecycle: false,
            mover: false,
            scale: 1.0,
        };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            if word == "--lifecycle" {
                options.lifecycle = true;
                continue;
            }
            if word == "--mover" {
                options.mover = true;
                continue;
            }
            if word == "--s3" {
                options.s3 = true;
                continue;
            }
            let value = words.next()?;
            match word.as_str() {
                "--size" => options.big_bytes = size(value)?,
                "--files" => options.files = value.parse().ok().filter(|files| *files > 0)?,
                "--tree" => options.tree = Some(value.into()),
                "--runs" => options.runs = value.parse().ok().filter(|runs| *runs > 0)?,
                "--peers" => options.peers = Some(value.into()),
                "--only" => options.only = kinds(value)?,
                "--scale" => options.scale = value.parse().ok().filter(|scale| *scale > 0.0)?,
                "--dir" => options.directory = Some(value.into()),
                _ => return None,
            }
        }
        Some(options)
    }
}

/// A number of bytes with an optional binary unit: `512M`, `2G`.
fn size(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &text[digits.len()..] {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift).filter(|bytes| *bytes > 0)
}

fn kinds(text: &str) -> Option<Vec<Kind>> {
    let named = |name: &str| Kind::ALL.into_iter().find(|kind| kind.name() == name);
    text.split(',').map(named).collect()
}

/// Measures and prints the table.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let mut options = Options::parse(arguments).ok_or(USAGE)?;
    if options.mover {
        // Nobody backs the one large file up.
        options.big_bytes = 1;
    }
    if options.lifecycle {
        return lifecycle(&options);
    }
    let mut tools = find_tools(&options)?;
    if options.mover {
        tools.retain(|tool| matches!(tool.kind, Kind::Windlass | Kind::Restic));
    }
    if tools.is_empty() {
        return Err("none of the tools was found".into());
    }
    let tree_bytes = match &options.tree {
        Some(tree) => scenario::bytes_below(tree)?,
        None => options.files as u64 * 30_000,
    };
    // The sources, and beside the larger one a repository, a cache and what is restored.
    let needed = options.big_bytes + tree_bytes + 3 * options.big_bytes.max(tree_bytes);
    let parent = options.directory.clone().unwrap_or_else(|| machine::roomy_directory(needed));
    let scratch = Scratch::new(&parent)?;
    let machine = machine::describe(scratch.path());
    let data = prepare(&options, scratch.path())?;
    if options.mover {
        return mover::run(&tools, &data, scratch.path(), options.runs);
    }
    if options.s3 {
        let peers = options.peers.as_deref();
        let runs = options.runs;
        return match remote::run(&tools, &data, scratch.path(), runs, peers, machine)? {
            0 => Ok(()),
            count => Err(format!("{count} problems, listed below the table")),
        };
    }
    let results = scenario::run(&tools, &data, scratch.path(), options.runs)?;
    print!("{}", table::render(&machine, &data, &tools, &results, options.runs));
    match results.problems.len() {
        0 => Ok(()),
        count => Err(format!("{count} problems, listed below the table")),
    }
}

/// Measures what comes after the backups; the other tools keep repositories of other kinds, or
/// remove what is not needed in several runs days apart.
fn lifecycle(options: &Options) -> Result<(), String> {
    let mut tools = find_tools(options)?;
    tools.retain(|tool| matches!(tool.kind, Kind::Windlass | Kind::Restic));
    let needed = (options.scale * 12.0 * f64::from(1 << 30)) as u64;
    let parent = options.directory.clone().unwrap_or_else(|| machine::roomy_directory(needed));
    let scratch = Scratch::new(&parent)?;
    lifecycle::run(&tools, scratch.path(), options.scale, options.runs)
}

fn find_tools(options: &Options) -> Result<Vec<Tool>, String> {
    let mut tools = Vec::new();
    for kind in Kind::ALL.into_iter().filter(|kind| options.only.contains(kind)) {
        let program = if kind == Kind::Windlass {
            eprintln!("xtask compare: building windlass");
            workspace::run(workspace::cargo().args([
                "build",
                "--release",
                "--package",
                "windlass",
            ]))?;
            Some(workspace::target_dir()?.join("release/windlass"))
        } else {
            let beside = options.peers.as_ref().map(|peers| peers.join(kind.name()));
            let beside = beside.filter(|program| program.is_file());
            beside.or_else(|| workspace::find_on_path(kind.name()))
        };
        match program.map(std::fs::canonicalize) {
            Some(Ok(program)) => tools.push(Tool::new(kind, program)),
            Some(Err(error)) => return Err(format!("{}: {error}", kind.name())),
            None => eprintln!("xtask compare: {} was not found and is left out", kind.name()),
        }
    }
    Ok(tools)
}

/// The data everybody works on.
struct Data {
    /// A directory with one incompressible file in it.
    big: PathBuf,
    big_bytes: u64,
    /// A source tree.
    tree: PathBuf,
    tree_bytes: u64,
    tree_files: usize,
    /// How it came to be.
    tree_origin: String,
}

fn prepare(options: &Options, place: &Path) -> Result<Data, String> {
    const SEED: u64 = 20_260_101;
    eprintln!("xtask compare: preparing data in {}", place.display());
    let (big, tree) = (place.join("source/big"), place.join("source/tree"));
    std::fs::create_dir_all(&big).map_err(|error| format!("{}: {error}", big.display()))?;
    tree::incompressible(&big.join("data.bin"), options.big_bytes, SEED)?;
    let tree_origin = if let Some(original) = &options.tree {
        let mut copy = std::process::Command::new("cp");
        workspace::run(copy.arg("-a").arg(original).arg(&tree))?;
        "a copy of --tree".to_string()
    } else {
        tree::generate(&tree, Shape { files: options.files, seed: SEED })?;
        format!("generated, seed {SEED}")
    };
    Ok(Data {
        big,
        big_bytes: options.big_bytes,
        tree_bytes: scenario::bytes_below(&tree)?,
        tree_files: scenario::files_below(&tree)?.len(),
        tree,
        tree_origin,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Option<Options> {
        Options::parse(&line.split_whitespace().map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn options_have_the_values_of_the_table_unless_told_otherwise() {
        let options = parse("").unwrap();
        assert_eq!((options.big_bytes, options.files, options.runs), (2 << 30, 55_000, 3));
        let options = parse("--lifecycle --scale 0.5").unwrap();
        assert!(options.lifecycle && options.scale < 0.6);
        assert!(parse("--mover").unwrap().mover && !options.mover);
        assert!(!options.s3 && parse("--runs 2 --s3 --files 7").unwrap().s3);
        let options = parse("--size 256M --files 5000 --only kopia,restic --runs 1").unwrap();
        assert_eq!((options.big_bytes, options.files, options.runs), (256 << 20, 5_000, 1));
        assert_eq!(options.only, [Kind::Kopia, Kind::Restic]);
    }

    #[test]
    fn wrong_options_are_refused() {
        for line in [
            "--size",
            "--size 2X",
            "--size G",
            "--size 0",
            "--runs 0",
            "--only borg",
            "--what 1",
            "--scale 0",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
