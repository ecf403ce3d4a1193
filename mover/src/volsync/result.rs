//! What became of a run, as data: in the container's termination message, and as metrics.
//!
//! Invariants
//! - The message is one JSON document of 4096 bytes at most; what does not fit are the last of the
//!   unreadable files, never the rest.
//! - It is written where the file is there already, which is where somebody reads it.
//! - Nobody's failure to read it changes how the run ended.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::Write,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use serde::Serialize;
use windlass_engine::{model::root::RootId, restore};

use super::{
    ending::{Halt, Outcome},
    metrics,
};
use crate::{command::backup::Saved, settings::environment::Variables, snapshot::Snapshot, units};

/// Where a container's last message goes, by convention.
const TERMINATION_LOG: &str = "/dev/termination-log";
/// What is read of it.
const MOST_BYTES: usize = 4096;
/// Unreadable files that are named.
const NAMED: usize = 20;

/// What is told of a run. Figures that say nothing are left out.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Told {
    version: u32,
    windlass: &'static str,
    mover: &'static str,
    operations: Vec<String>,
    pub(super) outcome: Option<Outcome>,
    pub(super) exit_code: u8,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    messages: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) repository: Option<String>,
    /// Whether the repository was created.
    pub(super) created: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) snapshot: Option<SnapshotTold>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) backup: Option<BackupTold>,
    /// Snapshots that expired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) snapshots_removed: Option<u64>,
    /// Why none did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expiry_held: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) packs_removed: Option<u64>,
    /// Snapshots of the volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) snapshots_found: Option<u64>,
    /// Those that are old enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) snapshots_eligible: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) restore: Option<RestoreTold>,
    pub(super) phase_seconds: BTreeMap<&'static str, f64>,
    pub(super) duration_seconds: f64,
    pub(super) lock_wait_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) peak_memory_bytes: Option<u64>,
}

/// The snapshot that was made or restored.
#[derive(Clone, Debug, Serialize)]
pub(super) struct SnapshotTold {
    /// None where a partial backup equals its parent.
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
}

/// What a backup did.
#[derive(Clone, Debug, Serialize)]
pub(super) struct BackupTold {
    pub(super) files: u64,
    pub(super) files_new: u64,
    pub(super) files_changed: u64,
    pub(super) files_unchanged: u64,
    pub(super) bytes: u64,
    pub(super) bytes_read: u64,
    pub(super) bytes_added: u64,
    pub(super) bytes_stored: u64,
    /// Files that were read, by the reason why.
    pub(super) read_for: BTreeMap<&'static str, u64>,
    pub(super) vanished: u64,
    pub(super) unreadable: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unreadable_first: Vec<Unreadable>,
}

#[derive(Clone, Debug, Serialize)]
struct Unreadable {
    path: String,
    error: String,
}

/// What a restore did.
#[derive(Clone, Debug, Serialize)]
pub(super) struct RestoreTold {
    pub(super) files_written: u64,
    pub(super) files_unchanged: u64,
    pub(super) bytes_written: u64,
    pub(super) bytes_reused: u64,
    pub(super) deleted: u64,
    pub(super) left_out: u64,
    pub(super) failed: u64,
}

/// Where a run notes what it does. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    told: Arc<Mutex<Told>>,
    begun: Instant,
    termination_log: PathBuf,
}

/// A phase that ends when it is dropped.
pub(super) struct Phase<'a> {
    ledger: &'a Ledger,
    name: &'static str,
    begun: Instant,
}

impl Ledger {
    pub(super) fn new(mover: &'static str, words: &[String], variables: &Variables) -> Self {
        let told = Told {
            version: 1,
            windlass: env!("CARGO_PKG_VERSION"),
            mover,
            operations: words.to_vec(),
            ..Told::default()
        };
        let log = variables.path_of("WINDLASS_", "TERMINATION_LOG");
        Self {
            told: Arc::new(Mutex::new(told)),
            begun: Instant::now(),
            termination_log: log.unwrap_or_else(|| TERMINATION_LOG.into()),
        }
    }

    /// Notes something.
    pub(super) fn note(&self, note: impl FnOnce(&mut Told)) {
        note(&mut self.told());
    }

    /// Begins a phase.
    pub(super) fn phase(&self, name: &'static str) -> Phase<'_> {
        Phase { ledger: self, name, begun: Instant::now() }
    }

    /// Notes what a backup did.
    pub(super) fn saved(&self, saved: &Saved) {
        let (report, summary) = (&saved.report, &saved.report.summary);
        let id = |id: &RootId| id.as_str().to_owned();
        let unreadable = report.problems.iter().take(NAMED).map(|problem| Unreadable {
            path: String::from_utf8_lossy(&problem.path).into_owned(),
            error: problem.error.clone(),
        });
        let backup = BackupTold {
            files: summary.total_files,
            files_new: summary.files_new,
            files_changed: summary.files_changed,
            files_unchanged: summary.files_unmodified,
            bytes: summary.total_bytes,
            bytes_read: saved.read_bytes,
            bytes_added: summary.added_bytes,
            bytes_stored: summary.added_stored_bytes,
            read_for: report
                .read_for
                .iter()
                .filter(|(_, count)| *count > 0)
                .map(|(reason, count)| (reason.word(), *count))
                .collect(),
            vanished: report.vanished,
            unreadable: report.problem_count,
            unreadable_first: unreadable.collect(),
        };
        self.note(|told| {
            told.snapshot = Some(SnapshotTold {
                id: report.root.as_ref().map(id),
                time: summary.started.as_ref().map(units::rfc3339),
                parent: report.parent.as_ref().map(id),
            });
            told.backup = Some(backup);
        });
    }

    /// Notes what a restore did.
    pub(super) fn restored(&self, snapshot: &Snapshot, report: &restore::Report) {
        self.note(|told| {
            told.snapshot = Some(SnapshotTold {
                id: Some(snapshot.id.as_str().to_owned()),
                time: Some(units::rfc3339(&snapshot.root.time)),
                parent: None,
            });
            told.restore = Some(RestoreTold {
                files_written: report.files_restored + report.files_updated,
                files_unchanged: report.files_unchanged,
                bytes_written: report.bytes_written,
                bytes_reused: report.bytes_reused,
                deleted: report.deleted,
                left_out: report.left_out,
                failed: report.problem_count,
            });
        });
    }

    /// Notes how it ended.
    pub(super) fn close(&self, halt: &Halt) {
        let duration = self.begun.elapsed().as_secs_f64();
        self.note(|told| {
            told.outcome = Some(halt.outcome);
            told.exit_code = halt.code;
            told.messages = halt.lines.clone();
            told.duration_seconds = duration;
            told.peak_memory_bytes = peak_memory_bytes();
        });
    }

    /// Hands it out to all who asked, and gives what did not work.
    pub(super) fn publish(&self, variables: &Variables) -> Vec<String> {
        self.write_termination_message();
        metrics::publish(&self.told(), variables)
    }

    /// Writes the message, if somebody has made a file for it.
    pub(super) fn write_termination_message(&self) {
        let message = message(self.told().clone());
        let file = OpenOptions::new().write(true).truncate(true).open(&self.termination_log);
        if let Ok(mut file) = file {
            let _nobody_reads_it = file.write_all(message.as_bytes());
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Phase<'_> {
    fn drop(&mut self) {
        let seconds = self.begun.elapsed().as_secs_f64();
        self.ledger.note(|told| *told.phase_seconds.entry(self.name).or_default() += seconds);
    }
}

/// The document, with as much of its lists and texts as there is room for.
fn message(mut told: Told) -> String {
    loop {
        let text = serde_json::to_string(&told).unwrap_or_default();
        if text.len() <= MOST_BYTES {
            return text;
        }
        let unreadable = told.backup.as_mut().and_then(|it| it.unreadable_first.pop());
        if unreadable.is_some() {
            continue;
        }
        // Names of files and causes can be as long as anybody likes.
        match told.messages.iter_mut().max_by_key(|message| message.len()) {
            Some(longest) if longest.len() > 1 => {
                let half = longest.chars().count() / 2;
                *longest = longest.chars().take(half).collect();
            }
            _ => {
                told.messages.clear();
                told.operations.clear();
                told.expiry_held = None;
            }
        }
    }
}

/// The most memory this process ever had.
fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_fits_and_stays_a_document() {
        let unreadable = (0..NAMED).map(|number| Unreadable {
            path: format!("/{number}/{}", "long".repeat(200)),
            error: "Permission denied".into(),
        });
        let told = Told {
            outcome: Some(Outcome::Partial),
            exit_code: 3,
            messages: vec!["ä".repeat(3000), "short".into()],
            backup: Some(BackupTold {
                files: 7,
                files_new: 0,
                files_changed: 0,
                files_unchanged: 0,
                bytes: 0,
                bytes_read: 0,
                bytes_added: 0,
                bytes_stored: 0,
                read_for: BTreeMap::new(),
                vanished: 0,
                unreadable: 500,
                unreadable_first: unreadable.collect(),
            }),
            ..Told::default()
        };
        let text = message(told);
        assert!(text.len() <= MOST_BYTES, "{}", text.len());
        let read: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((&read["outcome"], &read["exit_code"]), (&"partial".into(), &3.into()));
        assert_eq!(
            (&read["backup"]["files"], &read["backup"]["unreadable"]),
            (&7.into(), &500.into())
        );
    }
}
