//! `repair snapshots`: snapshots without what is gone.
//!
//! Invariants: a snapshot that cannot be read is removed only where it was named, with --forget, and
//! is known to be damaged; none is given up for what a pack has that is there and in no index.

use windlass_engine::{
    fault::{Class, Fault},
    model::root::{Root, RootId},
    protocol::{Access, Presence, amend::Amendment},
    repository::Repository,
    rewrite::{Content, Options},
};

use super::index::complete;
use crate::{
    command::{
        rewrite::{Mode, changing, refuse_no_lock, rewritten, told::Teller},
        snapshots,
    },
    failure::{Failure, Outcome},
    session::Session,
    snapshot::{Snapshot, filter::FilterArgs},
};

/// Take what is damaged or gone out of snapshots
///
/// Makes new snapshots, tagged `repaired`; with --forget they take the place of the old ones. Run
/// `repair index` first, and a backup of what is still there: it heals what it can.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these snapshots, by the start of their ids, or `latest`
    #[arg(value_name = "SNAPSHOT")]
    snapshots: Vec<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Remove the old snapshots once the new ones are stored, and those of which nothing is left
    #[arg(long)]
    forget: bool,
    /// Change nothing, only tell what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    refuse_no_lock(args.dry_run, session)?;
    let filter = args.filter.filter(&session.settings)?;
    let repository = session.open().await?;
    let work = async |presence: Option<&Presence>| {
        if let Some(presence) = presence.filter(|_| args.forget) {
            complete(&repository, presence, session).await?;
        }
        let mut readable = Vec::new();
        let mut unreadable = Vec::new();
        for (id, root) in repository.protocol().list_roots().await? {
            match root {
                Ok(root) => readable.push(Snapshot { id, root }),
                Err(fault) => unreadable.push((id, fault)),
            }
        }
        readable.sort_by_key(|snapshot: &Snapshot| snapshot.root.time.instant());
        let (broken, names) = args.named_broken(unreadable)?;
        let chosen = match broken.is_empty() || !names.is_empty() {
            true => snapshots::choose(readable, &names, &filter)?,
            false => Vec::new(),
        };
        let options = Options {
            roots: chosen
                .iter()
                .map(|it| (it.id.clone(), it.root.clone()))
                .collect::<Vec<(RootId, Root)>>(),
            content: Content::Mended,
            amendment: Amendment::default(),
            mark: "repaired".into(),
            forget: args.forget,
            pack_bytes: session.settings.pack_bytes,
        };
        let mode = Mode { dry_run: args.dry_run, forget: args.forget, amendment: Vec::new() };
        remove_broken(&repository, &broken, presence, session).await?;
        let teller = Teller::new(session, chosen, &mode);
        rewritten(&repository, &options, presence, teller, session).await
    };
    changing(&repository, args.dry_run, Access::Exclusive, session, work).await?;
    Ok(Outcome::Done)
}

impl Args {
    /// The unreadable snapshots that were named to be removed, and the other names.
    fn named_broken(
        &self,
        unreadable: Vec<(RootId, Fault)>,
    ) -> Result<(Vec<RootId>, Vec<String>), Failure> {
        let mut names = self.snapshots.clone();
        let mut broken = Vec::new();
        for (id, fault) in unreadable {
            let is_named =
                |name: &&String| !name.is_empty() && id.as_str().starts_with(name.as_str());
            let named = names.iter().any(|name| is_named(&name));
            if !named && !self.snapshots.is_empty() {
                continue;
            }
            if fault.class() != Class::Damaged || !(named && self.forget) {
                let advice = format!(
                    "if it stays like that, `repair snapshots --forget {}` removes it",
                    id.short()
                );
                let message = format!("snapshot file {id} is unreadable: {fault}");
                return Err(Failure::input(message, advice));
            }
            names.retain(|name| !is_named(&name));
            broken.push(id);
        }
        Ok((broken, names))
    }
}

async fn remove_broken(
    repository: &Repository,
    broken: &[RootId],
    presence: Option<&Presence>,
    session: &Session,
) -> Result<(), Failure> {
    let output = &session.output;
    let Some(presence) = presence else {
        broken.iter().for_each(|id| {
            output.line(&format!("would remove unreadable snapshot {id}"));
        });
        return Ok(());
    };
    let right = presence.delete_right()?;
    let mut failed = None;
    let each = |id: RootId, result: Result<(), Fault>| match result {
        Ok(()) => output.line(&format!("removed unreadable snapshot {id}")),
        Err(fault) => failed = Some(fault),
    };
    let roots = broken.to_vec();
    repository.protocol().retire_roots(&right, roots, &session.cancel, each).await?;
    failed.map_or(Ok(()), |fault| Err(fault.into()))
}
