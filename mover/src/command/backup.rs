//! `backup`: files into a new snapshot.

mod options;
mod stream;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use windlass_engine::{
    backup::{self, Stream},
    monitor::Monitor,
    repository::Repository,
};

pub(crate) use options::{Args, SAMPLE_EVERY, pattern_texts};

use super::init;
use crate::{
    failure::{Failure, Outcome},
    output::{
        backup::BackupMonitor,
        progress::{Draw, Drawer},
    },
    scan,
    session::Session,
};

const PARTIAL: &str = "at least one source file could not be read";

pub(crate) async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    args.check(&session.settings)?;
    let options = args.options(session)?;
    let repository = match args.dry_run {
        true => session.open().await?,
        false => session.open_or_create(&init::defaults()).await?,
    };
    let stream = args.is_stream().then(|| args.stream(&session.cancel)).transpose()?;
    let counts = !args.no_scan && stream.is_none();
    let Saved { report, .. } = save(stream, options, counts, &repository, session).await?;
    Ok(if report.is_partial() { Outcome::Partial(PARTIAL) } else { Outcome::Done })
}

/// What was made.
pub(crate) struct Saved {
    pub(crate) report: backup::Report,
    /// Bytes read of the source.
    pub(crate) read_bytes: u64,
}

/// Makes a snapshot, of a stream where there is one, and tells of it. What there is to do is counted
/// beforehand where progress is shown and `counts` says so.
pub(crate) async fn save(
    stream: Option<Stream>,
    options: backup::Options,
    counts: bool,
    repository: &Repository,
    session: &Session,
) -> Result<Saved, Failure> {
    let monitor = Arc::new(BackupMonitor::new(Arc::clone(&session.output)));
    let started = Instant::now();
    let drawer = Drawer::start(&session.output, Arc::clone(&monitor) as Arc<dyn Draw>);
    let stop_scan = Arc::new(AtomicBool::new(false));
    if counts && session.output.status_interval().is_some() {
        start_scan(&options, &monitor, &stop_scan);
    }
    let dry_run = options.dry_run;
    let told = Arc::clone(&monitor) as Arc<dyn Monitor>;
    let cancel = &session.cancel;
    let result = match stream {
        Some(stream) => backup::run_stream(repository, stream, options, told, cancel).await,
        None => backup::run(repository, options, told, cancel).await,
    };
    stop_scan.store(true, Ordering::Relaxed);
    drop(drawer);
    let report = result?;
    if let Some(why) = &report.lock_left {
        session.lock_stays(why);
    }
    monitor.report(&report, dry_run, started.elapsed());
    Ok(Saved { report, read_bytes: monitor.counters().bytes_read.get() })
}

/// Counts what there is to do, beside the backup.
fn start_scan(options: &backup::Options, monitor: &Arc<BackupMonitor>, stop: &Arc<AtomicBool>) {
    let targets: Vec<PathBuf> = options.targets.clone();
    let (filter, one_file_system) = (options.filter.clone(), options.one_file_system);
    let (monitor, stop) = (Arc::clone(monitor), Arc::clone(stop));
    let _detached = std::thread::spawn(move || {
        if let Some(scanned) = scan::scan(&targets, &filter, one_file_system, &stop) {
            monitor.scan_finished(scanned);
        }
    });
}
