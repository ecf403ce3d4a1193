//! What a restore prints.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use windlass_engine::{
    monitor::{Action, Counters, Event, ItemKind, Monitor},
    restore::Report,
};

use super::{
    Output, is_default, problem,
    progress::{self, Draw},
    quote::quoted,
};
use crate::units;

/// Turns what a restore tells into lines, or JSON messages.
#[derive(Debug)]
pub(crate) struct RestoreMonitor {
    output: Arc<Output>,
    counters: Counters,
    /// Bytes of everything there is to restore, where that is known beforehand.
    total_bytes: Option<u64>,
}

#[derive(Serialize)]
struct Figures {
    message_type: &'static str,
    #[serde(skip_serializing_if = "is_default")]
    seconds_elapsed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    percent_done: Option<f64>,
    #[serde(skip_serializing_if = "is_default")]
    total_files: u64,
    #[serde(skip_serializing_if = "is_default")]
    files_restored: u64,
    #[serde(skip_serializing_if = "is_default")]
    files_skipped: u64,
    #[serde(skip_serializing_if = "is_default")]
    files_deleted: u64,
    #[serde(skip_serializing_if = "is_default")]
    total_bytes: u64,
    #[serde(skip_serializing_if = "is_default")]
    bytes_restored: u64,
    #[serde(skip_serializing_if = "is_default")]
    bytes_skipped: u64,
}

#[derive(Serialize)]
struct VerboseStatus<'a> {
    message_type: &'static str,
    action: &'a str,
    item: &'a str,
    size: u64,
}

impl RestoreMonitor {
    pub(crate) fn new(output: Arc<Output>, total_bytes: Option<u64>) -> Self {
        Self { output, counters: Counters::default(), total_bytes }
    }

    /// The end.
    pub(crate) fn report(&self, report: &Report, took: Duration) {
        let restored = report.files_restored
            + report.files_updated
            + report.dirs_restored
            + report.others_restored;
        let skipped = report.files_unchanged + report.skipped;
        if self.output.is_json() {
            self.output.json(&Figures {
                message_type: "summary",
                seconds_elapsed: took.as_secs(),
                percent_done: None,
                total_files: restored,
                files_restored: restored,
                files_skipped: skipped,
                files_deleted: report.deleted,
                total_bytes: report.bytes_written,
                bytes_restored: report.bytes_written,
                bytes_skipped: report.bytes_reused,
            });
            return;
        }
        let mut line = format!(
            "Summary: Restored {restored} files/dirs ({}) in {}",
            units::bytes(report.bytes_written),
            units::clock(took)
        );
        if skipped > 0 {
            let bytes = units::bytes(report.bytes_reused);
            line.push_str(&format!(", skipped {skipped} files/dirs {bytes}"));
        }
        if report.deleted > 0 {
            line.push_str(&format!(", deleted {} files/dirs", report.deleted));
        }
        self.output.line(&line);
        if report.left_out > 0 {
            self.output.line(&format!(
                "{} owners, attributes or devices were left out for lack of privilege or support",
                report.left_out
            ));
        }
        let first = report.problems.iter().map(|it| (&*it.path, &*it.error));
        problem::list(&self.output, "could not be restored", report.problem_count, first);
    }

    fn item(&self, action: Action, path: &[u8], kind: ItemKind, size: u64) {
        let action = match action {
            Action::New | Action::Restored => "restored",
            Action::Modified | Action::Updated => "updated",
            // What a rule leaves as it is looks unchanged to those who read restic's messages.
            Action::Unchanged | Action::Skipped => "unchanged",
            Action::Deleted => "deleted",
        };
        if self.output.is_json() {
            let (message_type, item) = ("verbose_status", &*String::from_utf8_lossy(path));
            self.output.json(&VerboseStatus { message_type, action, item, size });
        } else if kind == ItemKind::File && action != "deleted" {
            let size = units::bytes(size);
            self.output.item(&format!("{action:<9} {} with size {size}", quoted(path)));
        } else {
            self.output.item(&format!("{action:<9} {}", quoted(path)));
        }
    }
}

impl Monitor for RestoreMonitor {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Note(note) => self.output.detail(note),
            Event::Item { path, action, kind, size_bytes, .. } => {
                self.item(action, path, kind, size_bytes);
            }
            Event::Problem { path, error } => {
                problem::tell(&self.output, "restore", path, &error.to_string());
            }
            _ => {}
        }
    }

    fn wants_items(&self) -> bool {
        self.output.verbosity() >= 3
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl Draw for RestoreMonitor {
    fn draw(&self, output: &Output, elapsed: Duration) {
        let counters = &self.counters;
        let (files, bytes) = (counters.files_done.get(), counters.bytes_done.get());
        let total_files = counters.files_found.get();
        let total_bytes = self.total_bytes.unwrap_or(0).max(counters.bytes_found.get());
        let share = progress::share(bytes, total_bytes);
        if output.is_status_json() {
            output.json(&Figures {
                message_type: "status",
                seconds_elapsed: elapsed.as_secs(),
                percent_done: Some(share),
                total_files,
                files_restored: files,
                files_skipped: counters.files_unchanged.get(),
                files_deleted: counters.files_deleted.get(),
                total_bytes,
                bytes_restored: bytes,
                bytes_skipped: 0,
            });
            output.flush();
            return;
        }
        // Without the snapshot's own figures the total is only what was seen so far.
        let line = progress::line(bytes, self.total_bytes, elapsed);
        output.status(&format!("{line}, {files}/{total_files} files"));
    }
}
