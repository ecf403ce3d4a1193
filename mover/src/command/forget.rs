//! `forget`: removing snapshots, by policy or by name.
//!
//! Invariants
//! - What is removed was decided on while nobody else was at work, by a list in which every snapshot
//!   could be read.
//! - `--dry-run` writes nothing, no lock either.

mod options;
mod told;

use windlass_engine::{
    clock::Zone,
    forget,
    model::root::RootId,
    protocol::{Access, Presence},
    repository::Repository,
    retention::{Decision, Policy},
};

use self::told::Teller;
use crate::{
    command::{prune, snapshots},
    failure::{Failure, Outcome},
    session::Session,
    snapshot::{
        self, Snapshot,
        filter::Filter,
        group::{GroupBy, GroupKey},
    },
};
pub(crate) use options::Args;

/// What becomes of the snapshots of a group.
struct Judged {
    key: GroupKey,
    snapshots: Vec<Snapshot>,
    /// Newest first.
    decisions: Vec<Decision>,
}

/// What is to be done.
struct Plan {
    groups: Vec<Judged>,
    remove: Vec<RootId>,
}

/// What was asked for.
struct Request {
    names: Vec<String>,
    filter: Filter,
    policy: Policy,
    by: GroupBy,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    let request = args.request(&session.settings)?;
    let prune = prune::Args::within(args.limited.clone(), args.dry_run);
    prune.check(session)?;
    let teller = Teller::new(&session.output, &args, &request);
    let repository = session.open().await?;
    if args.dry_run {
        let plan = session.unless_cancelled(plan(&request, &repository, session)).await?;
        teller.plan(&plan);
        teller.would_remove(&plan);
        if !args.prune || plan.remove.is_empty() {
            return Ok(Outcome::Done);
        }
        return prune::clean_up(&prune, plan.remove, &repository, session).await;
    }
    let presence = session.announce(&repository, Access::Exclusive).await?;
    let result = alone(&request, &teller, &repository, &presence, session).await;
    presence.release().await?;
    match result? {
        Some(removed) if removed.is_empty() || !args.prune => Ok(Outcome::Done),
        Some(_removed) => prune::clean_up(&prune, Vec::new(), &repository, session).await,
        None => Ok(Outcome::Partial("failed to remove one or more snapshots")),
    }
}

/// Decides and removes, while nobody else is at work; `None` where some could not be removed.
async fn alone(
    request: &Request,
    teller: &Teller<'_>,
    repository: &Repository,
    presence: &Presence,
    session: &Session,
) -> Result<Option<Vec<RootId>>, Failure> {
    let plan = session.unless_cancelled(plan(request, repository, session)).await?;
    teller.plan(&plan);
    let right = presence.delete_right()?;
    let remove = plan.remove.clone();
    let removed = forget::run(repository, &right, remove, &session.cancel, |id, result| {
        teller.removed(id, result);
    });
    let report = removed.await?;
    teller.groups_as_json(&plan);
    Ok(report.failed.is_empty().then_some(report.removed))
}

/// What goes, by name or by policy.
async fn plan(
    request: &Request,
    repository: &Repository,
    session: &Session,
) -> Result<Plan, Failure> {
    let all = if request.names.is_empty() {
        snapshot::list_every_one(repository).await?
    } else {
        snapshot::list(repository, &session.output).await?
    };
    let chosen = snapshots::choose(all, &request.names, &request.filter)?;
    let mut plan = Plan { groups: Vec::new(), remove: Vec::new() };
    if !request.names.is_empty() {
        forget::check_pins(chosen.iter().map(|snapshot| (&snapshot.id, &snapshot.root)))?;
        plan.remove.extend(chosen.into_iter().map(|snapshot| snapshot.id));
        return Ok(plan);
    }
    let (now, zone) = (session.environment.clock.now(), Zone::system());
    for (key, snapshots) in request.by.groups(chosen) {
        let roots: Vec<_> = snapshots.iter().map(|snapshot| &snapshot.root).collect();
        let decisions = forget::decide(&request.policy, &key.name(), &roots, &now, &zone)?;
        let gone = decisions.iter().filter(|decision| !decision.is_kept());
        plan.remove.extend(gone.map(|decision| snapshots[decision.at].id.clone()));
        plan.groups.push(Judged { key, snapshots, decisions });
    }
    Ok(plan)
}
