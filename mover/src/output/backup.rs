//! What a backup prints.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Serialize;
use windlass_engine::{
    backup::{Report, compare::Reason},
    monitor::{Action, Counters, Event, ItemKind, Monitor},
};

use super::{
    Output, is_default, problem,
    progress::{self, Draw},
    quote::quoted,
};
use crate::{scan::Scanned, snapshot::json::SummaryJson, units};

/// Turns what a backup tells into lines, or JSON messages.
#[derive(Debug)]
pub(crate) struct BackupMonitor {
    output: Arc<Output>,
    counters: Counters,
    scanned: Mutex<Option<Scanned>>,
    /// Files that are being read.
    current: Mutex<BTreeSet<Vec<u8>>>,
}

#[derive(Serialize)]
struct Status {
    message_type: &'static str,
    #[serde(skip_serializing_if = "is_default")]
    seconds_elapsed: u64,
    #[serde(skip_serializing_if = "is_default")]
    seconds_remaining: u64,
    percent_done: f64,
    #[serde(skip_serializing_if = "is_default")]
    total_files: u64,
    #[serde(skip_serializing_if = "is_default")]
    files_done: u64,
    #[serde(skip_serializing_if = "is_default")]
    total_bytes: u64,
    #[serde(skip_serializing_if = "is_default")]
    bytes_done: u64,
    #[serde(skip_serializing_if = "is_default")]
    error_count: u64,
    #[serde(skip_serializing_if = "is_default")]
    current_files: Vec<String>,
}

#[derive(Serialize)]
struct VerboseStatus<'a> {
    message_type: &'static str,
    action: &'a str,
    item: &'a str,
    duration: f64,
    data_size: u64,
    data_size_in_repo: u64,
    metadata_size: u64,
    metadata_size_in_repo: u64,
    total_files: u64,
}

#[derive(Serialize)]
struct ExcludedItem<'a> {
    message_type: &'static str,
    item: &'a str,
}

#[derive(Serialize)]
struct BackupSummary<'a> {
    message_type: &'static str,
    #[serde(flatten)]
    figures: SummaryJson,
    total_duration: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot_id: Option<&'a str>,
    #[serde(skip_serializing_if = "is_default")]
    dry_run: bool,
}

impl BackupMonitor {
    pub(crate) fn new(output: Arc<Output>) -> Self {
        Self {
            output,
            counters: Counters::default(),
            scanned: Mutex::default(),
            current: Mutex::default(),
        }
    }

    /// How much there is to do is known now.
    pub(crate) fn scan_finished(&self, scanned: Scanned) {
        let seconds = scanned.took.as_secs_f64();
        if self.output.is_json() {
            if self.output.verbosity() >= 2 {
                let message = VerboseStatus {
                    duration: seconds,
                    data_size: scanned.bytes,
                    total_files: scanned.files,
                    ..VerboseStatus::of("scan_finished", "")
                };
                self.output.json(&message);
            }
        } else {
            self.output.detail(&format!(
                "scan finished in {seconds:.3}s: {} files, {}",
                scanned.files,
                units::bytes(scanned.bytes)
            ));
        }
        *self.scanned.lock().unwrap_or_else(PoisonError::into_inner) = Some(scanned);
    }

    /// The end.
    pub(crate) fn report(&self, report: &Report, dry_run: bool, took: Duration) {
        if self.output.is_json() {
            let snapshot_id = report.root.as_ref().map(|id| id.as_str());
            self.output.json(&BackupSummary {
                message_type: "summary",
                figures: SummaryJson::from(&report.summary),
                total_duration: took.as_secs_f64(),
                snapshot_id,
                dry_run,
            });
        } else {
            self.print_report(report, dry_run, took);
            let first = report.problems.iter().map(|it| (&*it.path, &*it.error));
            problem::list(&self.output, "could not be read", report.problem_count, first);
        }
    }

    fn print_report(&self, report: &Report, dry_run: bool, took: Duration) {
        let (output, summary) = (&self.output, &report.summary);
        let figures = |of: &str, new: u64, changed: u64, unmodified: u64| {
            format!("{of:<12} {new:>5} new, {changed:>5} changed, {unmodified:>5} unmodified")
        };
        let (new, changed) = (summary.files_new, summary.files_changed);
        output.line("");
        output.line(&figures("Files:", new, changed, summary.files_unmodified));
        let (new, changed) = (summary.dirs_new, summary.dirs_changed);
        output.line(&figures("Dirs:", new, changed, summary.dirs_unmodified));
        output.detail(&format!("Data Blobs:  {:>5} new", summary.data_chunks));
        output.detail(&format!("Tree Blobs:  {:>5} new", summary.meta_chunks));
        output.line(&format!(
            "{} to the repository: {:<5} ({:<5} stored)",
            if dry_run { "Would add" } else { "Added" },
            units::bytes(summary.added_bytes),
            units::bytes(summary.added_stored_bytes)
        ));
        if let Some(line) = reread(report) {
            output.line(&line);
        }
        if report.vanished > 0 {
            output.line(&format!("{} files were gone when their turn came", report.vanished));
        }
        output.line("");
        output.line(&format!(
            "processed {} files, {} in {}",
            summary.total_files,
            units::bytes(summary.total_bytes),
            units::clock(took)
        ));
        match &report.root {
            _ if dry_run => {}
            Some(id) => output.line(&format!("snapshot {} saved", id.short())),
            None => output.line("skipped creating snapshot"),
        }
    }

    fn item(&self, item: &Item<'_>) {
        let word = match item.action {
            Action::New => "new",
            Action::Modified => "modified",
            Action::Unchanged => "unchanged",
            Action::Skipped => return self.excluded(item.path),
            Action::Restored | Action::Updated | Action::Deleted => return,
        };
        let mut path = item.path.to_vec();
        if item.kind == ItemKind::Directory && path.last() != Some(&b'/') {
            path.push(b'/');
        }
        let is_saved = matches!(item.action, Action::New | Action::Modified);
        let seconds = if is_saved { item.took.as_secs_f64() } else { 0.0 };
        if self.output.is_json() {
            // restic tells of files and directories only.
            let [data, meta] = match item.kind {
                ItemKind::Directory => [(0, 0), (item.plain_bytes, item.stored_bytes)],
                ItemKind::File => [(item.plain_bytes, item.stored_bytes), (0, 0)],
                ItemKind::Other => return,
            };
            self.output.json(&VerboseStatus {
                duration: seconds,
                data_size: data.0,
                data_size_in_repo: data.1,
                metadata_size: meta.0,
                metadata_size_in_repo: meta.1,
                ..VerboseStatus::of(word, &String::from_utf8_lossy(&path))
            });
            return;
        }
        let path = quoted(&path);
        let [plain, stored] = [item.plain_bytes, item.stored_bytes].map(units::bytes);
        self.output.item(&match item.kind {
            _ if !is_saved => format!("{word:<9} {path}"),
            ItemKind::Directory => {
                let sizes = format!("0 B added, 0 B stored, {stored} metadata");
                format!("{word:<9} {path}, saved in {seconds:.3}s ({sizes})")
            }
            ItemKind::File | ItemKind::Other => {
                format!("{word:<9} {path}, saved in {seconds:.3}s ({plain} added, {stored} stored)")
            }
        });
    }

    /// The files that are being read.
    fn current_files(&self) -> Vec<String> {
        let current = self.current();
        current.iter().map(|path| String::from_utf8_lossy(path).into_owned()).collect()
    }

    fn excluded(&self, source_path: &[u8]) {
        if self.output.is_json() {
            let (message_type, item) = ("excluded_item", &*String::from_utf8_lossy(source_path));
            self.output.json(&ExcludedItem { message_type, item });
        } else {
            self.output.item(&format!("excluded  {}", quoted(source_path)));
        }
    }

    fn current(&self) -> MutexGuard<'_, BTreeSet<Vec<u8>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One item that is done.
struct Item<'a> {
    path: &'a [u8],
    action: Action,
    kind: ItemKind,
    plain_bytes: u64,
    stored_bytes: u64,
    took: Duration,
}

impl Monitor for BackupMonitor {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Parent(Some(id)) => {
                self.output.line(&format!("using parent snapshot {}", id.short()));
            }
            Event::Parent(None) => {
                self.output.line("no parent snapshot found, will read all files");
            }
            Event::Note(note) => self.output.detail(note),
            Event::Reading { path } => {
                self.current().insert(path.to_vec());
            }
            Event::Read { path } => {
                self.current().remove(path);
            }
            Event::Item { path, action, kind, added_bytes, added_stored_bytes, took, .. } => {
                let (plain_bytes, stored_bytes) = (added_bytes, added_stored_bytes);
                self.item(&Item { path, action, kind, plain_bytes, stored_bytes, took });
            }
            Event::Problem { path, error } => {
                self.current().remove(path);
                problem::tell(&self.output, "archival", path, &error.to_string());
            }
            _ => {}
        }
    }

    fn wants_items(&self) -> bool {
        self.output.verbosity() >= 3 || (self.output.is_json() && self.output.verbosity() >= 2)
    }

    fn wants_current(&self) -> bool {
        self.wants_items()
            || (self.output.is_status_json() && self.output.status_interval().is_some())
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl Draw for BackupMonitor {
    fn draw(&self, output: &Output, elapsed: Duration) {
        let counters = &self.counters;
        let files = counters.files_done.get();
        // Of a large file that is still being read, only the reading has been counted.
        let bytes = counters.bytes_done.get().max(counters.bytes_read.get());
        let problems = counters.problems.get();
        let scanned = *self.scanned.lock().unwrap_or_else(PoisonError::into_inner);
        // Files that grow or appear after the scan count as well.
        let total = scanned.map(|scanned| (scanned.files.max(files), scanned.bytes.max(bytes)));
        let (total_files, total_bytes) = total.unwrap_or((0, 0));
        let left = progress::remaining(bytes, total_bytes, elapsed);
        let share = progress::share(bytes, total_bytes);
        if output.is_status_json() {
            output.json(&Status {
                message_type: "status",
                seconds_elapsed: elapsed.as_secs(),
                seconds_remaining: left.map_or(0, |left| left.as_secs()),
                percent_done: share,
                total_files,
                files_done: files,
                total_bytes,
                bytes_done: bytes,
                error_count: problems,
                current_files: self.current_files(),
            });
            output.flush();
            return;
        }
        let mut line = progress::line(bytes, total.map(|_| total_bytes), elapsed);
        line.push_str(&match total {
            Some(_) => format!(", {files}/{total_files} files"),
            None => format!(", {files} files"),
        });
        if problems > 0 {
            line.push_str(&format!(", {problems} errors"));
        }
        output.status(&line);
    }
}

impl<'a> VerboseStatus<'a> {
    fn of(action: &'a str, item: &'a str) -> Self {
        Self {
            message_type: "verbose_status",
            action,
            item,
            duration: 0.0,
            data_size: 0,
            data_size_in_repo: 0,
            metadata_size: 0,
            metadata_size_in_repo: 0,
            total_files: 0,
        }
    }
}

/// Why files were read that the parent backup has, where that was for more than a change.
fn reread(report: &Report) -> Option<String> {
    let told = |reason: &Reason| matches!(reason, Reason::Sampled | Reason::MissingChunks);
    if !report.read_for.iter().any(|(reason, count)| told(reason) && *count > 0) {
        return None;
    }
    let parts: Vec<String> = report
        .read_for
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(reason, count)| format!("{count} {}", reason.word()))
        .collect();
    Some(format!("Files read, by reason: {}", parts.join(", ")))
}
