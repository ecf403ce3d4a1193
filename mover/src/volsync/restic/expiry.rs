//! `forget`: snapshots that the policy lets go of, after a backup.
//!
//! Invariants: nothing goes while the newest snapshot is next to nothing beside an older one; others
//! are kept out only where something is to go.

use super::{HOST, Work, keep::Expiry, retry, shrink};
use crate::{
    command::{
        backup::Saved,
        forget::{self, Request, SOME_STAY, Telling},
    },
    failure::Failure,
    snapshot::{self, Snapshot, filter::Filter},
    volsync::ending::Halt,
};

impl Work<'_> {
    /// Lets go of what the policy does not keep.
    pub(super) async fn expire(&self, expiry: &Expiry, saved: &Saved) -> Result<(), Halt> {
        let (repository, session) = (self.repository()?, self.session);
        session.output.line("=== Starting forget ===");
        let phase = self.ledger.phase("forget");
        if let Some(why) = self.objection(saved).await? {
            self.ledger.note(|told| told.expiry_held = Some(why.clone()));
            for line in [
                &*format!("ERROR: suspicious loss of data: {why}"),
                "nothing expires and no older snapshot is lost; if this is meant, remove the old \
                 snapshots by hand with `windlass forget`",
            ] {
                session.output.result(line);
            }
            return Ok(());
        }
        let request = Request {
            names: Vec::new(),
            filter: Filter::of_host(HOST),
            policy: expiry.policy.clone(),
            by: expiry.by,
        };
        let removed = retry::steadily(session, async || {
            let telling = Telling::default();
            match forget::keeps_all(&request, telling, repository, session).await? {
                true => Ok(Some(Vec::new())),
                false => forget::let_go(&request, telling, repository, session).await,
            }
        });
        let removed = removed.await?;
        drop(phase);
        let removed = removed.ok_or_else(|| Halt::partial(vec![format!("ERROR: {SOME_STAY}")]))?;
        self.ledger.note(|told| told.snapshots_removed = Some(removed.len() as u64));
        Ok(())
    }

    /// Why nothing should expire, by what there was before.
    async fn objection(&self, saved: &Saved) -> Result<Option<String>, Failure> {
        let (repository, session) = (self.repository()?, self.session);
        let listed = snapshot::list(repository, &session.output);
        let snapshots = session.unless_cancelled(listed).await?;
        let path = self.container.data.to_string_lossy();
        let is_older = |snapshot: &&Snapshot| {
            let root = &snapshot.root;
            root.hostname == HOST
                && root.paths == [&*path]
                && Some(&snapshot.id) != saved.report.root.as_ref()
        };
        let older: Vec<&Snapshot> = snapshots.iter().filter(is_older).collect();
        Ok(shrink::objection(&saved.report.summary, &older))
    }
}
