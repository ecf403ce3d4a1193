//! `backup`: the data volume into a new snapshot.
//!
//! Invariants
//! - The snapshot is what restic makes of `.` in the volume: its entries at the top, host `volsync`,
//!   the volume's path, no tags.
//! - Volumes are clones whose inodes and ctimes are new each time: what has the same size and mtime
//!   is not read again, but for a rotating sample.
//! - What lacks something unreadable and equals the snapshot before is not stored a second time, so
//!   that a Job that tries again makes no pile.

use std::os::unix::ffi::OsStrExt;

use windlass_engine::{
    backup::{Options, SkipUnchanged, compare::Policy},
    filter::{Filter, FilterOptions, PatternTexts},
};

use super::{HOST, Work, retry};
use crate::{
    command::backup::{SAMPLE_EVERY, Saved, save},
    failure::Failure,
    session,
    volsync::{
        ending::Halt,
        volume::{self, FURNITURE},
    },
};

impl Work<'_> {
    /// Whether there is nothing to back up, which is told.
    pub(super) fn has_no_content(&self) -> Result<bool, Halt> {
        let (output, data) = (&self.session.output, &self.container.data);
        output.line("== Checking directory for content ===");
        let is_empty = volume::is_empty(data).map_err(|error| {
            let (path, who) = (data.display(), volume::who_may(data));
            Halt::misused(1, &format!("data volume {path} cannot be read: {error}; {who}"))
        })?;
        if is_empty {
            output.line("== Directory is empty skipping backup ===");
        }
        Ok(is_empty)
    }

    /// Makes a snapshot. One that lacks something ends the run.
    pub(super) async fn back_up(&self) -> Result<Saved, Halt> {
        self.session.output.line("=== Starting backup ===");
        let (repository, session) = (self.repository()?, self.session);
        let options = self.options()?;
        let phase = self.ledger.phase("backup");
        let saved = retry::steadily(session, async || {
            save(None, options.clone(), false, repository, session).await
        });
        let saved = saved.await?;
        drop(phase);
        self.ledger.saved(&saved);
        match saved.report.is_partial() {
            true => Err(partial(&saved)),
            false => Ok(saved),
        }
    }

    fn options(&self) -> Result<Options, Failure> {
        let (settings, data) = (&self.session.settings, &self.container.data);
        let inside = self.container.cache.starts_with(data);
        let cache = inside.then(|| self.container.cache.as_os_str().as_bytes().to_vec());
        let filter = Filter::new(&FilterOptions {
            exclude: PatternTexts {
                sensitive: vec![FURNITURE.as_bytes().to_vec()],
                insensitive: Vec::new(),
            },
            exclude_trees: cache.into_iter().collect(),
            targets: vec![data.as_os_str().as_bytes().to_vec()],
            ..FilterOptions::default()
        })?;
        Ok(Options {
            base: data.clone(),
            filter,
            excludes: vec![FURNITURE.into()],
            policy: Policy::CloneAware { sample_every: SAMPLE_EVERY },
            username: session::username(),
            source_threads: settings.source_threads(None)?,
            pack_bytes: settings.pack_bytes,
            skip_unchanged: SkipUnchanged::Partial,
            holder: Some(session::hostname()),
            lock_patience: settings.lock_patience,
            lineage: settings.lineage.clone(),
            listener: self.session.listener(),
            ..Options::new(vec![".".into()], HOST.into())
        })
    }
}

fn partial(saved: &Saved) -> Halt {
    let report = &saved.report;
    let mut lines = Vec::new();
    if report.root.is_none()
        && let Some(parent) = &report.parent
    {
        lines.push(format!("snapshot {} had been saved with the same content", parent.short()));
    }
    lines.push("Warning: at least one source file could not be read".into());
    lines.push(format!(
        "ERROR: partial backup: {} items could not be read, nothing expires until a backup is \
         complete; {}",
        report.problem_count,
        who_reads()
    ));
    Halt::partial(lines)
}

fn who_reads() -> String {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    format!("the mover runs as uid {uid} and gid {gid}, see moverSecurityContext")
}
