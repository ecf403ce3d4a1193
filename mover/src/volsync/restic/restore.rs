//! `restore`: a snapshot into the data volume.
//!
//! Invariants
//! - The snapshot is chosen before the volume is touched; that there is none changes nothing.
//! - `lost+found` is neither restored nor removed, and an empty snapshot empties no volume.
//! - Attributes of the `user.` namespace are restored and no others, as the original does.

use windlass_engine::{
    cancel::Cancel,
    fault::{Class, Fault},
    filter::{PatternTexts, Selection},
    model::root::RootId,
    restore::{Options, Report},
};

use super::{Work, choice::Wish, retry};
use crate::{
    command::restore::{check, write},
    failure::Failure,
    snapshot::Snapshot,
    volsync::{
        ending::Halt,
        volume::{self, FURNITURE},
    },
};

/// All snapshots in the order of their times, and those that are damaged.
type Listed = (Vec<Snapshot>, Vec<(RootId, Fault)>);

impl Work<'_> {
    /// Refuses a volume that nothing can be put into.
    pub(super) fn look_at_target(&self) -> Result<(), Halt> {
        let data = &self.container.data;
        volume::is_writable(data).map_err(|error| {
            let (path, who) = (data.display(), volume::who_may(data));
            Halt::misused(1, &format!("data volume {path} cannot be written to: {error}; {who}"))
        })
    }

    /// Restores what is wished for; whether there was something.
    pub(super) async fn restore(&self, wish: &Wish) -> Result<bool, Halt> {
        let (session, ledger) = (self.session, self.ledger);
        let output = &session.output;
        output.line("=== Starting restore ===");
        let phase = ledger.phase("select");
        let (snapshots, damaged) = self.list().await?;
        let path = self.container.data.to_string_lossy();
        let choice = wish.choose(&snapshots, &path);
        drop(phase);
        ledger.note(|told| {
            told.snapshots_found = Some(choice.found as u64);
            told.snapshots_eligible = Some(choice.eligible as u64);
        });
        if let Some(other) = &choice.loose {
            output.warn(&format!(
                "only snapshots of {path} alone are looked at; {} is passed over",
                other.line()
            ));
        }
        let Some(snapshot) = choice.snapshot else {
            if let Some((id, fault)) = damaged.into_iter().next() {
                let failure = Failure::UnreadableSnapshot { id, fault };
                return Err(Halt::because(&failure, 3, LISTING));
            }
            output.line("No eligible snapshots found");
            output.line("=== No data will be restored ===");
            return Ok(false);
        };
        if wish.delete {
            output.line("RESTORE_OPTIONS: --delete");
        }
        output.line(&format!("Selected restic snapshot with id: {}", snapshot.id.short()));
        let phase = ledger.phase("restore");
        let report = self.write(&snapshot, wish.delete).await?;
        ledger.restored(&snapshot, &report);
        check(&report)?;
        drop(phase);
        let phase = ledger.phase("sync");
        self.sync().await?;
        drop(phase);
        Ok(true)
    }

    async fn list(&self) -> Result<Listed, Halt> {
        let repository = self.repository()?;
        let listed = async { Ok(repository.protocol().list_roots().await?) };
        let listed = self.session.unless_cancelled(listed).await;
        let listed = listed.map_err(|failure| Halt::because(&failure, 3, LISTING))?;
        let (mut snapshots, mut damaged) = (Vec::new(), Vec::new());
        for (id, root) in listed {
            match root {
                Ok(root) => snapshots.push(Snapshot { id, root }),
                Err(fault) if fault.class() == Class::Damaged => {
                    let name = id.short();
                    self.session.output.warn(&format!("could not read snapshot {name}: {fault}"));
                    damaged.push((id, fault));
                }
                // It may be the one that is wished for.
                Err(fault) => {
                    let failure = Failure::UnreadableSnapshot { id, fault };
                    return Err(Halt::because(&failure, 3, LISTING));
                }
            }
        }
        snapshots.sort_by_key(|snapshot| snapshot.root.time.instant());
        Ok((snapshots, damaged))
    }

    async fn write(&self, snapshot: &Snapshot, delete: bool) -> Result<Report, Halt> {
        let (repository, session) = (self.repository()?, self.session);
        let only = |pattern: &str| PatternTexts {
            sensitive: vec![pattern.as_bytes().to_vec()],
            insensitive: Vec::new(),
        };
        let none = PatternTexts::default();
        let holds_files = snapshot.root.summary.is_none_or(|summary| summary.total_files > 0);
        let options = Options {
            selection: Selection::new(&none, &only(FURNITURE)).map_err(Failure::from)?,
            xattrs: Selection::new(&only("user.*"), &none).map_err(Failure::from)?,
            delete,
            // Whose volume it was before is not asked for; only nothing at all empties none.
            allow_suspicious_delete: holds_files,
            ..Options::new(&self.container.data)
        };
        let restored = retry::steadily(session, async || {
            let work = async |cancel: &Cancel| {
                write(snapshot, options.clone(), ".", repository, session, cancel).await
            };
            session.reading_early(repository, work).await
        });
        Ok(restored.await?)
    }

    /// Has the volume's file system write everything down.
    async fn sync(&self) -> Result<(), Failure> {
        let data = self.container.data.clone();
        let synced = tokio::task::spawn_blocking(move || {
            rustix::fs::syncfs(std::fs::File::open(&data)?).map_err(std::io::Error::from)
        });
        let synced = async {
            let done = synced.await.unwrap_or_else(|_panic| Err(std::io::Error::other("panicked")));
            let what = || format!("writing down {}", self.container.data.display());
            done.map_err(|error| Failure::io(what(), error))
        };
        self.session.unless_cancelled(synced).await
    }
}

const LISTING: &str = "failure getting list of snapshots from repository";
