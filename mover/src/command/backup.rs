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

use windlass_engine::{backup, monitor::Monitor};

pub(crate) use options::{Args, pattern_texts};

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
    let monitor = Arc::new(BackupMonitor::new(Arc::clone(&session.output)));
    let started = Instant::now();
    let drawer = Drawer::start(&session.output, Arc::clone(&monitor) as Arc<dyn Draw>);
    let stop_scan = Arc::new(AtomicBool::new(false));
    let is_stream = args.is_stream();
    if session.output.status_interval().is_some() && !args.no_scan && !is_stream {
        start_scan(&options, &monitor, &stop_scan);
    }
    let dry_run = options.dry_run;
    let told = Arc::clone(&monitor) as Arc<dyn Monitor>;
    let cancel = &session.cancel;
    let result = match is_stream {
        true => {
            let stream = args.stream(cancel)?;
            backup::run_stream(&repository, stream, options, told, cancel).await
        }
        false => backup::run(&repository, options, told, cancel).await,
    };
    stop_scan.store(true, Ordering::Relaxed);
    drop(drawer);
    let report = result?;
    if let Some(why) = &report.lock_left {
        session.lock_stays(why);
    }
    monitor.report(&report, dry_run, started.elapsed());
    Ok(if report.is_partial() { Outcome::Partial(PARTIAL) } else { Outcome::Done })
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
