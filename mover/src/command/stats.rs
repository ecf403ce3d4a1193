//! `stats`: how much there is.

use std::sync::Arc;

use clap::ValueEnum;
use serde::Serialize;
use windlass_engine::{
    find::{
        Walker,
        stats::{Counter, Figures, Mode},
    },
    repository::Repository,
};

use super::{reading, snapshots};
use crate::{
    failure::{Failure, Outcome},
    output::{Output, is_default},
    session::Session,
    snapshot::{
        self,
        filter::{Filter, FilterArgs},
    },
    units,
};

/// Count what snapshots hold
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these snapshots, by the start of their ids, or `latest`
    #[arg(value_name = "SNAPSHOT")]
    snapshots: Vec<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// What is counted: the files as a restore would write them, files with different contents,
    /// chunks for each file, or chunks as they are stored
    #[arg(long, value_name = "MODE", default_value = "restore-size")]
    mode: ModeArg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ModeArg {
    RestoreSize,
    FilesByContents,
    BlobsPerFile,
    RawData,
}

impl From<ModeArg> for Mode {
    fn from(mode: ModeArg) -> Self {
        match mode {
            ModeArg::RestoreSize => Self::RestoreSize,
            ModeArg::FilesByContents => Self::FilesByContents,
            ModeArg::BlobsPerFile => Self::ChunksPerFile,
            ModeArg::RawData => Self::RawData,
        }
    }
}

#[derive(Serialize)]
struct StatsJson {
    total_size: u64,
    #[serde(skip_serializing_if = "is_default")]
    total_uncompressed_size: u64,
    #[serde(skip_serializing_if = "is_default")]
    compression_ratio: f64,
    #[serde(skip_serializing_if = "is_default")]
    compression_progress: f64,
    #[serde(skip_serializing_if = "is_default")]
    compression_space_saving: f64,
    #[serde(skip_serializing_if = "is_default")]
    total_file_count: u64,
    #[serde(skip_serializing_if = "is_default")]
    total_blob_count: u64,
    snapshots_count: u64,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    let filter = args.filter.filter(&session.settings)?;
    let repository = session.open().await?;
    let work = counted(args, &filter, &repository, session);
    let problems = session.reading(&repository, work).await?;
    reading::whole(problems)
}

async fn counted(
    args: Args,
    filter: &Filter,
    repository: &Repository,
    session: &Session,
) -> Result<u64, Failure> {
    let output = Arc::clone(&session.output);
    output.result("scanning...");
    output.flush();
    let all = snapshot::list(repository, &output).await?;
    let snapshots = snapshots::choose(all, &args.snapshots, filter)?;
    let walker = Walker::new(repository, &session.cancel).await?;
    let mut counter = Counter::new(repository, args.mode.into());
    reading::blocking(move || {
        let mut problems = 0;
        for snapshot in snapshots {
            let mut problem = |path: &[u8], fault| {
                problems += 1;
                let path = [snapshot.id.short().as_bytes(), b":", path].concat();
                reading::problem(&output, "stats", &path, &fault);
            };
            counter.root(&walker, &snapshot.root.tree, &mut problem)?;
        }
        print(args.mode, &StatsJson::from(counter.figures()), &output);
        Ok(problems)
    })
    .await
}

impl From<Figures> for StatsJson {
    fn from(figures: Figures) -> Self {
        let share = |part: u64, whole: u64| match whole {
            0 => 0.0,
            whole => part as f64 / whole as f64,
        };
        let uncompressed = figures.uncompressed_bytes;
        Self {
            total_size: figures.bytes,
            total_uncompressed_size: uncompressed,
            compression_ratio: share(figures.compressed_raw_bytes, figures.compressed_stored_bytes),
            compression_progress: share(figures.compressed_raw_bytes, uncompressed) * 100.0,
            compression_space_saving: match uncompressed {
                0 => 0.0,
                _ => (1.0 - share(figures.bytes, uncompressed)) * 100.0,
            },
            total_file_count: figures.files,
            total_blob_count: figures.chunks,
            snapshots_count: figures.roots,
        }
    }
}

fn print(mode: ModeArg, stats: &StatsJson, output: &Output) {
    if output.is_json() {
        return output.json(stats);
    }
    let mode = mode.to_possible_value().map(|value| value.get_name().to_owned());
    output.result(&format!("Stats in {} mode:", mode.unwrap_or_default()));
    let line = |name: &str, value: String| output.result(&format!("{name:>24}:  {value}"));
    line("Snapshots processed", stats.snapshots_count.to_string());
    if stats.total_blob_count > 0 {
        line("Total Blob Count", stats.total_blob_count.to_string());
    }
    if stats.total_file_count > 0 {
        line("Total File Count", stats.total_file_count.to_string());
    }
    if stats.total_uncompressed_size > 0 {
        line("Total Uncompressed Size", units::bytes(stats.total_uncompressed_size));
    }
    line("Total Size", units::bytes(stats.total_size));
    if stats.compression_progress > 0.0 {
        line("Compression Progress", format!("{:.2}%", stats.compression_progress));
    }
    if stats.compression_ratio > 0.0 {
        line("Compression Ratio", format!("{:.2}x", stats.compression_ratio));
    }
    if stats.compression_space_saving > 0.0 {
        line("Compression Space Saving", format!("{:.2}%", stats.compression_space_saving));
    }
}
