//! `cargo xtask compare --s3`: the tools over an object server that is far away.
//!
//! Invariants: one server and one proxy serve all tools, each in buckets of its own; a tool keeps
//! its cache between its steps; what was restored is compared with the original before its time
//! counts.

mod floor;
mod proxy;
mod server;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::measure::{self, Cost};
use super::tool::{Bench, Cloud, Kind, Tool};
use super::{Data, sameness};
use proxy::{Proxy, Request};
use server::Server;

/// What every request waits.
const DELAY: Duration = Duration::from_millis(20);
const BUCKET: &str = "compare";

/// A row group of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Work {
    BigBackup,
    TreeBackup,
    Unchanged,
    TreeRestore,
    BigRestore,
}

/// One measurement of a piece of work.
#[derive(Clone, Debug)]
struct Sample {
    cost: Cost,
    methods: BTreeMap<String, usize>,
    one_after_another: usize,
    sent: u64,
    received: u64,
}

/// All that was measured.
#[derive(Default)]
struct Results {
    /// By work and tool; without a tool it is the floor, plain curl.
    samples: BTreeMap<(Work, Option<Kind>), Vec<Sample>>,
    problems: BTreeSet<String>,
}

impl Work {
    const ALL: [Self; 5] =
        [Self::BigBackup, Self::TreeBackup, Self::Unchanged, Self::TreeRestore, Self::BigRestore];

    fn title(self) -> &'static str {
        match self {
            Self::BigBackup => "first backup, one incompressible file",
            Self::TreeBackup => "first backup, source tree",
            Self::Unchanged => "the tree again, unchanged",
            Self::TreeRestore => "restore the tree",
            Self::BigRestore => "restore the incompressible file",
        }
    }
}

impl Sample {
    fn new(cost: Cost, requests: &[Request]) -> Self {
        Self {
            cost,
            methods: table::methods(requests.iter().map(|request| request.method.as_str())),
            one_after_another: proxy::one_after_another(requests),
            sent: requests.iter().map(|request| request.sent).sum(),
            received: requests.iter().map(|request| request.received).sum(),
        }
    }
}

/// Measures, prints the table, and tells how many problems there were.
pub(super) fn run(
    tools: &[Tool],
    data: &Data,
    place: &Path,
    runs: usize,
    peers: Option<&Path>,
    machine: String,
) -> Result<usize, String> {
    let program = server::find(peers)?;
    let mut results = Results::default();
    for number in 1..=runs {
        in_a_place(&place.join("floor"), |here| floors(&program, data, here, &mut results))?;
        for tool in tools {
            eprintln!("xtask compare: run {number} of {runs}: {}", tool.kind.name());
            for (name, part) in [("big", big as Part), ("tree", tree as Part)] {
                let here = place.join(format!("{}-{name}", tool.kind.name()));
                let outcome = in_a_place(&here, |here| {
                    one(&program, tool, here, |step| part(step, data, &mut results))
                });
                if let Err(problem) = outcome {
                    results.problems.insert(format!("{}: {problem}", tool.kind.name()));
                }
            }
        }
    }
    let header = [
        format!("Machine: {machine}; tool, MinIO and the proxy share it"),
        format!("Every request waits {} ms at the proxy", DELAY.as_millis()),
        format!(
            "Data: one incompressible file of {} MiB; a source tree of {} files, {} MiB ({})",
            data.big_bytes >> 20,
            data.tree_files,
            data.tree_bytes >> 20,
            data.tree_origin
        ),
        format!("Runs: {runs}, of time and memory the median"),
    ];
    print!("{}", table::render(&header, tools, &results));
    Ok(results.problems.len())
}

type Part = fn(&Step<'_>, &Data, &mut Results) -> Result<(), String>;

/// A server, and the way to it.
struct Road {
    proxy: Proxy,
    _server: Server,
}

/// A tool with a bucket.
struct Step<'a> {
    bench: Bench<'a>,
    road: &'a Road,
}

/// Does something in a directory that is gone afterwards.
fn in_a_place(here: &Path, work: impl FnOnce(&Path) -> Result<(), String>) -> Result<(), String> {
    let done = work(here);
    fs::remove_dir_all(here).map_err(|error| format!("{}: {error}", here.display()))?;
    done
}

/// Gives `part` a tool with an empty repository.
fn one(
    program: &Path,
    tool: &Tool,
    here: &Path,
    part: impl FnOnce(&Step<'_>) -> Result<(), String>,
) -> Result<(), String> {
    let road = Road::to_a_new_server(program, here)?;
    let cloud = Cloud {
        address: road.proxy.address(),
        bucket: BUCKET,
        key_id: server::KEY_ID,
        secret_key: server::SECRET_KEY,
    };
    let bench = Bench::new(tool, here.to_path_buf())?.over(cloud);
    for command in bench.init() {
        measure::run(&command, &here.join("init.log")).map_err(|error| format!("init: {error}"))?;
    }
    part(&Step { bench, road: &road })
}

fn floors(program: &Path, data: &Data, here: &Path, results: &mut Results) -> Result<(), String> {
    let road = Road::to_a_new_server(program, here)?;
    for (work, command) in floor::commands(&road, data, here)?.into_iter().flatten() {
        let sample = road.run(work, &command, here)?;
        results.samples.entry((work, None)).or_default().push(sample);
    }
    Ok(())
}

fn big(step: &Step<'_>, data: &Data, results: &mut Results) -> Result<(), String> {
    step.measured(Work::BigBackup, &step.bench.backup(&data.big), results)?;
    step.restore(Work::BigRestore, &data.big, results)
}

fn tree(step: &Step<'_>, data: &Data, results: &mut Results) -> Result<(), String> {
    step.measured(Work::TreeBackup, &step.bench.backup(&data.tree), results)?;
    step.measured(Work::Unchanged, &step.bench.backup(&data.tree), results)?;
    step.restore(Work::TreeRestore, &data.tree, results)
}

impl Step<'_> {
    fn restore(&self, work: Work, source: &Path, results: &mut Results) -> Result<(), String> {
        let target = self.bench.place.join("restored");
        fs::create_dir_all(&target).map_err(|error| format!("{}: {error}", target.display()))?;
        let command = self.bench.restore(source, &target);
        let sample = self.run(work, &command)?;
        let differences = sameness::differences(source, &self.bench.restored(source, &target))?;
        let kind = self.bench.tool.kind;
        let wrong = differences.iter().find(|it| it.is_data || kind == Kind::Windlass);
        if let Some(first) = wrong {
            return Err(format!("{work:?}: {} differences, such as {first}", differences.len()));
        }
        results.samples.entry((work, Some(kind))).or_default().push(sample);
        Ok(())
    }

    fn measured(&self, work: Work, command: &Command, results: &mut Results) -> Result<(), String> {
        let sample = self.run(work, command)?;
        results.samples.entry((work, Some(self.bench.tool.kind))).or_default().push(sample);
        Ok(())
    }

    fn run(&self, work: Work, command: &Command) -> Result<Sample, String> {
        self.road.run(work, command, &self.bench.place)
    }
}

impl Road {
    fn to_a_new_server(program: &Path, here: &Path) -> Result<Self, String> {
        let buckets = here.join("server");
        let failed = |error: std::io::Error| format!("{}: {error}", buckets.display());
        fs::create_dir_all(buckets.join(BUCKET)).map_err(failed)?;
        let server = Server::start(program, &buckets, &here.join("server.log"))?;
        Ok(Self { proxy: Proxy::before(server.address(), DELAY)?, _server: server })
    }

    fn run(&self, work: Work, command: &Command, place: &Path) -> Result<Sample, String> {
        drop(self.proxy.take());
        let log = place.join(format!("{work:?}.log"));
        let cost = measure::run(command, &log).map_err(|error| format!("{work:?}: {error}"))?;
        let sample = Sample::new(cost, &self.proxy.take());
        eprintln!(
            "  {work:?}: {:.2} s, {} requests, {} one after another",
            cost.wall.as_secs_f64(),
            sample.methods.values().sum::<usize>(),
            sample.one_after_another
        );
        Ok(sample)
    }
}
