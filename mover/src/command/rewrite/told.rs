//! What is said of snapshots that are made anew.

use std::sync::Arc;

use serde::Serialize;
use windlass_engine::{
    model::root::RootId,
    rewrite::{Noted, Report, Step},
};

use super::Mode;
use crate::{
    output::{Output, quote::quoted},
    session::Session,
    snapshot::Snapshot,
};

/// Says what happens.
pub(in crate::command) struct Teller {
    output: Arc<Output>,
    snapshots: Vec<Snapshot>,
    dry_run: bool,
    forget: bool,
    amendment: Vec<String>,
}

#[derive(Serialize)]
struct StepJson<'a> {
    message_type: &'static str,
    old_snapshot_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    new_snapshot_id: Option<&'a str>,
}

#[derive(Serialize)]
struct PathJson<'a> {
    message_type: &'static str,
    action: &'static str,
    path: &'a str,
}

#[derive(Serialize)]
struct SummaryJson {
    message_type: &'static str,
    dry_run: bool,
    changed_snapshots: usize,
}

impl Teller {
    pub(in crate::command) fn new(
        session: &Session,
        snapshots: Vec<Snapshot>,
        mode: &Mode,
    ) -> Self {
        Self {
            output: Arc::clone(&session.output),
            snapshots,
            dry_run: mode.dry_run,
            forget: mode.forget,
            amendment: mode.amendment.clone(),
        }
    }

    pub(in crate::command) fn step(&self, step: &Step<'_>) {
        let output = &self.output;
        match step {
            Step::Began(id) => {
                let snapshot = self.snapshots.iter().find(|snapshot| snapshot.id == **id);
                let line = snapshot.map_or_else(String::new, Snapshot::line);
                output.line(&format!("\n{line}"));
            }
            Step::Noted { path, what } => self.noted(path, *what),
            Step::Changed(old) if self.dry_run => {
                self.json("would_change", old, None);
                output.line("would save new snapshot");
                if self.forget {
                    output.line("would remove old snapshot");
                }
                self.amendment.iter().for_each(|change| output.line(&format!("would {change}")));
            }
            Step::Changed(_) => {}
            Step::Emptied(old) if self.dry_run => {
                self.json("would_remove", old, None);
                output.line("would delete empty snapshot");
            }
            Step::Emptied(_) if self.forget => {}
            Step::Emptied(old) => {
                self.json("empty", old, None);
                let id = old.short();
                output.warn(&format!("nothing is left of snapshot {id}; --forget removes it"));
            }
            Step::Stored { old, new } => {
                self.json("changed", old, Some(new));
                output.line(&format!("saved new snapshot {}", new.short()));
            }
            Step::Removed(old) => {
                self.json("removed", old, None);
                output.line(&format!("removed old snapshot {}", old.short()));
            }
        }
    }

    pub(in crate::command) fn report(&self, report: &Report) {
        let removed = if self.forget || self.dry_run { report.emptied.len() } else { 0 };
        self.summary(report.changed.len() + removed);
    }

    pub(in crate::command) fn summary(&self, changed_snapshots: usize) {
        let (output, dry_run) = (&self.output, self.dry_run);
        if output.is_json() {
            output.json(&SummaryJson { message_type: "summary", dry_run, changed_snapshots });
            return;
        }
        output.line("");
        output.line(&match (changed_snapshots, dry_run) {
            (0, false) => "no snapshots were modified".to_owned(),
            (0, true) => "no snapshots would be modified".to_owned(),
            (some, false) => format!("modified {some} snapshots"),
            (some, true) => format!("would modify {some} snapshots"),
        });
    }

    fn noted(&self, path: &[u8], what: Noted) {
        let output = &self.output;
        let (action, level, line): (_, fn(&Output, &str), _) = match what {
            Noted::Excluded => ("excluded", Output::item, "excluding {}"),
            Noted::Included => ("included", Output::item, "including {}"),
            Noted::IncludedDirectory => ("included", Output::item, "including directory {}"),
            Noted::ContentRemoved => {
                ("content_removed", Output::line, "  file {}: removed missing content")
            }
            Noted::SizeFixed => ("size_fixed", Output::line, "  file {}: fixed incorrect size"),
            Noted::InvalidRemoved => {
                ("invalid_removed", Output::line, "  file {}: removed node with invalid type")
            }
            Noted::DirectoryReplaced => {
                ("dir_replaced", Output::line, "  dir {}: replaced with empty directory")
            }
            Noted::Unreadable => ("dir_unreadable", Output::line, "  dir {}: not readable"),
        };
        let told = matches!(what, Noted::Excluded | Noted::Included | Noted::IncludedDirectory);
        if output.is_json() && (!told || output.verbosity() >= 3) {
            let path = String::from_utf8_lossy(path);
            output.json(&PathJson { message_type: "path", action, path: &path });
        }
        level(output, &line.replacen("{}", &format!("\"{}\"", quoted(path)), 1));
    }

    fn json(&self, message_type: &'static str, old: &RootId, new: Option<&RootId>) {
        if self.output.is_json() {
            let (old_snapshot_id, new_snapshot_id) = (old.as_str(), new.map(RootId::as_str));
            self.output.json(&StepJson { message_type, old_snapshot_id, new_snapshot_id });
        }
    }
}
